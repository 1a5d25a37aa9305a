-- Is one instrument's record complete? Each interval with its grade; a gap says why.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :channel = trades
-- :from = yesterday
-- :to = tomorrow
SELECT from_time, to_time, grade, cause, state, round(seconds, 3) AS seconds, round(percent, 4) AS percent
FROM market.coverage(:'exchange', :'symbol', :'channel', :'from', :'to')
ORDER BY from_time;
