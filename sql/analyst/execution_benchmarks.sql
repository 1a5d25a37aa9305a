-- What would a patient order have paid? Volume- and time-weighted average prices of a range, beside its first and last close.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :from = yesterday
-- :to = now
SELECT round(market.vwap(:'exchange', :'symbol', :'from', :'to'), 8) AS vwap,
       round(market.twap(:'exchange', :'symbol', :'from', :'to'), 8) AS twap,
       min(o.low) AS lowest, max(o.high) AS highest, first(o.open, o.time) AS first_price, last(o.close, o.time) AS last_price
FROM market.ohlcv(:'exchange', :'symbol', '1 minute', :'from', :'to') o;
