-- The windows beside one that goes by id learn the times of its outermost rows, which bound their own.
UPDATE ingest.backfill_jobs
SET from_time = CASE WHEN from_id = %(to_id)s::bigint + 1 THEN %(last_time)s ELSE from_time END,
    to_time = CASE WHEN to_id = %(from_id)s::bigint - 1 THEN %(first_time)s ELSE to_time END
WHERE gap_id = %(gap_id)s AND state IN ('waiting', 'claimed') AND (from_id = %(to_id)s::bigint + 1 OR to_id = %(from_id)s::bigint - 1)
