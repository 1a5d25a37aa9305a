-- Which closes were outside of their Bollinger bands?
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 minute
-- :from = yesterday
-- :to = tomorrow
-- :period = 20
-- :deviations = 2
SELECT time, close, round(lower::numeric, 8) AS lower, round(middle::numeric, 8) AS middle, round(upper::numeric, 8) AS upper,
       CASE WHEN close > upper THEN 'above' ELSE 'below' END AS side
FROM market.bollinger(:'exchange', :'symbol', :'interval', :'from', :'to', :'period'::int, :'deviations'::double precision)
WHERE close < lower OR close > upper
ORDER BY time;
