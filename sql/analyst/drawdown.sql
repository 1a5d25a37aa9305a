-- How far did the price fall below its highest close so far? The deepest moments.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 15 minutes
-- :from = yesterday
-- :to = tomorrow
-- :count = 5
SELECT time, close, highest, round(100 * (close / highest - 1), 4) AS percent
FROM (SELECT time, close, max(close) OVER (ORDER BY time) AS highest
      FROM market.ohlcv(:'exchange', :'symbol', :'interval', :'from', :'to')) o
ORDER BY close / highest, time
LIMIT :'count'::bigint;
