-- The latest one-minute candles of one instrument.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :count = 5
SELECT time, open, high, low, close, volume, trades
FROM market.candles_1m
WHERE instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
ORDER BY time DESC
LIMIT :'count'::bigint;
