-- The exchange's candles above one minute. Maintenance drops its old chunks.
SELECT pg_temp.uphold('candles_coarse');
