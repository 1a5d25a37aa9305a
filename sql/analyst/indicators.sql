-- EMA, RSI and ATR of the latest candles, computed from the start of the range: begin well before what you read.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 5 minutes
-- :from = yesterday
-- :to = tomorrow
-- :period = 14
-- :count = 5
SELECT e.time, e.close, round(e.ema::numeric, 8) AS ema, round(r.rsi::numeric, 4) AS rsi, round(a.atr::numeric, 8) AS atr
FROM market.ema(:'exchange', :'symbol', :'interval', :'from', :'to', :'period'::int) e
JOIN market.rsi(:'exchange', :'symbol', :'interval', :'from', :'to', :'period'::int) r USING (time)
JOIN market.atr(:'exchange', :'symbol', :'interval', :'from', :'to', :'period'::int) a USING (time)
ORDER BY e.time DESC
LIMIT :'count'::bigint;
