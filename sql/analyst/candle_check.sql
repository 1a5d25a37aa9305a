-- Which of the exchange's candles differ from the trades that are stored? Where covered is true, no trade is missing here.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :from = yesterday
-- :to = tomorrow
SELECT time, verdict, differs, covered, close, trades_close, volume, trades_volume, trades, trades_trades
FROM market.candle_check(:'exchange', :'symbol', :'from', :'to')
WHERE verdict <> 'equal'
ORDER BY time;
