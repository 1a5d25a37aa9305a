-- The exchange's one-minute candles. Maintenance drops its old chunks.
SELECT pg_temp.uphold('candles_1m');
