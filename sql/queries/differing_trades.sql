-- Staged trades whose id is stored with another price, amount or side.
SELECT s.ordinal - (SELECT min(ordinal) FROM stage_trades) AS position,
       format('trade id is stored with price %%s, amount %%s, side %%s', t.price, t.amount, t.side) AS reason
FROM stage_trades s
JOIN ingest.trades t
  ON t.time >= %(from_time)s AND t.time < %(to_time)s
 AND t.instrument_id = s.instrument_id AND t.trade_id = s.trade_id
 AND t.time >= date_trunc('milliseconds', s.time)
 AND t.time < date_trunc('milliseconds', s.time) + INTERVAL '1 millisecond'
WHERE (t.price, t.amount, t.side) IS DISTINCT FROM (s.price, s.amount, s.side)
ORDER BY s.ordinal
