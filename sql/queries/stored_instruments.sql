-- What the database knows of a venue's instruments, as `ingest symbols` shows it: the period of listing that is, or
-- was the last. Numbers as text: no digit is lost.
SELECT DISTINCT ON (symbol) symbol, native_symbol, kind, base, quote, settle, price_step::text, amount_step::text,
       min_amount::text, max_amount::text, min_notional::text, contract_size::text, expiry, active, delisted_at
FROM market.instruments
WHERE exchange = %(exchange)s
ORDER BY symbol, delisted_at DESC NULLS FIRST
