-- Four-hourly candles from hourly ones.
CREATE TABLE IF NOT EXISTS ingest.candles_4h (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_4h_key ON ingest.candles_4h (instrument_id, time);

COMMENT ON TABLE ingest.candles_4h IS 'Four-hourly candles, rolled up from hourly ones.';
SELECT pg_temp.uphold('candles_4h');
