-- The windows of a gap that lie behind a part of it belong to the gap's rest, those that reach into it with what is
-- behind.
UPDATE ingest.backfill_jobs
SET gap_id = %(rest_id)s,
    from_id = greatest(from_id, %(from_id)s),
    from_time = CASE WHEN from_id IS NULL OR from_id < %(from_id)s THEN greatest(from_time, %(from_time)s)
                     ELSE from_time END
WHERE gap_id = %(gap_id)s
  AND CASE WHEN from_id IS NULL
           THEN from_time >= %(from_time)s
                OR state IN ('waiting', 'claimed') AND from_time >= %(part_time)s AND to_time >= %(from_time)s
           ELSE from_id >= %(from_id)s
                OR state IN ('waiting', 'claimed') AND from_id >= %(part_id)s AND to_id >= %(from_id)s END
