-- Windows of backfills that failed are to be tried again.
WITH again AS (
    UPDATE ingest.backfill_jobs j
    SET state = 'waiting', attempts = 0, not_before = now(), finished_at = NULL
    WHERE j.purpose = 'backfill' AND j.state = 'failed' AND j.instrument_id = ANY (%(instrument_ids)s)
      AND (%(channel)s::text IS NULL OR j.channel = %(channel)s)
    RETURNING j.job_id
)
SELECT count(*) FROM again
