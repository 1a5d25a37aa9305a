-- The first part of a window is done: it becomes a job of its own, and the window the rest, to be tried later.
WITH rest AS (
    UPDATE ingest.backfill_jobs
    SET from_time = %(from_time)s, from_id = %(from_id)s, state = 'waiting', attempts = 0, error = %(error)s,
        not_before = now() + make_interval(secs => %(seconds)s), claimed_by = NULL, claimed_until = NULL
    WHERE job_id = %(job_id)s
    RETURNING purpose, gap_id, part_of, instrument_id, channel, timeframe, created_at
)
INSERT INTO ingest.backfill_jobs (purpose, gap_id, part_of, instrument_id, channel, timeframe, from_time, to_time, from_id, to_id,
                                  state, rows_stored, rows_known, created_at, finished_at)
SELECT purpose, gap_id, part_of, instrument_id, channel, timeframe, %(part_from_time)s::timestamptz, %(part_to_time)s::timestamptz,
       %(part_from_id)s::bigint, %(part_to_id)s::bigint,
       'done', %(rows_stored)s, %(rows_known)s, created_at, now()
FROM rest
