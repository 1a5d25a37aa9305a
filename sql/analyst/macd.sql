-- MACD of the latest candles: the line, its signal, and their difference.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 minute
-- :from = yesterday
-- :to = tomorrow
-- :count = 5
SELECT time, close, round(macd::numeric, 8) AS macd, round(signal::numeric, 8) AS signal, round(histogram::numeric, 8) AS histogram
FROM market.macd(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time DESC
LIMIT :'count'::bigint;
