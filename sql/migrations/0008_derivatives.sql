-- What derivatives have beside trades and books. A CHECK with a bound above refuses NaN, too, which PostgreSQL sorts above
-- Infinity; one that must also refuse -Infinity needs a bound below.
CREATE TABLE ingest.funding_rates (
    time          timestamptz NOT NULL CHECK (isfinite(time)),
    instrument_id int NOT NULL,
    rate          numeric NOT NULL CHECK (rate > '-Infinity' AND rate < 'Infinity'),
    funding_time  timestamptz CHECK (isfinite(funding_time)),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.funding_rates', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
CREATE UNIQUE INDEX funding_rates_key ON ingest.funding_rates (instrument_id, time);

COMMENT ON TABLE ingest.funding_rates IS 'Funding rates, every change of them: the last one before funding_time is the one that is paid.';
COMMENT ON COLUMN ingest.funding_rates.time IS 'The exchange''s time of the rate; the time of receipt where the exchange gives none.';
COMMENT ON COLUMN ingest.funding_rates.rate IS 'A fraction of the position''s value (0.0001 is 0.01 %), for the whole time up to funding_time: above zero long positions pay short ones.';
COMMENT ON COLUMN ingest.funding_rates.funding_time IS 'When it will be paid; NULL where the exchange does not say.';

CREATE TABLE ingest.open_interest (
    time          timestamptz NOT NULL CHECK (isfinite(time)),
    instrument_id int NOT NULL,
    amount        numeric NOT NULL CHECK (amount >= 0 AND amount < 'Infinity'),
    value         numeric CHECK (value >= 0 AND value < 'Infinity'),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.open_interest', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX open_interest_key ON ingest.open_interest (instrument_id, time);

COMMENT ON TABLE ingest.open_interest IS 'How much is held in open positions, one side counted.';
COMMENT ON COLUMN ingest.open_interest.time IS 'The exchange''s time of the figure; the time of receipt where the exchange gives none.';
COMMENT ON COLUMN ingest.open_interest.amount IS 'As the exchange counts it: in base currency, or in contracts.';
COMMENT ON COLUMN ingest.open_interest.value IS 'The same in quote currency; NULL where the exchange does not say.';

CREATE TABLE ingest.mark_prices (
    time          timestamptz NOT NULL CHECK (isfinite(time)),
    instrument_id int NOT NULL,
    mark          numeric NOT NULL CHECK (mark > 0 AND mark < 'Infinity'),
    index_price   numeric CHECK (index_price > 0 AND index_price < 'Infinity'),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.mark_prices', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX mark_prices_key ON ingest.mark_prices (instrument_id, time);

COMMENT ON TABLE ingest.mark_prices IS 'The prices at which positions are valued, and the index behind them.';
COMMENT ON COLUMN ingest.mark_prices.time IS 'The exchange''s time of the price; the time of receipt where the exchange gives none.';
COMMENT ON COLUMN ingest.mark_prices.mark IS 'The price by which positions are valued and liquidated, in quote currency.';
COMMENT ON COLUMN ingest.mark_prices.index_price IS 'The price of the underlying on spot exchanges, in quote currency; NULL where it does not come with the mark.';

CREATE TABLE ingest.liquidations (
    time          timestamptz NOT NULL CHECK (isfinite(time)),
    instrument_id int NOT NULL,
    side          ingest.side NOT NULL,
    price         numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    amount        numeric NOT NULL CHECK (amount > 0 AND amount < 'Infinity'),
    received_at   timestamptz NOT NULL
);
SELECT create_hypertable('ingest.liquidations', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
-- No venue gives them an id: all that is said of one tells it from the next.
CREATE UNIQUE INDEX liquidations_key ON ingest.liquidations (instrument_id, time, side, price, amount);

COMMENT ON TABLE ingest.liquidations IS 'Positions that were closed by force, as far as the exchange tells of them. Two that agree in all columns are one.';
COMMENT ON COLUMN ingest.liquidations.time IS 'When the exchange executed it.';
COMMENT ON COLUMN ingest.liquidations.side IS 'Of the order that closes the position: a long one is closed by sell.';
COMMENT ON COLUMN ingest.liquidations.price IS 'In quote currency, as the exchange gives it: of the bankruptcy, the order or the trade.';
COMMENT ON COLUMN ingest.liquidations.amount IS 'In base currency, or in contracts.';

-- Marks come by the second. Funding rates and liquidations are few, and no venue's history reaches far: they stay.
INSERT INTO ingest.policies (table_name, chunk_interval, compress_after, retention) VALUES
    ('funding_rates', '30 days', '7 days', NULL),
    ('open_interest', '7 days',  '7 days', '730 days'),
    ('mark_prices',   '1 day',   '7 days', '365 days'),
    ('liquidations',  '30 days', '7 days', NULL);
