-- Fifteen-minute candles from five-minute ones.
CREATE TABLE IF NOT EXISTS ingest.candles_15m (LIKE ingest.candles_5m);
CREATE UNIQUE INDEX IF NOT EXISTS candles_15m_key ON ingest.candles_15m (instrument_id, time);

COMMENT ON TABLE ingest.candles_15m IS 'Fifteen-minute candles, rolled up from five-minute ones.';
SELECT pg_temp.uphold('candles_15m');
