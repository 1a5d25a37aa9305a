-- Stored books of one instrument that claim to be in sync, each with its sequence.
SELECT b.sequence, b.time, b.bid_prices::text[], b.bid_amounts::text[], b.ask_prices::text[], b.ask_amounts::text[]
FROM ingest.order_books b
WHERE b.instrument_id = %(instrument_id)s AND b.in_sync
ORDER BY b.time
