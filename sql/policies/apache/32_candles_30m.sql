-- Half-hourly candles from fifteen-minute ones.
CREATE TABLE IF NOT EXISTS ingest.candles_30m (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_30m_key ON ingest.candles_30m (instrument_id, time);

COMMENT ON TABLE ingest.candles_30m IS 'Half-hourly candles, rolled up from fifteen-minute ones.';
SELECT pg_temp.uphold('candles_30m');
