-- The hypertables. Their unique keys are natural, so that writing anything twice is harmless, and no
-- index on time alone is made beside them: it costs 28 % of disk and 50 % of WAL and no query needs it.
-- `p > 0` alone would admit NaN and Infinity, which PostgreSQL sorts above every number.

CREATE TABLE ingest.trades (
    time          timestamptz NOT NULL,
    instrument_id int NOT NULL,
    trade_id      text NOT NULL,
    side          ingest.side,
    price         numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    amount        numeric NOT NULL CHECK (amount > 0 AND amount < 'Infinity'),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.trades', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX trades_key ON ingest.trades (instrument_id, time, trade_id);

COMMENT ON TABLE ingest.trades IS 'Every trade, once.';
COMMENT ON COLUMN ingest.trades.time IS 'When the exchange executed it, in the exchange''s finest resolution, at most microseconds.';
COMMENT ON COLUMN ingest.trades.trade_id IS 'The exchange''s id, as text.';
COMMENT ON COLUMN ingest.trades.side IS 'The taker''s side; NULL where the exchange does not say.';
COMMENT ON COLUMN ingest.trades.price IS 'In quote currency, the exchange''s own digits.';
COMMENT ON COLUMN ingest.trades.amount IS 'In base currency (contracts for derivatives), the exchange''s own digits.';
COMMENT ON COLUMN ingest.trades.received_at IS 'When this machine received it.';

CREATE TABLE ingest.candles_1m (
    time                   timestamptz NOT NULL,
    instrument_id          int NOT NULL,
    open                   numeric NOT NULL,
    high                   numeric NOT NULL,
    low                    numeric NOT NULL,
    close                  numeric NOT NULL,
    volume                 numeric NOT NULL CHECK (volume >= 0 AND volume < 'Infinity'),
    quote_volume           numeric CHECK (quote_volume >= 0 AND quote_volume < 'Infinity'),
    trades                 bigint CHECK (trades >= 0),
    taker_buy_volume       numeric CHECK (taker_buy_volume >= 0 AND taker_buy_volume < 'Infinity'),
    taker_buy_quote_volume numeric CHECK (taker_buy_quote_volume >= 0 AND taker_buy_quote_volume < 'Infinity'),
    source                 smallint NOT NULL,
    received_at            timestamptz NOT NULL,
    CONSTRAINT candles_1m_prices CHECK (low > 0 AND low <= open AND low <= close
                                        AND high >= open AND high >= close AND high < 'Infinity')
);
SELECT create_hypertable('ingest.candles_1m', by_range('time', INTERVAL '1 month'), create_default_indexes => false);
CREATE UNIQUE INDEX candles_1m_key ON ingest.candles_1m (instrument_id, time);

COMMENT ON TABLE ingest.candles_1m IS 'One-minute candles as the exchange reports them: the base of every coarser candle.';
COMMENT ON COLUMN ingest.candles_1m.time IS 'The open of the minute.';
COMMENT ON COLUMN ingest.candles_1m.volume IS 'In base currency.';
COMMENT ON COLUMN ingest.candles_1m.quote_volume IS 'In quote currency.';
COMMENT ON COLUMN ingest.candles_1m.trades IS 'Number of trades.';
COMMENT ON COLUMN ingest.candles_1m.taker_buy_volume IS 'The part of volume in which the taker bought, in base currency.';
COMMENT ON COLUMN ingest.candles_1m.taker_buy_quote_volume IS 'The part of quote_volume in which the taker bought.';
COMMENT ON COLUMN ingest.candles_1m.source IS 'Rank: 0 the minute was open, 10 made from trades, 20 stream, 30 REST after the close, 40 dump file. A higher rank replaces a lower one.';
COMMENT ON COLUMN ingest.candles_1m.received_at IS 'When this machine received it.';

CREATE TABLE ingest.order_books (
    time          timestamptz NOT NULL,
    instrument_id int NOT NULL,
    event_time    timestamptz,
    sequence      bigint,
    bid_prices    numeric[] NOT NULL,
    bid_amounts   numeric[] NOT NULL,
    ask_prices    numeric[] NOT NULL,
    ask_amounts   numeric[] NOT NULL,
    in_sync       boolean NOT NULL,
    received_at   timestamptz NOT NULL,
    checksum_ok   boolean,
    CONSTRAINT order_books_bids CHECK (
        cardinality(bid_prices) = cardinality(bid_amounts)
        AND coalesce(array_ndims(bid_prices), 1) = 1 AND coalesce(array_ndims(bid_amounts), 1) = 1
        AND array_position(bid_prices, NULL) IS NULL AND array_position(bid_amounts, NULL) IS NULL
        AND 0 < ALL (bid_prices) AND 'Infinity' > ALL (bid_prices)
        AND 0 < ALL (bid_amounts) AND 'Infinity' > ALL (bid_amounts)),
    CONSTRAINT order_books_asks CHECK (
        cardinality(ask_prices) = cardinality(ask_amounts)
        AND coalesce(array_ndims(ask_prices), 1) = 1 AND coalesce(array_ndims(ask_amounts), 1) = 1
        AND array_position(ask_prices, NULL) IS NULL AND array_position(ask_amounts, NULL) IS NULL
        AND 0 < ALL (ask_prices) AND 'Infinity' > ALL (ask_prices)
        AND 0 < ALL (ask_amounts) AND 'Infinity' > ALL (ask_amounts))
);
SELECT create_hypertable('ingest.order_books', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX order_books_key ON ingest.order_books (instrument_id, time);

COMMENT ON TABLE ingest.order_books IS 'The best levels of each book at a fixed cadence; arrays run from the best price outwards.';
COMMENT ON COLUMN ingest.order_books.time IS 'The tick of the cadence: the book as it was known then.';
COMMENT ON COLUMN ingest.order_books.event_time IS 'The exchange''s time of the last change in it; NULL when a REST snapshot was the last.';
COMMENT ON COLUMN ingest.order_books.sequence IS 'The exchange''s id of this state of the book.';
COMMENT ON COLUMN ingest.order_books.in_sync IS 'False from a break of the sequence until the book was rebuilt: do not trade on it.';
COMMENT ON COLUMN ingest.order_books.received_at IS 'When this machine received the last change in it.';
COMMENT ON COLUMN ingest.order_books.checksum_ok IS 'Whether the exchange''s checksum of this state is that of our book; NULL where it sent none.';

CREATE TABLE ingest.tickers (
    instrument_id int PRIMARY KEY REFERENCES ingest.instruments,
    time          timestamptz NOT NULL,
    last          numeric CHECK (last >= 0 AND last < 'Infinity'),
    bid           numeric CHECK (bid >= 0 AND bid < 'Infinity'),
    bid_amount    numeric CHECK (bid_amount >= 0 AND bid_amount < 'Infinity'),
    ask           numeric CHECK (ask >= 0 AND ask < 'Infinity'),
    ask_amount    numeric CHECK (ask_amount >= 0 AND ask_amount < 'Infinity'),
    open_24h      numeric CHECK (open_24h >= 0 AND open_24h < 'Infinity'),
    high_24h      numeric CHECK (high_24h >= 0 AND high_24h < 'Infinity'),
    low_24h       numeric CHECK (low_24h >= 0 AND low_24h < 'Infinity'),
    volume_24h    numeric CHECK (volume_24h >= 0 AND volume_24h < 'Infinity'),
    quote_volume_24h numeric CHECK (quote_volume_24h >= 0 AND quote_volume_24h < 'Infinity'),
    received_at   timestamptz NOT NULL
);
COMMENT ON TABLE ingest.tickers IS 'The latest ticker of each instrument, one row each.';
