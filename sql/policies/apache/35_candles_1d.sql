-- Daily candles from four-hourly ones. Days begin at 00:00 UTC.
CREATE TABLE IF NOT EXISTS ingest.candles_1d (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_1d_key ON ingest.candles_1d (instrument_id, time);

COMMENT ON TABLE ingest.candles_1d IS 'Daily candles, rolled up from four-hourly ones. Days begin at 00:00 UTC.';
SELECT pg_temp.uphold('candles_1d');
