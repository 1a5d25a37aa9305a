-- What this transaction's registration of a venue's listing has changed: its times are the transaction's own.
WITH of_venue AS (
    SELECT i.* FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id) WHERE e.name = %(exchange)s
)
SELECT 'new' AS what, symbol, NULL::jsonb AS before, NULL::jsonb AS after FROM of_venue WHERE first_seen_at = now()
UNION ALL
SELECT CASE WHEN c.after ->> 'delisted_at' IS NULL THEN 'changed' ELSE 'delisted' END, i.symbol, c.before, c.after
FROM of_venue i JOIN ingest.instrument_changes c USING (instrument_id)
WHERE c.changed_at = now()
UNION ALL
SELECT 'missing', symbol, NULL, to_jsonb(missing_since) FROM of_venue
WHERE missing_since IS NOT NULL AND delisted_at IS NULL
ORDER BY what, symbol
