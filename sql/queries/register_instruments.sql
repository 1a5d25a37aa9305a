-- Make the venue and its instruments known; give back their ids. With `complete` the list is all that the venue has:
-- what it lacks is marked, and an hour later delisted. A list of less than half of what is known is no whole one.
WITH venue AS (
    INSERT INTO ingest.exchanges (name) VALUES (%(exchange)s)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING exchange_id
),
listed AS (
    SELECT n.*
    FROM jsonb_to_recordset(%(instruments)s::jsonb) AS n (
        symbol text, native_symbol text, kind text, base text, quote text, settle text, price_step numeric,
        amount_step numeric, min_amount numeric, max_amount numeric, min_notional numeric, contract_size numeric,
        expiry timestamptz, active boolean, info jsonb)
),
known AS (
    SELECT i.instrument_id, i.symbol, i.missing_since
    FROM ingest.instruments i
    JOIN ingest.exchanges e USING (exchange_id)
    WHERE e.name = %(exchange)s AND i.delisted_at IS NULL
),
missing AS (
    UPDATE ingest.instruments i
    SET missing_since = coalesce(i.missing_since, now()),
        delisted_at = CASE WHEN k.missing_since < now() - INTERVAL '1 hour' THEN k.missing_since END,
        active = i.active AND (k.missing_since < now() - INTERVAL '1 hour') IS NOT TRUE
    FROM known k
    WHERE %(complete)s AND i.instrument_id = k.instrument_id
      AND NOT EXISTS (SELECT FROM listed l WHERE l.symbol = k.symbol)
      AND (SELECT count(*) FROM listed) * 2 > (SELECT count(*) FROM known)
),
written AS (
    INSERT INTO ingest.instruments AS i (
        exchange_id, symbol, native_symbol, kind, base, quote, settle, price_step, amount_step,
        min_amount, max_amount, min_notional, contract_size, expiry, active, info)
    SELECT venue.exchange_id, n.symbol, n.native_symbol, n.kind, n.base, n.quote, n.settle, n.price_step, n.amount_step,
           n.min_amount, n.max_amount, n.min_notional, n.contract_size, n.expiry, n.active, n.info
    FROM venue, listed n
    ON CONFLICT (exchange_id, symbol) WHERE delisted_at IS NULL DO UPDATE
    SET native_symbol = excluded.native_symbol, kind = excluded.kind, settle = excluded.settle,
        price_step = excluded.price_step, amount_step = excluded.amount_step, min_amount = excluded.min_amount,
        max_amount = excluded.max_amount, min_notional = excluded.min_notional, contract_size = excluded.contract_size,
        expiry = excluded.expiry, active = excluded.active, info = excluded.info, updated_at = now(), missing_since = NULL
    WHERE (i.native_symbol, i.kind, i.settle, i.price_step, i.amount_step, i.min_amount, i.max_amount, i.min_notional,
           i.contract_size, i.expiry, i.active, i.info, i.missing_since)
        IS DISTINCT FROM
          (excluded.native_symbol, excluded.kind, excluded.settle, excluded.price_step, excluded.amount_step,
           excluded.min_amount, excluded.max_amount, excluded.min_notional, excluded.contract_size, excluded.expiry,
           excluded.active, excluded.info, NULL::timestamptz)
        OR i.symbol NOT IN (SELECT k.symbol FROM known k) -- another program has just added it
    RETURNING symbol, instrument_id
)
-- What is as it was is not written: a venue lists thousands.
SELECT symbol, instrument_id FROM written
UNION
SELECT k.symbol, k.instrument_id FROM known k JOIN listed USING (symbol)
