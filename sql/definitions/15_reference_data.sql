-- What the venues say of their instruments, and how the venues themselves are, in words.

CREATE OR REPLACE VIEW market.instrument_changes AS
SELECT c.changed_at AS time, e.name AS exchange, i.symbol, c.before, c.after, c.instrument_id
FROM ingest.instrument_changes c
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id);
COMMENT ON VIEW market.instrument_changes IS 'What changed of each instrument, and when the daemon learnt of it: steps, limits, halts, the end of its listing.';
COMMENT ON COLUMN market.instrument_changes.time IS 'When the daemon learnt of it.';

CREATE OR REPLACE VIEW market.exchange_status AS
SELECT e.name AS exchange, s.state, s.since, s.until, s.detail, s.checked_at, s.latency_ms, s.limiter, s.shard
FROM ingest.exchange_status s
JOIN ingest.exchanges e USING (exchange_id);
COMMENT ON VIEW market.exchange_status IS 'How each exchange has been, as its streams and REST calls showed; until IS NULL is how it is now.';
