-- How wide is the spread over the day? Mean, least and greatest, in hundredths of a percent of the mid.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, snapshots, round(average_spread, 8) AS average_spread, round(average_bps, 4) AS average_bps,
       round(lowest_bps, 4) AS lowest_bps, round(highest_bps, 4) AS highest_bps
FROM market.spread(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
