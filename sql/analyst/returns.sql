-- The return of each interval.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, close, round(100 * simple_return, 4) AS percent, round(log_return::numeric, 8) AS log_return
FROM market.returns(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
