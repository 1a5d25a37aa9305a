-- Volume-weighted average price by interval, out of the candles.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, round(vwap, 8) AS vwap, volume, trades
FROM market.vwap(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
