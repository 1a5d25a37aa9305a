-- What a backup by tables holds: every table of ingest with the columns that can be given, and where its rows lie. The
-- ledger of migrations belongs to the schema, not to the data. A continuous aggregate has rows that its source has no
-- more, so that its rows are copied like any other's.
WITH aggregates AS (
    SELECT a.view_name::text AS name,
           format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)::regclass AS relation
    FROM timescaledb_information.continuous_aggregates a
    WHERE a.view_schema = 'ingest'
),
tables AS (
    SELECT c.relname::text AS name, c.oid::regclass AS relation, false AS is_aggregate
    FROM pg_class c
    WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
    UNION ALL
    SELECT name, relation, true FROM aggregates
)
SELECT t.name, n.nspname::text AS schema, c.relname::text AS relation, t.is_aggregate,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       (SELECT coalesce(array_agg(DISTINCT f.relname::text), '{}') FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid
        WHERE k.conrelid = t.relation AND k.contype = 'f' AND k.confrelid <> k.conrelid) AS refers_to
FROM tables t JOIN pg_class c ON c.oid = t.relation JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.is_aggregate, t.name
