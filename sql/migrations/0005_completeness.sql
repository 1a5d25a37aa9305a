-- What is missing and why: watermarks, the life of a gap, and the queue of windows to fetch.

-- The watermark advances in the transaction that stores the rows below it, so it never passes a row that is not there.
ALTER TABLE ingest.streams
    ADD promise       text NOT NULL DEFAULT 'none' CHECK (promise IN ('ids', 'sequence', 'grid', 'none')),
    ADD covered_from  timestamptz,
    ADD watermark_id  bigint,
    ADD proved_to     timestamptz,
    ADD attested_to   timestamptz;

COMMENT ON COLUMN ingest.streams.promise IS 'What shows that nothing is missing: contiguous ids, a sequence, the grid of minutes, or none: then the line must have been alive.';
COMMENT ON COLUMN ingest.streams.covered_from IS 'Where collecting began: before it nothing is claimed but what a finished job has fetched.';
COMMENT ON COLUMN ingest.streams.watermark_id IS 'Every id up to here is committed, or named in ingest.gaps.';
COMMENT ON COLUMN ingest.streams.proved_to IS 'Up to this time ids, sequence or grid show that all is committed, or named in ingest.gaps.';
COMMENT ON COLUMN ingest.streams.attested_to IS 'Up to this time the stream was subscribed and its line alive.';

ALTER TABLE ingest.gaps
    ADD detail     text NOT NULL DEFAULT '',
    ADD attempts   int NOT NULL DEFAULT 0,
    ADD updated_at timestamptz NOT NULL DEFAULT now();
-- A stream may be interrupted twice at one place; that a gap was noticed then is what tells it from another, also when
-- a batch that was committed, but whose answer was lost, is written again.
DROP INDEX ingest.gaps_key;
CREATE UNIQUE INDEX gaps_key ON ingest.gaps (instrument_id, channel, opened_at, from_time, from_id, cause)
    NULLS NOT DISTINCT;
CREATE INDEX gaps_unsettled ON ingest.gaps (instrument_id, channel) WHERE state IN ('open', 'repairing');
CREATE INDEX gaps_time ON ingest.gaps (instrument_id, channel, from_time);

COMMENT ON COLUMN ingest.gaps.state IS 'open: to be looked at; repairing: windows are queued; repaired: nothing is missing any more; awaiting_dump: REST no longer reaches it, a daily file will; unrecoverable: nothing will.';
COMMENT ON COLUMN ingest.gaps.cause IS 'What opened it.';
COMMENT ON COLUMN ingest.gaps.evidence IS 'What was seen when it opened and closed.';
COMMENT ON COLUMN ingest.gaps.detail IS 'What repair found: why it waits, or cannot go on.';

-- Windows to fetch by REST: repair's and backfill's, shared by any number of processes.
CREATE TABLE ingest.backfill_jobs (
    job_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    purpose       text NOT NULL CHECK (purpose IN ('repair', 'backfill')),
    gap_id        bigint REFERENCES ingest.gaps,
    instrument_id int NOT NULL REFERENCES ingest.instruments,
    channel       text NOT NULL,
    from_time     timestamptz,
    to_time       timestamptz,
    from_id       bigint,
    to_id         bigint,
    state         text NOT NULL DEFAULT 'waiting'
                  CHECK (state IN ('waiting', 'claimed', 'done', 'failed', 'cancelled')),
    attempts      int NOT NULL DEFAULT 0,
    not_before    timestamptz NOT NULL DEFAULT now(),
    claimed_by    text,
    claimed_until timestamptz,
    rows_stored   bigint NOT NULL DEFAULT 0,
    rows_known    bigint NOT NULL DEFAULT 0,
    error         text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CHECK (from_time IS NOT NULL OR from_id IS NOT NULL)
);
CREATE INDEX backfill_jobs_queue ON ingest.backfill_jobs (purpose DESC, job_id) WHERE state IN ('waiting', 'claimed');
CREATE INDEX backfill_jobs_gap ON ingest.backfill_jobs (gap_id) WHERE state IN ('waiting', 'claimed');
CREATE INDEX backfill_jobs_done ON ingest.backfill_jobs (instrument_id, channel, from_time) WHERE state = 'done';

COMMENT ON TABLE ingest.backfill_jobs IS 'Windows to fetch by REST, claimed with SKIP LOCKED; a claim that expired returns to the queue.';
COMMENT ON COLUMN ingest.backfill_jobs.purpose IS 'repair: it closes a gap, and goes first; backfill: a person asked for it.';
COMMENT ON COLUMN ingest.backfill_jobs.from_id IS 'First id of the window, inclusive; NULL where it goes by time.';
COMMENT ON COLUMN ingest.backfill_jobs.to_id IS 'Last id of the window, inclusive.';
COMMENT ON COLUMN ingest.backfill_jobs.from_time IS 'Start of the window, inclusive.';
COMMENT ON COLUMN ingest.backfill_jobs.to_time IS 'End of the window, inclusive.';
COMMENT ON COLUMN ingest.backfill_jobs.not_before IS 'When it may be tried next: the venue''s history can trail its stream.';
COMMENT ON COLUMN ingest.backfill_jobs.rows_known IS 'Rows that were stored already.';

-- Rows that came late change rollups that are made already; the refresh takes these intervals and rolls up again.
CREATE TABLE ingest.rollup_changes (
    change_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id int NOT NULL,
    channel       text NOT NULL,
    from_time     timestamptz NOT NULL,
    to_time       timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ingest.rollup_changes IS 'Intervals (both ends inclusive) whose rows changed and must be rolled up again.';

CREATE FUNCTION ingest.epoch_ns(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (extract(epoch FROM moment) * 1000000)::bigint * 1000 $$;
COMMENT ON FUNCTION ingest.epoch_ns(timestamptz) IS 'Nanoseconds since the epoch, as the daemon counts.';

-- Coverage and strict watermarks ask for what is missing, of the many gaps that were closed long ago.
CREATE INDEX gaps_missing ON ingest.gaps (instrument_id, channel, from_time) WHERE state <> 'repaired';
COMMENT ON INDEX ingest.gaps_missing IS 'Finds the gaps that are not repaired.';

-- Instruments are numbers in what waits on disk: they mean something in this database alone.
CREATE TABLE ingest.installation (
    installation_id uuid NOT NULL DEFAULT gen_random_uuid(),
    made_at         timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ingest.installation DEFAULT VALUES;
COMMENT ON TABLE ingest.installation IS 'One row: which database this is. A backup keeps it.';
COMMENT ON COLUMN ingest.installation.installation_id IS 'A spool that was filled for another one is refused.';
