-- Make the venue and its instruments known; give back their ids.
WITH venue AS (
    INSERT INTO ingest.exchanges (name) VALUES (%(exchange)s)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING exchange_id
)
INSERT INTO ingest.instruments AS i (
    exchange_id, symbol, native_symbol, kind, base, quote, settle, price_step, amount_step,
    min_amount, max_amount, min_notional, contract_size, expiry, active, info)
SELECT venue.exchange_id, n.symbol, n.native_symbol, n.kind, n.base, n.quote, n.settle, n.price_step, n.amount_step,
       n.min_amount, n.max_amount, n.min_notional, n.contract_size, n.expiry, n.active, n.info
FROM venue, jsonb_to_recordset(%(instruments)s::jsonb) AS n (
    symbol text, native_symbol text, kind text, base text, quote text, settle text, price_step numeric,
    amount_step numeric, min_amount numeric, max_amount numeric, min_notional numeric, contract_size numeric,
    expiry timestamptz, active boolean, info jsonb)
ON CONFLICT (exchange_id, symbol) WHERE delisted_at IS NULL DO UPDATE
SET native_symbol = excluded.native_symbol, kind = excluded.kind, settle = excluded.settle,
    price_step = excluded.price_step, amount_step = excluded.amount_step, min_amount = excluded.min_amount,
    max_amount = excluded.max_amount, min_notional = excluded.min_notional, contract_size = excluded.contract_size,
    expiry = excluded.expiry, active = excluded.active, info = excluded.info, updated_at = now()
RETURNING symbol, instrument_id
