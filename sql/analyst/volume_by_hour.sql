-- When is the market awake? The mean volume of each hour of the day, UTC.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :from = yesterday
-- :to = tomorrow
SELECT extract(hour FROM time AT TIME ZONE 'UTC')::int AS hour, count(*) AS hours, round(avg(volume), 8) AS mean_volume,
       round(avg(trades), 1) AS mean_trades
FROM market.ohlcv(:'exchange', :'symbol', '1 hour', :'from', :'to')
GROUP BY 1
ORDER BY 1;
