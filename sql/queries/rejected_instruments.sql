-- The instruments of a venue, by which a rejected payload is read again; the listed one last, so that it wins its name.
SELECT i.instrument_id, i.exchange, i.symbol, i.native_symbol, i.kind, i.base, i.quote
FROM market.instruments i
WHERE i.exchange = %(exchange)s
ORDER BY i.delisted_at NULLS LAST
