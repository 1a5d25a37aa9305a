-- What the files beside it call, in the session that applies them. Maintenance reads the other figures from
-- ingest.policies itself.
CREATE OR REPLACE FUNCTION pg_temp.uphold(name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    figures ingest.policies;
    relation regclass := format('ingest.%I', name)::regclass;
    now_set interval;
BEGIN
    SELECT * INTO STRICT figures FROM ingest.policies p WHERE p.table_name = name;
    SELECT d.time_interval INTO now_set FROM timescaledb_information.dimensions d
    WHERE d.hypertable_schema = 'ingest' AND d.hypertable_name = name;
    IF NOT FOUND THEN
        PERFORM create_hypertable(relation, by_range('time', figures.chunk_interval), create_default_indexes => false);
        IF EXISTS (SELECT FROM show_chunks(format('ingest.%I', figures.source)::regclass)) THEN
            INSERT INTO ingest.refresh_requests (table_name) VALUES (name);
        END IF;
    ELSIF now_set <> figures.chunk_interval THEN
        PERFORM set_chunk_time_interval(relation, figures.chunk_interval);
    END IF;
END
$$;
