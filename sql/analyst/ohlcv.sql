-- Candles of any interval: from the rollups where they fit, else from the minutes.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, open, high, low, close, volume, round(quote_volume, 8) AS quote_volume, trades, minutes
FROM market.ohlcv(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
