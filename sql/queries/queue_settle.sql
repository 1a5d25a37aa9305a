-- Gaps with no window left to fetch: nothing of them is missing any more.
UPDATE ingest.gaps g
SET state = 'repaired', closed_at = now(), updated_at = now()
WHERE instrument_id = ANY (%(instrument_ids)s) AND channel IN ('trades', 'candles') AND state = 'repairing'
  AND NOT EXISTS (SELECT FROM ingest.backfill_jobs j WHERE j.gap_id = g.gap_id AND j.state IN ('waiting', 'claimed'))
RETURNING instrument_id, channel,
       (extract(epoch FROM from_time) * 1000000)::bigint * 1000, (extract(epoch FROM to_time) * 1000000)::bigint * 1000,
       from_id, to_id, cause,
       (SELECT coalesce(sum(rows_stored), 0)::bigint FROM ingest.backfill_jobs j WHERE j.gap_id = g.gap_id),
       (SELECT coalesce(sum(rows_known), 0)::bigint FROM ingest.backfill_jobs j WHERE j.gap_id = g.gap_id)
