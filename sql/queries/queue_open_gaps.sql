-- Open gaps whose end is known, oldest first, locked for whoever plans their windows.
SELECT gap_id, instrument_id, channel,
       (extract(epoch FROM from_time) * 1000000)::bigint * 1000, (extract(epoch FROM to_time) * 1000000)::bigint * 1000,
       from_id, to_id
FROM ingest.gaps
WHERE instrument_id = ANY (%(instrument_ids)s) AND state = 'open'
  AND (channel = 'trades' AND from_id IS NOT NULL AND to_id IS NOT NULL
       OR channel IN ('trades', 'candles') AND from_id IS NULL AND from_time IS NOT NULL AND to_time IS NOT NULL)
ORDER BY gap_id
LIMIT %(count)s
FOR UPDATE SKIP LOCKED
