-- How far the windows of each range are that are unfinished, or have ended since a moment; ranges by their place.
SELECT r.place,
       count(*) FILTER (WHERE j.state IN ('waiting', 'claimed')),
       count(*) FILTER (WHERE j.state = 'done' AND j.finished_at >= %(since)s),
       count(*) FILTER (WHERE j.state = 'failed' AND j.finished_at >= %(since)s),
       count(*) FILTER (WHERE j.state = 'cancelled' AND j.finished_at >= %(since)s),
       coalesce(sum(j.rows_stored) FILTER (WHERE j.finished_at >= %(since)s), 0)::bigint,
       coalesce(sum(j.rows_known) FILTER (WHERE j.finished_at >= %(since)s), 0)::bigint,
       min(j.error) FILTER (WHERE j.state IN ('waiting', 'claimed')),
       string_agg(DISTINCT j.error, '; ') FILTER (WHERE j.state = 'done' AND j.finished_at >= %(since)s)
FROM unnest(%(range_ids)s::int[], %(range_channels)s::text[], %(range_timeframes)s::text[], %(range_froms)s::timestamptz[],
            %(range_tos)s::timestamptz[]) WITH ORDINALITY AS r (instrument_id, channel, timeframe, from_time, to_time, place)
LEFT JOIN ingest.backfill_jobs j
       ON j.instrument_id = r.instrument_id AND j.channel = r.channel AND j.timeframe IS NOT DISTINCT FROM r.timeframe
      AND coalesce(j.from_time, '-infinity') < r.to_time AND coalesce(j.to_time, 'infinity') >= r.from_time
      AND (j.state IN ('waiting', 'claimed') OR j.finished_at >= %(since)s)
GROUP BY r.place
ORDER BY r.place
