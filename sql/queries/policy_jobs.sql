-- The server's jobs on tables of ours: of which table, what they do, when next, how the last run ended, and how many failed.
SELECT coalesce(c.user_view_name, h.table_name)::text,
       CASE j.proc_name WHEN 'policy_refresh_continuous_aggregate' THEN 'refresh' WHEN 'policy_compression' THEN 'compression'
                        WHEN 'policy_retention' THEN 'retention' ELSE j.proc_name END,
       nullif(nullif(s.next_start, '-infinity'), 'infinity'), s.last_run_status, coalesce(s.total_failures, 0)
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.job_stats s USING (job_id)
JOIN _timescaledb_catalog.hypertable h
  ON h.id = coalesce(j.config ->> 'mat_hypertable_id', j.config ->> 'hypertable_id')::int
LEFT JOIN _timescaledb_catalog.continuous_agg c ON c.mat_hypertable_id = h.id
WHERE coalesce(c.user_view_schema, h.schema_name) = 'ingest'
ORDER BY 1, 2
