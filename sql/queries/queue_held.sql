-- The gap of a claimed window; no row when the claim has passed to another worker, or the window was dropped.
SELECT gap_id
FROM ingest.backfill_jobs
WHERE job_id = %(job_id)s AND state = 'claimed' AND claimed_by = %(worker)s
FOR UPDATE
