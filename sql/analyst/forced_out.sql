-- Who was forced out? Liquidations by interval: long positions are closed by selling, short ones by buying; values in quote currency.
-- :exchange = binance
-- :symbol = BTC/USDT:USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time_bucket(:'interval'::interval, l.time) AS time,
       count(*) FILTER (WHERE l.side = 'sell') AS longs, sum(v.value) FILTER (WHERE l.side = 'sell') AS long_value,
       count(*) FILTER (WHERE l.side = 'buy') AS shorts, sum(v.value) FILTER (WHERE l.side = 'buy') AS short_value,
       max(v.value) AS largest
FROM market.liquidations l
JOIN market.instruments i USING (instrument_id)
CROSS JOIN LATERAL (SELECT l.price * l.amount * coalesce(i.contract_size, 1) AS value) v
WHERE l.instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
  AND l.time >= :'from'::timestamptz AND l.time < :'to'::timestamptz
GROUP BY 1
ORDER BY 1;
