-- Migrations that programs without them cannot work with. A ledger without the column has none.
SELECT name FROM ingest.migrations m WHERE to_jsonb(m) ->> 'compatible' = 'false' ORDER BY name
