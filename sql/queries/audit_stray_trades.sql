-- Stored trades of one instrument whose ids are none of those from first_id to last_id.
SELECT t.trade_id, t.time
FROM ingest.trades t
WHERE t.instrument_id = %(instrument_id)s
  AND NOT CASE WHEN t.trade_id ~ '^[0-9]{1,18}$' THEN t.trade_id::bigint BETWEEN %(first_id)s AND %(last_id)s ELSE false END
ORDER BY t.time
