-- The windows that failed in some ranges, and why.
SELECT r.place, j.job_id, j.from_time, j.to_time, j.from_id, j.to_id, j.error
FROM unnest(%(range_ids)s::int[], %(range_channels)s::text[], %(range_timeframes)s::text[], %(range_froms)s::timestamptz[],
            %(range_tos)s::timestamptz[]) WITH ORDINALITY AS r (instrument_id, channel, timeframe, from_time, to_time, place)
JOIN ingest.backfill_jobs j
  ON j.instrument_id = r.instrument_id AND j.channel = r.channel AND j.timeframe IS NOT DISTINCT FROM r.timeframe
 AND j.purpose = 'backfill' AND j.state = 'failed' AND j.from_time < r.to_time AND j.to_time >= r.from_time
ORDER BY r.place, j.from_time, j.from_id
LIMIT %(count)s
