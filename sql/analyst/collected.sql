-- What is being collected, in which state, and how far has it come?
SELECT exchange, symbol, channel, state, last_time, rows_stored, promise, strict_watermark_time
FROM market.streams
ORDER BY exchange, symbol, channel;
