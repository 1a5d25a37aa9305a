-- Candles on an unbroken grid: where one is missing, the close before it stands, with volume and minutes 0.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 minute
-- :from = yesterday
-- :to = tomorrow
SELECT time, open, high, low, close, volume, trades, minutes
FROM market.ohlcv(:'exchange', :'symbol', :'interval', :'from', :'to', fill => true)
ORDER BY time;
