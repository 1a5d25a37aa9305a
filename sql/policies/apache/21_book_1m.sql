-- What a minute's order-book snapshots say. Only those that are in sync and have both sides are used.
CREATE TABLE IF NOT EXISTS ingest.book_1m (
    time            timestamptz NOT NULL,
    instrument_id   int NOT NULL,
    snapshots       bigint NOT NULL,
    used            bigint NOT NULL,
    mid_open        numeric,
    mid_high        numeric,
    mid_low         numeric,
    mid_close       numeric,
    mid_avg         numeric,
    spread_avg      numeric,
    spread_min      numeric,
    spread_max      numeric,
    spread_close    numeric,
    spread_bps_avg  numeric,
    imbalance_avg   numeric,
    imbalance_close numeric,
    bid_10bps_avg   numeric,
    ask_10bps_avg   numeric,
    bid_25bps_avg   numeric,
    ask_25bps_avg   numeric,
    bid_50bps_avg   numeric,
    ask_50bps_avg   numeric,
    reach_bps_min   numeric
);
CREATE UNIQUE INDEX IF NOT EXISTS book_1m_key ON ingest.book_1m (instrument_id, time);

COMMENT ON TABLE ingest.book_1m IS 'Mid, spread, imbalance and depth of each minute, from the order-book snapshots.';
SELECT pg_temp.uphold('book_1m');
