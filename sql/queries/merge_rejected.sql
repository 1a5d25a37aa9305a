-- Staged rejects into ingest.rejected, each once.
WITH stored AS (
    INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload)
    SELECT received_at, exchange, stream, reason, payload
    FROM stage_rejected
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING 0 AS none
)
SELECT none, count(*) FROM stored GROUP BY none
