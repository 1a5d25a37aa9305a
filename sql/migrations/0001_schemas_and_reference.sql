-- Two schemas: `ingest` is what the daemon writes and needs, `market` is what analysts read.
-- Into public, whatever the role's search_path says: analysts call time_bucket without a schema.
CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public;
CREATE SCHEMA IF NOT EXISTS ingest;
CREATE SCHEMA IF NOT EXISTS market;

COMMENT ON SCHEMA ingest IS 'What the ingest daemon writes and needs. Analysts read schema market.';
COMMENT ON SCHEMA market IS 'What analysts read: views with exchange and symbol in words, and functions over them.';

CREATE TYPE ingest.side AS ENUM ('buy', 'sell');
COMMENT ON TYPE ingest.side IS 'The side of the taker, who crossed the spread.';

CREATE TABLE ingest.exchanges (
    exchange_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE
);
COMMENT ON TABLE ingest.exchanges IS 'One row a venue.';
COMMENT ON COLUMN ingest.exchanges.name IS 'The name that ccxt gives the venue.';

CREATE TABLE ingest.instruments (
    instrument_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange_id   smallint NOT NULL REFERENCES ingest.exchanges,
    symbol        text NOT NULL,
    native_symbol text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('spot', 'swap', 'future', 'option', 'index')),
    base          text NOT NULL,
    quote         text NOT NULL,
    settle        text,
    price_step    numeric,
    amount_step   numeric,
    min_amount    numeric,
    max_amount    numeric,
    min_notional  numeric,
    contract_size numeric,
    expiry        timestamptz,
    active        boolean NOT NULL DEFAULT true,
    info          jsonb NOT NULL DEFAULT '{}',
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    delisted_at   timestamptz
);
-- A symbol that is listed again after a delisting is another instrument, so only living rows are unique.
CREATE UNIQUE INDEX instruments_symbol_key ON ingest.instruments (exchange_id, symbol) WHERE delisted_at IS NULL;

COMMENT ON TABLE ingest.instruments IS 'One tradable thing at one exchange, for one period of listing.';
COMMENT ON COLUMN ingest.instruments.symbol IS 'ccxt''s unified symbol: BTC/USDT, BTC/USDT:USDT.';
COMMENT ON COLUMN ingest.instruments.native_symbol IS 'The exchange''s own name: BTCUSDT.';
COMMENT ON COLUMN ingest.instruments.price_step IS 'Smallest change of the price, in quote currency.';
COMMENT ON COLUMN ingest.instruments.amount_step IS 'Smallest change of the amount, in base currency (contracts for derivatives).';
COMMENT ON COLUMN ingest.instruments.info IS 'The exchange''s own description of the instrument.';
