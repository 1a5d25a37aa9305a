-- Windows that lie in a part that cannot be had need not be fetched any more.
UPDATE ingest.backfill_jobs
SET state = 'cancelled', error = %(detail)s, finished_at = now(), claimed_by = NULL, claimed_until = NULL
WHERE gap_id = %(gap_id)s AND state IN ('waiting', 'claimed')
  AND CASE WHEN from_id IS NULL THEN from_time >= %(from_time)s AND to_time <= %(to_time)s
           ELSE from_id >= %(from_id)s AND to_id <= %(to_id)s END
