-- A window is given back, to be tried later. The claim may have passed to another worker: then it stays there.
UPDATE ingest.backfill_jobs
SET state = 'waiting', attempts = attempts + %(counted)s, error = coalesce(%(error)s, error),
    not_before = now() + make_interval(secs => %(seconds)s), claimed_by = NULL, claimed_until = NULL
WHERE job_id = %(job_id)s AND state = 'claimed' AND claimed_by = %(worker)s
