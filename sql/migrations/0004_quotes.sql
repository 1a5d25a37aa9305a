-- Best bid and ask, every change of them.
CREATE TABLE ingest.quotes (
    time          timestamptz NOT NULL,
    instrument_id int NOT NULL,
    sequence      bigint NOT NULL,
    bid           numeric NOT NULL CHECK (bid > 0 AND bid < 'Infinity'),
    bid_amount    numeric NOT NULL CHECK (bid_amount >= 0 AND bid_amount < 'Infinity'),
    ask           numeric NOT NULL CHECK (ask > 0 AND ask < 'Infinity'),
    ask_amount    numeric NOT NULL CHECK (ask_amount >= 0 AND ask_amount < 'Infinity'),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.quotes', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX quotes_key ON ingest.quotes (instrument_id, time, sequence);

COMMENT ON TABLE ingest.quotes IS 'Best bid and ask with their amounts, every change of them.';
COMMENT ON COLUMN ingest.quotes.time IS 'The exchange''s time of the change; the time of receipt where the exchange gives none (Binance spot).';
COMMENT ON COLUMN ingest.quotes.sequence IS 'The exchange''s id of the book''s state.';
COMMENT ON COLUMN ingest.quotes.bid IS 'Best bid, in quote currency.';
COMMENT ON COLUMN ingest.quotes.bid_amount IS 'Amount at the best bid, in base currency.';
COMMENT ON COLUMN ingest.quotes.ask IS 'Best ask, in quote currency.';
COMMENT ON COLUMN ingest.quotes.ask_amount IS 'Amount at the best ask, in base currency.';
COMMENT ON COLUMN ingest.quotes.received_at IS 'When this machine received it.';

COMMENT ON COLUMN ingest.tickers.time IS 'The exchange''s time of the ticker.';
COMMENT ON COLUMN ingest.tickers.last IS 'Price of the last trade.';
COMMENT ON COLUMN ingest.tickers.open_24h IS 'Price 24 hours before.';
COMMENT ON COLUMN ingest.tickers.volume_24h IS 'Of the last 24 hours, in base currency.';
COMMENT ON COLUMN ingest.tickers.quote_volume_24h IS 'Of the last 24 hours, in quote currency.';
