-- What no row may say, behind what the adapters check; and room for the tables that are updated all day.

-- An infinite time would lie in a chunk of its own that no retention ever reaches. Trades go without: on the hottest table
-- two CHECKs more cost a sixth of COPY, and what the daemon writes is finite and has an id by its own encoder.
ALTER TABLE ingest.quotes ADD CONSTRAINT quotes_time CHECK (isfinite(time));
ALTER TABLE ingest.candles_coarse ADD CONSTRAINT candles_coarse_time CHECK (isfinite(time));
-- Completeness of candles is shown on the grid of minutes, so that an open beside it would be a minute that nobody finds.
ALTER TABLE ingest.candles_1m
    ADD CONSTRAINT candles_1m_time CHECK (isfinite(time) AND time = date_bin('1 minute', time, 'epoch'));
-- The best level is element 1: an array may not begin elsewhere.
ALTER TABLE ingest.order_books
    ADD CONSTRAINT order_books_time CHECK (isfinite(time)),
    ADD CONSTRAINT order_books_bounds CHECK (
        coalesce(array_lower(bid_prices, 1), 1) = 1 AND coalesce(array_lower(bid_amounts, 1), 1) = 1
        AND coalesce(array_lower(ask_prices, 1), 1) = 1 AND coalesce(array_lower(ask_amounts, 1), 1) = 1);

-- Venues say 0 where a ticker has no price; `merge_tickers` makes it NULL.
UPDATE ingest.tickers
SET last = nullif(last, 0), bid = nullif(bid, 0), ask = nullif(ask, 0), open_24h = nullif(open_24h, 0),
    high_24h = nullif(high_24h, 0), low_24h = nullif(low_24h, 0)
WHERE 0 IN (last, bid, ask, open_24h, high_24h, low_24h);
ALTER TABLE ingest.tickers
    ADD CONSTRAINT tickers_time CHECK (isfinite(time)),
    ADD CONSTRAINT tickers_prices CHECK (last > 0 AND bid > 0 AND ask > 0 AND open_24h > 0),
    ADD CONSTRAINT tickers_range CHECK (low_24h > 0 AND high_24h > 0 AND low_24h <= high_24h);
COMMENT ON COLUMN ingest.tickers.bid IS 'Best bid; NULL where there is none.';
COMMENT ON COLUMN ingest.tickers.ask IS 'Best ask; NULL where there is none.';

-- Rows that are updated with every batch leave room beside them, so that no index is touched, and are vacuumed by
-- their number: a share of such small tables would be a handful of rows, and of the others too many.
ALTER TABLE ingest.tickers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE ingest.gaps SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
                             autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE ingest.backfill_jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
                                      autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.02);
-- Filled and emptied: whoever takes what is there must not read past what was taken before.
ALTER TABLE ingest.rollup_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE ingest.refresh_requests SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What maintenance did last; the server's own jobs keep a history of theirs.
CREATE TABLE ingest.maintenance_runs (
    policy            text PRIMARY KEY CHECK (policy IN ('refresh', 'retention')),
    last_started_at   timestamptz NOT NULL,
    last_succeeded_at timestamptz,
    last_error        text,
    total_runs        bigint NOT NULL DEFAULT 1,
    total_failures    bigint NOT NULL DEFAULT 0
);
ALTER TABLE ingest.maintenance_runs SET (fillfactor = 50);
COMMENT ON TABLE ingest.maintenance_runs IS 'When maintenance, in the daemon or by ingest maintain, last did its parts; ingest.policy_jobs shows it by table.';
COMMENT ON COLUMN ingest.maintenance_runs.policy IS 'refresh: rollups; retention: old chunks and rows.';
COMMENT ON COLUMN ingest.maintenance_runs.last_error IS 'Why the last run failed; NULL when it did not.';
