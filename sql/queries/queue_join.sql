-- A window that was cut is done when all that it was cut into is.
UPDATE ingest.backfill_jobs w
SET state = 'done', finished_at = now()
FROM ingest.backfill_jobs p
WHERE p.job_id = %(job_id)s AND w.job_id = p.part_of AND w.state = 'cut'
  AND NOT EXISTS (SELECT FROM ingest.backfill_jobs o WHERE o.part_of = w.job_id AND o.state <> 'done')
