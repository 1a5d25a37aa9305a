-- One symbol on every exchange: price, share of the volume, and the premium over the mean price in hundredths of a percent.
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, exchange, close, round(vwap, 8) AS vwap, volume, round(100 * volume_share, 2) AS volume_percent,
       round(premium_bps, 4) AS premium_bps
FROM market.compare(:'symbol', :'interval', :'from', :'to')
ORDER BY time, exchange;
