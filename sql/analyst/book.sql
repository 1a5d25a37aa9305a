-- The order book of one instrument as it was known at a moment, level by level.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :at = now
-- :max_age = 10 minutes
SELECT time, level, bid_depth, bid_amount, bid_price, ask_price, ask_amount, ask_depth
FROM market.book_at(:'exchange', :'symbol', :'at', :'max_age')
ORDER BY level;
