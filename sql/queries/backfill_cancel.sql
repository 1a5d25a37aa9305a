-- Backfills that are given up. Who works on a window notices when it is done; one that was cut is not to be joined again.
WITH stopped AS (
    UPDATE ingest.backfill_jobs j
    SET state = 'cancelled', finished_at = now(), claimed_by = NULL, claimed_until = NULL
    WHERE j.purpose = 'backfill' AND j.state IN ('waiting', 'claimed', 'cut') AND j.instrument_id = ANY (%(instrument_ids)s)
      AND (%(channel)s::text IS NULL OR j.channel = %(channel)s)
    RETURNING j.part_of IS NULL AND j.from_id IS NULL AS whole
)
SELECT count(*) FROM stopped
