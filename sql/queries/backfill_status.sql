-- What was asked for of each stream, and how far it is: of unfinished and failed windows, and of those that ended lately.
SELECT e.name, i.symbol, j.channel, coalesce(j.timeframe, CASE j.channel WHEN 'candles' THEN '1m' END),
       count(*) FILTER (WHERE j.state = 'waiting'), count(*) FILTER (WHERE j.state = 'claimed'),
       count(*) FILTER (WHERE j.state = 'done'), count(*) FILTER (WHERE j.state = 'failed'),
       count(*) FILTER (WHERE j.state = 'cancelled'),
       coalesce(sum(j.rows_stored), 0)::bigint, coalesce(sum(j.rows_known), 0)::bigint, min(j.from_time), max(j.to_time),
       max(j.finished_at), string_agg(DISTINCT split_part(j.claimed_by, ' ', 1), ', '),
       min(j.error) FILTER (WHERE j.state = 'failed'), j.instrument_id
FROM ingest.backfill_jobs j
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id)
WHERE j.purpose = 'backfill' AND j.state <> 'cut'
GROUP BY e.name, i.symbol, j.channel, j.timeframe, j.instrument_id
ORDER BY e.name, i.symbol, j.channel, coalesce(j.timeframe, ''), j.instrument_id
