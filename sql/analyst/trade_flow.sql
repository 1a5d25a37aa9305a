-- Who was in a hurry? What takers bought and sold, by interval.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
SELECT time, buy_volume, sell_volume, net_volume, buy_trades, sell_trades, other_trades, round(100 * buy_share, 2) AS buy_percent
FROM market.trade_flow(:'exchange', :'symbol', :'interval', :'from', :'to')
ORDER BY time;
