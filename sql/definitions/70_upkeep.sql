-- What the database itself is doing: sizes, compression, use of indexes, jobs. Views by name, functions behind them: a
-- view that reads timescaledb_information itself would keep ALTER EXTENSION timescaledb UPDATE from replacing it, while
-- the text of a function holds nothing back.

-- Every table of ours that is cut into chunks, by the name that people know: a continuous aggregate's rows lie in a
-- hypertable of another name.
CREATE OR REPLACE FUNCTION ingest.chunked_tables()
RETURNS TABLE (table_name text, kind text, relation regclass)
LANGUAGE sql STABLE AS $$
    SELECT h.hypertable_name::text, 'hypertable', format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass
    FROM timescaledb_information.hypertables h
    WHERE h.hypertable_schema = 'ingest'
    UNION ALL
    SELECT a.view_name::text, 'aggregate',
           format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)::regclass
    FROM timescaledb_information.continuous_aggregates a
    WHERE a.view_schema = 'ingest'
$$;
COMMENT ON FUNCTION ingest.chunked_tables() IS 'Hypertables and continuous aggregates of ingest, with the relation that holds their rows.';

CREATE OR REPLACE FUNCTION ingest.read_chunk_sizes()
RETURNS TABLE (table_name text, chunk_name text, range_start timestamptz, range_end timestamptz, compressed boolean,
               table_bytes bigint, index_bytes bigint, toast_bytes bigint, total_bytes bigint,
               bytes_before_compression bigint, bytes_after_compression bigint)
LANGUAGE sql STABLE AS $$
    SELECT t.table_name, format('%s.%s', s.chunk_schema, s.chunk_name), i.range_start, i.range_end, i.is_compressed,
           s.table_bytes, s.index_bytes, s.toast_bytes, s.total_bytes,
           c.before_compression_total_bytes, c.after_compression_total_bytes
    FROM ingest.chunked_tables() t
    CROSS JOIN LATERAL chunks_detailed_size(t.relation) s
    JOIN timescaledb_information.chunks i ON i.chunk_schema = s.chunk_schema AND i.chunk_name = s.chunk_name
    LEFT JOIN LATERAL chunk_compression_stats(t.relation) c
           ON i.is_compressed AND c.chunk_schema = s.chunk_schema AND c.chunk_name = s.chunk_name
$$;
COMMENT ON FUNCTION ingest.read_chunk_sizes() IS 'Behind ingest.chunk_sizes.';

CREATE OR REPLACE VIEW ingest.chunk_sizes AS
SELECT * FROM ingest.read_chunk_sizes() ORDER BY table_name, range_start;
COMMENT ON VIEW ingest.chunk_sizes IS 'Every chunk with its time range and its bytes, before and after compression where it is compressed.';

CREATE OR REPLACE FUNCTION ingest.read_table_sizes()
RETURNS TABLE (table_name text, kind text, chunks bigint, compressed_chunks bigint, rows_estimate bigint,
               table_bytes bigint, index_bytes bigint, toast_bytes bigint, total_bytes bigint,
               bytes_before_compression bigint, bytes_after_compression bigint, compression_ratio numeric,
               oldest timestamptz, newest timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT t.table_name, t.kind, count(c.chunk_name), count(*) FILTER (WHERE c.compressed), approximate_row_count(t.relation),
           coalesce(sum(c.table_bytes), 0)::bigint, coalesce(sum(c.index_bytes), 0)::bigint,
           coalesce(sum(c.toast_bytes), 0)::bigint, coalesce(sum(c.total_bytes), 0)::bigint,
           sum(c.bytes_before_compression)::bigint, sum(c.bytes_after_compression)::bigint,
           round(sum(c.bytes_before_compression) / nullif(sum(c.bytes_after_compression), 0), 2),
           min(c.range_start), max(c.range_end)
    FROM ingest.chunked_tables() t
    LEFT JOIN ingest.read_chunk_sizes() c ON c.table_name = t.table_name
    GROUP BY t.table_name, t.kind, t.relation
    UNION ALL
    SELECT c.relname::text, 'table', 0, 0, greatest(c.reltuples, 0)::bigint,
           pg_table_size(c.oid) - coalesce(pg_total_relation_size(c.reltoastrelid), 0), pg_indexes_size(c.oid),
           coalesce(pg_total_relation_size(c.reltoastrelid), 0), pg_total_relation_size(c.oid),
           NULL, NULL, NULL, NULL, NULL
    FROM pg_class c
    WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'm')
      AND NOT EXISTS (SELECT FROM ingest.chunked_tables() t WHERE t.relation = c.oid)
$$;
COMMENT ON FUNCTION ingest.read_table_sizes() IS 'Behind ingest.table_sizes.';

CREATE OR REPLACE VIEW ingest.table_sizes AS
SELECT * FROM ingest.read_table_sizes() ORDER BY total_bytes DESC, table_name;
COMMENT ON VIEW ingest.table_sizes IS 'Every table with its chunks, its rows as last analysed, its bytes, and what compression saved.';

-- The chunks' indexes are counted together with those of their table, told by what they index.
CREATE OR REPLACE FUNCTION ingest.read_index_use()
RETURNS TABLE (table_name text, index_name text, columns text, is_unique boolean, indexes bigint, scans bigint,
               rows_read bigint, index_bytes bigint, sequential_scans bigint)
LANGUAGE sql STABLE AS $$
    WITH parts AS (
        SELECT t.table_name, t.relation, format('%I.%I', c.chunk_schema, c.chunk_name)::regclass AS part
        FROM ingest.chunked_tables() t
        JOIN pg_class h ON h.oid = t.relation
        JOIN timescaledb_information.chunks c
          ON c.hypertable_schema = h.relnamespace::regnamespace::text AND c.hypertable_name = h.relname
        UNION ALL
        SELECT t.table_name, t.relation, t.relation FROM ingest.chunked_tables() t
        UNION ALL
        SELECT c.relname, c.oid, c.oid
        FROM pg_class c
        WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'm')
          AND NOT EXISTS (SELECT FROM ingest.chunked_tables() t WHERE t.relation = c.oid)
    ),
    indexes AS (
        SELECT p.table_name, p.relation, p.part, i.indexrelid, i.indisunique,
               (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, true), ', ' ORDER BY n)
                FROM generate_series(1, i.indnkeyatts::int) n)
               || coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid, true), '') AS columns
        FROM parts p JOIN pg_index i ON i.indrelid = p.part
    )
    SELECT n.table_name, min(c.relname) FILTER (WHERE n.part = n.relation)::text, n.columns, n.indisunique, count(*),
           coalesce(sum(s.idx_scan), 0)::bigint, coalesce(sum(s.idx_tup_read), 0)::bigint,
           sum(pg_relation_size(n.indexrelid))::bigint, coalesce(sum(u.seq_scan), 0)::bigint
    FROM indexes n
    JOIN pg_class c ON c.oid = n.indexrelid
    LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = n.indexrelid
    LEFT JOIN pg_stat_all_tables u ON u.relid = n.part
    GROUP BY n.table_name, n.columns, n.indisunique
$$;
COMMENT ON FUNCTION ingest.read_index_use() IS 'Behind ingest.index_use.';

CREATE OR REPLACE VIEW ingest.index_use AS
SELECT * FROM ingest.read_index_use() ORDER BY index_bytes DESC, table_name, columns;
COMMENT ON VIEW ingest.index_use IS 'Every index with its chunks'' together: how often it was used since statistics were reset, and its bytes.';

-- The jobs that TimescaleDB runs by itself. Its history says errors only to who may act as a job's owner.
CREATE OR REPLACE FUNCTION ingest.read_server_jobs()
RETURNS TABLE (policy text, table_name text, run_by text, every interval, scheduled boolean, last_started_at timestamptz,
               last_succeeded_at timestamptz, last_status text, last_error text, next_start_at timestamptz,
               total_runs bigint, total_failures bigint, job_id int)
LANGUAGE sql STABLE AS $$
    SELECT CASE j.proc_name WHEN 'policy_refresh_continuous_aggregate' THEN 'refresh'
                            ELSE regexp_replace(j.proc_name::text, '^policy_', '') END,
           coalesce(t.table_name, j.hypertable_name::text), 'server', j.schedule_interval, j.scheduled,
           nullif(s.last_run_started_at, '-infinity'), nullif(s.last_successful_finish, '-infinity'),
           CASE s.last_run_status WHEN 'Success' THEN 'ok' WHEN 'Failed' THEN 'failed' END,
           CASE WHEN s.last_run_status = 'Failed' THEN
               (SELECT e.err_message FROM timescaledb_information.job_errors e
                WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC NULLS LAST LIMIT 1)
           END,
           nullif(nullif(j.next_start, '-infinity'), 'infinity'),
           coalesce(s.total_runs, 0), coalesce(s.total_failures, 0), j.job_id
    FROM timescaledb_information.jobs j
    LEFT JOIN timescaledb_information.job_stats s USING (job_id)
    LEFT JOIN ingest.chunked_tables() t
           ON t.table_name = j.hypertable_name
           OR t.relation = to_regclass(quote_ident(j.hypertable_schema) || '.' || quote_ident(j.hypertable_name))
    WHERE j.job_id >= 1000 -- below are TimescaleDB's own: its telemetry, and its history, which the Apache edition cannot tidy
$$;
COMMENT ON FUNCTION ingest.read_server_jobs() IS 'The server''s part of ingest.policy_jobs.';

-- What maintenance does: under Apache all of it, under Community the rows of tables that are not cut into chunks.
CREATE OR REPLACE FUNCTION ingest.read_daemon_jobs()
RETURNS TABLE (policy text, table_name text, run_by text, every interval, scheduled boolean, last_started_at timestamptz,
               last_succeeded_at timestamptz, last_status text, last_error text, next_start_at timestamptz,
               total_runs bigint, total_failures bigint, job_id int)
LANGUAGE sql STABLE AS $$
    WITH duties (policy, table_name, every) AS (
        SELECT 'refresh', p.table_name, p.refresh_every FROM ingest.policies p
        WHERE p.source IS NOT NULL AND current_setting('timescaledb.license') <> 'timescale'
        UNION ALL
        SELECT 'retention', p.table_name, INTERVAL '1 hour' FROM ingest.policies p
        WHERE p.retention IS NOT NULL AND (p.chunk_interval IS NULL OR current_setting('timescaledb.license') <> 'timescale')
    )
    SELECT d.policy, d.table_name, 'daemon', d.every, true, m.last_started_at, m.last_succeeded_at,
           CASE WHEN m.last_error IS NOT NULL THEN 'failed' WHEN m.last_started_at IS NOT NULL THEN 'ok' END,
           m.last_error, m.last_started_at + d.every, coalesce(m.total_runs, 0), coalesce(m.total_failures, 0), NULL::int
    FROM duties d LEFT JOIN ingest.maintenance_runs m USING (policy)
$$;
COMMENT ON FUNCTION ingest.read_daemon_jobs() IS 'The part of ingest.policy_jobs that maintenance does.';

CREATE OR REPLACE VIEW ingest.policy_jobs AS
SELECT * FROM (SELECT * FROM ingest.read_server_jobs() UNION ALL SELECT * FROM ingest.read_daemon_jobs()) j
ORDER BY table_name, policy;
COMMENT ON VIEW ingest.policy_jobs IS 'What keeps the tables: each policy with its last and next run, whether the server runs it (Community) or the daemon (Apache).';
COMMENT ON COLUMN ingest.policy_jobs.run_by IS 'server: a job of TimescaleDB; daemon: maintenance, or ingest maintain.';
COMMENT ON COLUMN ingest.policy_jobs.last_status IS 'ok or failed; NULL before the first run.';
COMMENT ON COLUMN ingest.policy_jobs.last_error IS 'Why the last run failed; told to who may act as the owner alone.';
COMMENT ON COLUMN ingest.table_sizes.kind IS 'hypertable, aggregate (a continuous one) or table.';
COMMENT ON COLUMN ingest.table_sizes.rows_estimate IS 'As last analysed.';
COMMENT ON COLUMN ingest.table_sizes.compression_ratio IS 'Bytes before by bytes after, of the compressed chunks.';
COMMENT ON COLUMN ingest.index_use.indexes IS 'How many indexes this is, those of the chunks among them.';
COMMENT ON COLUMN ingest.index_use.sequential_scans IS 'How often the table or one of its chunks was read without an index.';
