-- The exchange's candles above one minute.
SELECT pg_temp.uphold('candles_coarse', segment_by => 'instrument_id, timeframe', order_by => 'time');
