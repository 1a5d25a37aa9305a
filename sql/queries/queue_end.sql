-- A window is at its end. The times of a window that goes by id become those of its rows.
UPDATE ingest.backfill_jobs
SET state = %(state)s, error = %(error)s, finished_at = now(), claimed_by = NULL, claimed_until = NULL,
    rows_stored = rows_stored + %(rows_stored)s, rows_known = rows_known + %(rows_known)s,
    from_time = CASE WHEN from_id IS NULL THEN from_time ELSE coalesce(%(first_time)s, from_time) END,
    to_time = CASE WHEN from_id IS NULL THEN to_time ELSE coalesce(%(last_time)s, to_time) END
WHERE job_id = %(job_id)s
