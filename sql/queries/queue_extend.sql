-- A claim lasts longer. No row when it has passed to another worker.
UPDATE ingest.backfill_jobs
SET claimed_until = now() + make_interval(secs => %(seconds)s)
WHERE job_id = %(job_id)s AND state = 'claimed' AND claimed_by = %(worker)s
RETURNING job_id
