-- Windows into the queue.
INSERT INTO ingest.backfill_jobs (purpose, gap_id, instrument_id, channel, from_time, to_time, from_id, to_id, timeframe)
SELECT %(purpose)s, gap_id, instrument_id, channel, from_time, to_time, from_id, to_id, timeframe
FROM unnest(%(gap_ids)s::bigint[], %(instrument_ids)s::int[], %(channels)s::text[], %(from_times)s::timestamptz[],
            %(to_times)s::timestamptz[], %(from_ids)s::bigint[], %(to_ids)s::bigint[], %(timeframes)s::text[]) WITH ORDINALITY
     AS w (gap_id, instrument_id, channel, from_time, to_time, from_id, to_id, timeframe, place)
ORDER BY w.place
