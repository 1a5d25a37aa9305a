-- Every policy of the server, and each part of maintenance once; whether it failed, is switched off or long overdue.
-- Where nothing was ever collected no maintenance is due, and of a job that has never run it is not known since when.
SELECT DISTINCT ON (last_status = 'failed', run_by, policy, t.name)
       policy, t.name, run_by, scheduled, last_status, last_error, last_succeeded_at,
       CASE run_by
           WHEN 'server' THEN greatest(next_start_at, last_started_at) < now() - greatest(3 * every, INTERVAL '15 minutes')
                           AND last_started_at IS NOT NULL
           ELSE coalesce(last_succeeded_at, '-infinity') < now() - greatest(3 * every, INTERVAL '15 minutes')
                AND EXISTS (SELECT FROM ingest.streams s WHERE s.committed_at < now() - INTERVAL '15 minutes')
       END AS overdue,
       total_failures
FROM ingest.policy_jobs j
CROSS JOIN LATERAL (SELECT CASE WHEN run_by = 'server' THEN j.table_name END AS name) t
ORDER BY (last_status = 'failed') DESC NULLS LAST, run_by, policy, t.name
