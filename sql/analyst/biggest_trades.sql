-- The biggest trades by value, of all instruments with the same quote currency.
-- :quote = USDT
-- :from = yesterday
-- :to = tomorrow
-- :count = 10
SELECT t.time, t.exchange, t.symbol, t.side, t.price, t.amount, t.price * t.amount AS value
FROM market.trades t
WHERE t.instrument_id IN (SELECT i.instrument_id FROM market.instruments i WHERE i.quote = :'quote')
  AND t.time >= :'from'::timestamptz AND t.time < :'to'::timestamptz
ORDER BY value DESC, t.time, t.instrument_id
LIMIT :'count'::bigint;
