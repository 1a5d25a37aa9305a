-- Staged quotes into ingest.quotes; the first under a key wins.
WITH stored AS (
    INSERT INTO ingest.quotes (time, instrument_id, sequence, bid, bid_amount, ask, ask_amount, received_at)
    SELECT time, instrument_id, sequence, bid, bid_amount, ask, ask_amount, received_at
    FROM stage_quotes
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
