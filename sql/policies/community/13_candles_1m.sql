-- The exchange's one-minute candles.
SELECT pg_temp.uphold('candles_1m', segment_by => 'instrument_id', order_by => 'time');
