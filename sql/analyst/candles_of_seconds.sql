-- Candles finer than a minute, made of the trades.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 30 seconds
-- :from = yesterday
-- :to = tomorrow
SELECT time, open, high, low, close, volume, trades
FROM market.ohlcv(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
