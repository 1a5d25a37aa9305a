-- At which prices was it traded? Volume by steps of the price.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :step = 5
-- :from = yesterday
-- :to = tomorrow
SELECT floor(price / :'step'::numeric) * :'step'::numeric AS from_price, sum(amount) AS volume,
       round(100 * sum(amount) / sum(sum(amount)) OVER (), 2) AS percent, count(*) AS trades
FROM market.trades
WHERE instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
  AND time >= :'from'::timestamptz AND time < :'to'::timestamptz
GROUP BY 1
ORDER BY 1 DESC;
