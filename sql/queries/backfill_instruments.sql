-- What is listed now at an exchange, as far as the database knows.
SELECT i.symbol, i.instrument_id
FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
WHERE e.name = %(exchange)s AND i.delisted_at IS NULL
