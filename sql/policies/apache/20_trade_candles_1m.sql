-- One-minute candles from the stored trades.
CREATE TABLE IF NOT EXISTS ingest.trade_candles_1m (
    time                   timestamptz NOT NULL,
    instrument_id          int NOT NULL,
    open                   numeric NOT NULL,
    high                   numeric NOT NULL,
    low                    numeric NOT NULL,
    close                  numeric NOT NULL,
    volume                 numeric NOT NULL,
    quote_volume           numeric NOT NULL,
    trades                 bigint NOT NULL,
    taker_buy_volume       numeric,
    taker_buy_quote_volume numeric
);
CREATE UNIQUE INDEX IF NOT EXISTS trade_candles_1m_key ON ingest.trade_candles_1m (instrument_id, time);

COMMENT ON TABLE ingest.trade_candles_1m IS 'One-minute candles made from the stored trades, to check the exchange''s own against.';
SELECT pg_temp.uphold('trade_candles_1m');
