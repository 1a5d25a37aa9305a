-- Where does a fast moving average cross a slow one? Simple averages of closes; only the candles of a crossing.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 5 minutes
-- :from = yesterday
-- :to = tomorrow
-- :fast = 3
-- :slow = 8
SELECT time, close, round(fast::numeric, 8) AS fast, round(slow::numeric, 8) AS slow,
       CASE WHEN fast > slow THEN 'up' ELSE 'down' END AS crossing
FROM (SELECT f.time, f.close, f.sma AS fast, s.sma AS slow,
             lag(sign(f.sma - s.sma)) OVER (ORDER BY f.time) AS before
      FROM market.sma(:'exchange', :'symbol', :'interval', :'from', :'to', :'fast'::int) f
      JOIN market.sma(:'exchange', :'symbol', :'interval', :'from', :'to', :'slow'::int) s USING (time)
      WHERE s.sma IS NOT NULL) m
WHERE sign(fast - slow) <> before
ORDER BY time;
