-- A window by time goes on as windows of ids. They keep its times, which bound those of their rows.
WITH whole AS (
    UPDATE ingest.backfill_jobs
    SET state = 'cut', attempts = 0, error = NULL, claimed_by = NULL, claimed_until = NULL
    WHERE job_id = %(job_id)s
    RETURNING *
)
INSERT INTO ingest.backfill_jobs (purpose, gap_id, part_of, instrument_id, channel, from_time, to_time, from_id, to_id)
SELECT w.purpose, w.gap_id, w.job_id, w.instrument_id, w.channel, w.from_time, w.to_time,
       p.from_id, least(p.from_id + %(page)s - 1, %(to_id)s)
FROM whole w, generate_series(%(from_id)s::bigint, %(to_id)s::bigint, %(page)s::bigint) AS p (from_id)
ORDER BY p.from_id
