-- Weekly candles from daily ones. Weeks begin on Monday, 00:00 UTC.
CREATE TABLE IF NOT EXISTS ingest.candles_1w (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_1w_key ON ingest.candles_1w (instrument_id, time);

COMMENT ON TABLE ingest.candles_1w IS 'Weekly candles, rolled up from daily ones. Weeks begin on Monday, 00:00 UTC.';
SELECT pg_temp.uphold('candles_1w');
