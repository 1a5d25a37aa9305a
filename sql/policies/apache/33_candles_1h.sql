-- Hourly candles from half-hourly ones.
CREATE TABLE IF NOT EXISTS ingest.candles_1h (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_1h_key ON ingest.candles_1h (instrument_id, time);

COMMENT ON TABLE ingest.candles_1h IS 'Hourly candles, rolled up from half-hourly ones.';
SELECT pg_temp.uphold('candles_1h');
