-- Instruments of a venue by unified or native symbol: living ones before those that were delisted.
SELECT i.instrument_id, e.name, i.symbol, i.native_symbol, i.kind, i.base, i.quote, i.settle
FROM ingest.instruments i
JOIN ingest.exchanges e USING (exchange_id)
WHERE e.name = %(exchange)s AND (i.symbol = %(symbol)s OR i.native_symbol = %(symbol)s)
  AND (%(kinds)s::text[] IS NULL OR i.kind = ANY (%(kinds)s))
ORDER BY i.delisted_at IS NOT NULL, i.delisted_at DESC, i.symbol
