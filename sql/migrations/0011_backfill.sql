-- Backfill: history that a person asks for goes through repair's queue, too.

ALTER TABLE ingest.backfill_jobs
    ADD timeframe text CHECK (timeframe ~ '^[1-9][0-9]*[mhdw]$' AND timeframe <> '1m'),
    ADD part_of bigint REFERENCES ingest.backfill_jobs ON DELETE SET NULL,
    DROP CONSTRAINT backfill_jobs_state_check,
    ADD CONSTRAINT backfill_jobs_state_check
        CHECK (state IN ('waiting', 'claimed', 'cut', 'done', 'failed', 'cancelled'));
CREATE INDEX backfill_jobs_parts ON ingest.backfill_jobs (part_of) WHERE part_of IS NOT NULL;
CREATE INDEX backfill_jobs_backfill ON ingest.backfill_jobs (instrument_id, channel, from_time) WHERE purpose = 'backfill';

COMMENT ON COLUMN ingest.backfill_jobs.timeframe IS 'Of candles that go to candles_coarse; NULL: one-minute candles, or no candles.';
COMMENT ON COLUMN ingest.backfill_jobs.part_of IS 'The window by time that was cut into this one and others by id; it is done when all of them are.';
COMMENT ON INDEX ingest.backfill_jobs_parts IS 'Finds the windows that another was cut into.';
COMMENT ON INDEX ingest.backfill_jobs_backfill IS 'Finds what was asked for of a stream.';
