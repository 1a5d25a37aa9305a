-- Staged liquidations into ingest.liquidations, each once.
WITH stored AS (
    INSERT INTO ingest.liquidations (time, instrument_id, side, price, amount, received_at)
    SELECT time, instrument_id, side, price, amount, received_at
    FROM stage_liquidations
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
