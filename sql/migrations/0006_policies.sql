-- How long rows are kept, when they are compressed, and what is rolled up from what: the figures in force. `ingest
-- migrate` puts the configuration's in their place and applies sql/policies/.
CREATE TABLE ingest.policies (
    table_name     text PRIMARY KEY,
    source         text REFERENCES ingest.policies,
    bucket         interval CHECK (bucket > INTERVAL '0'),
    chunk_interval interval CHECK (chunk_interval > INTERVAL '0'),
    compress_after interval CHECK (compress_after > INTERVAL '0'),
    retention      interval CHECK (retention > INTERVAL '0'),
    late_after     interval CHECK (late_after > INTERVAL '0'),
    refresh_start  interval CHECK (refresh_start >= 2 * bucket),
    refresh_every  interval CHECK (refresh_every > INTERVAL '0'),
    CHECK (num_nulls(source, bucket, refresh_start, refresh_every) IN (0, 4))
);
COMMENT ON TABLE ingest.policies IS 'The figures in force for chunks, compression, retention and rollups: one row a table.';
COMMENT ON COLUMN ingest.policies.table_name IS 'The table of schema ingest.';
COMMENT ON COLUMN ingest.policies.source IS 'The table that it is rolled up from; NULL where it is written by the daemon.';
COMMENT ON COLUMN ingest.policies.bucket IS 'Length of one row of a rollup; weeks begin on Monday and days at 00:00 UTC.';
COMMENT ON COLUMN ingest.policies.chunk_interval IS 'Time in one chunk; a change holds for new chunks. NULL: no hypertable.';
COMMENT ON COLUMN ingest.policies.compress_after IS 'A chunk is compressed when its last row is older than this (Community); NULL: never.';
COMMENT ON COLUMN ingest.policies.retention IS 'A chunk is dropped, or a row deleted, when it is older than this; NULL: never.';
COMMENT ON COLUMN ingest.policies.late_after IS 'Rows that come later than this after their time are rolled up by request, not by the ordinary refresh.';
COMMENT ON COLUMN ingest.policies.refresh_start IS 'How far before now the ordinary refresh of a rollup begins; it ends with the bucket that is still open.';
COMMENT ON COLUMN ingest.policies.refresh_every IS 'How often a rollup is refreshed.';

INSERT INTO ingest.policies (table_name, chunk_interval, compress_after, retention, late_after) VALUES
    ('trades',         '1 day',    '3 days',  '365 days', '24 hours'),
    ('quotes',         '1 day',    '3 days',  '30 days',  NULL),
    ('order_books',    '1 day',    '3 days',  '30 days',  '24 hours'),
    ('candles_1m',     '30 days',  '7 days',  '730 days', '24 hours'),
    ('candles_coarse', '365 days', '30 days', NULL,       NULL);
INSERT INTO ingest.policies (table_name, source, bucket, chunk_interval, compress_after, retention, refresh_start, refresh_every) VALUES
    ('trade_candles_1m', 'trades',      '1 minute',   '30 days',   '30 days', '730 days',  '25 hours', '1 minute'),
    ('book_1m',          'order_books', '1 minute',   '30 days',   '30 days', '730 days',  '25 hours', '1 minute'),
    ('candles_5m',       'candles_1m',  '5 minutes',  '90 days',   '30 days', '1825 days', '25 hours', '1 minute'),
    ('candles_15m',      'candles_5m',  '15 minutes', '180 days',  '30 days', '1825 days', '25 hours', '1 minute'),
    ('candles_30m',      'candles_15m', '30 minutes', '180 days',  '30 days', '1825 days', '25 hours', '1 minute'),
    ('candles_1h',       'candles_30m', '1 hour',     '365 days',  '30 days', '1825 days', '26 hours', '1 minute'),
    ('candles_4h',       'candles_1h',  '4 hours',    '365 days',  '30 days', '1825 days', '32 hours', '1 minute'),
    ('candles_1d',       'candles_4h',  '1 day',      '1825 days', '30 days', NULL,        '72 hours', '1 minute'),
    ('candles_1w',       'candles_1d',  '7 days',     '3650 days', '30 days', NULL,        '360 hours', '1 minute');
INSERT INTO ingest.policies (table_name, retention) VALUES
    ('rejected', '90 days'), ('backfill_jobs', '30 days'), ('gaps', '90 days');

-- What a person, or a table that has just become a rollup's source, asks for.
CREATE TABLE ingest.refresh_requests (
    request_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name   text NOT NULL REFERENCES ingest.policies,
    from_time    timestamptz NOT NULL DEFAULT '-infinity',
    to_time      timestamptz NOT NULL DEFAULT 'infinity',
    requested_at timestamptz NOT NULL DEFAULT now(),
    not_before   timestamptz NOT NULL DEFAULT now(),
    attempts     int NOT NULL DEFAULT 0,
    error        text,
    CHECK (from_time < to_time)
);
COMMENT ON TABLE ingest.refresh_requests IS 'Rollups to be made again from their source, with all that is rolled up from them; maintenance does so and deletes the row.';
COMMENT ON COLUMN ingest.refresh_requests.table_name IS 'The finest rollup that is to be made again.';
COMMENT ON COLUMN ingest.refresh_requests.from_time IS 'Start, inclusive. What is older than the retention of a rollup or of its source is left as it is.';
COMMENT ON COLUMN ingest.refresh_requests.to_time IS 'End, exclusive.';
COMMENT ON COLUMN ingest.refresh_requests.not_before IS 'When it is tried next.';
COMMENT ON COLUMN ingest.refresh_requests.attempts IS 'How often it has failed.';
COMMENT ON COLUMN ingest.refresh_requests.error IS 'What the last failure said.';

-- What was proved of a stream outlives its rows: market.coverage must know which of them are there no more.
CREATE TABLE ingest.oldest_chunks (
    table_name text PRIMARY KEY REFERENCES ingest.policies,
    starts     timestamptz NOT NULL
);
COMMENT ON TABLE ingest.oldest_chunks IS 'Where the oldest chunk of each table began when maintenance last looked: when it begins later, chunks were dropped since.';
COMMENT ON COLUMN ingest.oldest_chunks.table_name IS 'The table of schema ingest.';
COMMENT ON COLUMN ingest.oldest_chunks.starts IS 'Start of its oldest chunk.';

CREATE TABLE ingest.removals (
    table_name text NOT NULL REFERENCES ingest.policies,
    before     timestamptz NOT NULL,
    removed_at timestamptz NOT NULL,
    PRIMARY KEY (table_name, before)
);
COMMENT ON TABLE ingest.removals IS 'What retention has removed of the tables that the daemon writes: as a rule one row a table, more where older rows were fetched again and removed again.';
COMMENT ON COLUMN ingest.removals.table_name IS 'The table of schema ingest.';
COMMENT ON COLUMN ingest.removals.before IS 'Rows before this time were removed.';
COMMENT ON COLUMN ingest.removals.removed_at IS 'When that was noticed; what was fetched later is there.';

COMMENT ON COLUMN ingest.rollup_changes.channel IS 'The channel whose rows changed: candles, trades or book.';

-- A repaired gap leaves when its time has come, and its jobs must be found then.
CREATE INDEX backfill_jobs_of_gap ON ingest.backfill_jobs (gap_id) WHERE gap_id IS NOT NULL;

-- Candles above one minute that an exchange itself reports, where its one-minute candles do not reach back.
CREATE TABLE ingest.candles_coarse (
    time                   timestamptz NOT NULL,
    instrument_id          int NOT NULL,
    timeframe              text NOT NULL CHECK (timeframe ~ '^[1-9][0-9]*[mhdwM]$' AND timeframe <> '1m'),
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
    CONSTRAINT candles_coarse_prices CHECK (low > 0 AND low <= open AND low <= close
                                            AND high >= open AND high >= close AND high < 'Infinity')
);
SELECT create_hypertable('ingest.candles_coarse', by_range('time', INTERVAL '365 days'), create_default_indexes => false);
CREATE UNIQUE INDEX candles_coarse_key ON ingest.candles_coarse (instrument_id, timeframe, time);

COMMENT ON TABLE ingest.candles_coarse IS 'Candles above one minute as the exchange reports them, for history older than its one-minute candles.';
COMMENT ON COLUMN ingest.candles_coarse.time IS 'The open of the candle.';
COMMENT ON COLUMN ingest.candles_coarse.timeframe IS 'Its length as ccxt writes it: 5m, 1h, 1d, 1w, 1M.';
COMMENT ON COLUMN ingest.candles_coarse.volume IS 'In base currency.';
COMMENT ON COLUMN ingest.candles_coarse.quote_volume IS 'In quote currency.';
COMMENT ON COLUMN ingest.candles_coarse.trades IS 'Number of trades.';
COMMENT ON COLUMN ingest.candles_coarse.taker_buy_volume IS 'The part of volume in which the taker bought, in base currency.';
COMMENT ON COLUMN ingest.candles_coarse.taker_buy_quote_volume IS 'The part of quote_volume in which the taker bought.';
COMMENT ON COLUMN ingest.candles_coarse.source IS 'Rank, as in candles_1m.';
COMMENT ON COLUMN ingest.candles_coarse.received_at IS 'When this machine received it; before its end, it is not whole.';

-- Trades of one moment stand in the order of their ids, shorter ones first. As bytes: first() and last() compare no rows.
CREATE FUNCTION ingest.trade_place("time" timestamptz, trade_id text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamptz_send("time") || int4send(length(trade_id)) || replace(trade_id, '\', '\\')::bytea;
COMMENT ON FUNCTION ingest.trade_place(timestamptz, text) IS 'Puts an instrument''s trades in order: by time, then by id.';

CREATE FUNCTION ingest.depth(prices numeric[], amounts numeric[], lowest numeric, highest numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT coalesce(sum(level.amount), 0) FROM unnest(prices, amounts) AS level (price, amount)
        WHERE level.price >= lowest AND level.price <= highest);
COMMENT ON FUNCTION ingest.depth(numeric[], numeric[], numeric, numeric) IS 'The amount of one side of a book between two prices, both included.';
