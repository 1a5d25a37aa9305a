-- The last trades of one instrument.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :count = 20
-- :before = infinity
SELECT time, trade_id, side, price, amount, price * amount AS value
FROM market.last_trades(:'exchange', :'symbol', :'count'::int, :'before');
