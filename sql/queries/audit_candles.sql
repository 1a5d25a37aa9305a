-- Stored closed candles of one instrument by time, in the venue's terms.
SELECT (extract(epoch FROM c.time) * 1000000)::bigint AS open_time_us, c.open::text, c.high::text, c.low::text,
       c.close::text, c.volume::text, c.quote_volume::text, c.trades, c.taker_buy_volume::text,
       c.taker_buy_quote_volume::text
FROM ingest.candles_1m c
WHERE c.instrument_id = %(instrument_id)s AND c.source > 0
ORDER BY c.time
