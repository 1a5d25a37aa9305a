-- Five-minute candles from one-minute candles.
CREATE TABLE IF NOT EXISTS ingest.candles_5m (
    time                   timestamptz NOT NULL,
    instrument_id          int NOT NULL,
    open                   numeric NOT NULL,
    high                   numeric NOT NULL,
    low                    numeric NOT NULL,
    close                  numeric NOT NULL,
    volume                 numeric NOT NULL,
    quote_volume           numeric,
    trades                 bigint,
    taker_buy_volume       numeric,
    taker_buy_quote_volume numeric,
    minutes                bigint NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS candles_5m_key ON ingest.candles_5m (instrument_id, time);

COMMENT ON TABLE ingest.candles_5m IS 'Five-minute candles, rolled up from one-minute candles.';
SELECT pg_temp.uphold('candles_5m');
