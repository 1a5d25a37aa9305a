-- Stored trades of one instrument by id, in the venue's terms.
SELECT t.trade_id::bigint AS id, (extract(epoch FROM t.time) * 1000000)::bigint AS time_us, t.side::text,
       t.price::text, t.amount::text
FROM ingest.trades t
WHERE t.instrument_id = %(instrument_id)s
  AND CASE WHEN t.trade_id ~ '^[0-9]{1,18}$' THEN t.trade_id::bigint BETWEEN %(first_id)s AND %(last_id)s ELSE false END
ORDER BY t.trade_id::bigint, t.time
