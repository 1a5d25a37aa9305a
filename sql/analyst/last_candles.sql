-- The latest closed one-minute candles of one instrument.
SELECT time, open, high, low, close, volume, trades
FROM market.candles
WHERE instrument_id = market.instrument_id(:'exchange', :'symbol') AND timeframe = '1m'
ORDER BY time DESC
LIMIT 5;
