-- What the files beside it call, in the session that applies them. Only what differs from ingest.policies is changed, so
-- that a job keeps its number and its history; a figure that is NULL takes its job away.
CREATE OR REPLACE FUNCTION pg_temp.job_of(hypertable int, procedure text) RETURNS int
LANGUAGE sql STABLE AS $$
    SELECT j.job_id FROM timescaledb_information.jobs j
    WHERE j.proc_name = procedure
      AND coalesce(j.config ->> 'mat_hypertable_id', j.config ->> 'hypertable_id')::int = hypertable
$$;

CREATE OR REPLACE FUNCTION pg_temp.uphold(name text, segment_by text DEFAULT 'instrument_id', order_by text DEFAULT 'time')
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    figures ingest.policies;
    relation regclass := format('ingest.%I', name)::regclass;
    hypertable int;
    job int;
    settings jsonb;
BEGIN
    SELECT * INTO STRICT figures FROM ingest.policies p WHERE p.table_name = name;
    hypertable := coalesce(
        (SELECT c.mat_hypertable_id FROM _timescaledb_catalog.continuous_agg c
         WHERE c.user_view_schema = 'ingest' AND c.user_view_name = name),
        (SELECT h.id FROM _timescaledb_catalog.hypertable h WHERE h.schema_name = 'ingest' AND h.table_name = name));

    IF figures.chunk_interval IS DISTINCT FROM
       (SELECT d.interval_length * INTERVAL '1 microsecond' FROM _timescaledb_catalog.dimension d
        WHERE d.hypertable_id = hypertable) THEN
        PERFORM set_chunk_time_interval(relation, figures.chunk_interval);
    END IF;

    -- The refresh, before the compression, which must begin behind its window.
    IF figures.source IS NOT NULL THEN
        job := pg_temp.job_of(hypertable, 'policy_refresh_continuous_aggregate');
        IF job IS NULL THEN
            -- Finest first, some seconds apart, within each minute.
            PERFORM add_continuous_aggregate_policy(
                relation, start_offset => figures.refresh_start, end_offset => NULL,
                schedule_interval => figures.refresh_every,
                initial_start => timestamptz '2000-01-03 00:00:05+00' + INTERVAL '4 seconds'
                    * (SELECT count(DISTINCT p.bucket) FROM ingest.policies p WHERE p.bucket < figures.bucket));
            IF EXISTS (SELECT FROM show_chunks(format('ingest.%I', figures.source)::regclass)) THEN
                INSERT INTO ingest.refresh_requests (table_name) VALUES (name);
            END IF;
        ELSE
            SELECT j.config INTO settings FROM timescaledb_information.jobs j
            WHERE j.job_id = job AND (j.schedule_interval, (j.config ->> 'start_offset')::interval)
                                     IS DISTINCT FROM (figures.refresh_every, figures.refresh_start);
            IF FOUND THEN
                PERFORM alter_job(job, schedule_interval => figures.refresh_every,
                                  config => settings || jsonb_build_object('start_offset', figures.refresh_start::text));
            END IF;
        END IF;
    END IF;

    IF NOT EXISTS (SELECT FROM _timescaledb_catalog.hypertable h
                   WHERE h.id = hypertable AND h.compressed_hypertable_id IS NOT NULL) THEN
        EXECUTE format('ALTER %s %s SET (timescaledb.compress, timescaledb.compress_segmentby = %L, timescaledb.compress_orderby = %L)',
                       CASE WHEN figures.source IS NULL THEN 'TABLE' ELSE 'MATERIALIZED VIEW' END,
                       relation, segment_by, order_by);
    END IF;
    job := pg_temp.job_of(hypertable, 'policy_compression');
    IF figures.compress_after IS NULL THEN
        PERFORM remove_compression_policy(relation, if_exists => true) WHERE job IS NOT NULL;
    ELSIF job IS NULL THEN
        PERFORM add_compression_policy(relation, compress_after => figures.compress_after);
    ELSE
        PERFORM alter_job(job, config => j.config || jsonb_build_object('compress_after', figures.compress_after::text))
        FROM timescaledb_information.jobs j
        WHERE j.job_id = job AND (j.config ->> 'compress_after')::interval <> figures.compress_after;
    END IF;

    job := pg_temp.job_of(hypertable, 'policy_retention');
    IF figures.retention IS NULL THEN
        PERFORM remove_retention_policy(relation, if_exists => true) WHERE job IS NOT NULL;
    ELSIF job IS NULL THEN
        PERFORM add_retention_policy(relation, drop_after => figures.retention);
    ELSE
        PERFORM alter_job(job, config => j.config || jsonb_build_object('drop_after', figures.retention::text))
        FROM timescaledb_information.jobs j
        WHERE j.job_id = job AND (j.config ->> 'drop_after')::interval <> figures.retention;
    END IF;
END
$$;
