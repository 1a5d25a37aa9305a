-- Volume-weighted average price by five seconds, out of the trades, with the taker's side of the volume.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :from = yesterday
-- :to = tomorrow
SELECT time_bucket('5 seconds', time) AS bucket,
       round(sum(price * amount) / sum(amount), 8) AS vwap,
       sum(amount) AS volume,
       round(100 * coalesce(sum(amount) FILTER (WHERE side = 'buy'), 0) / sum(amount), 1) AS buy_percent,
       count(*) AS trades
FROM market.trades
WHERE instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
  AND time >= :'from'::timestamptz AND time < :'to'::timestamptz
GROUP BY bucket
ORDER BY bucket DESC
LIMIT 5;
