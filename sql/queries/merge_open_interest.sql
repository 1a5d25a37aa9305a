-- Staged open interest into ingest.open_interest: of what was said of one moment, the last that was received stands.
WITH stored AS (
    INSERT INTO ingest.open_interest AS t (time, instrument_id, amount, value, received_at)
    SELECT DISTINCT ON (instrument_id, time) time, instrument_id, amount, value, received_at
    FROM stage_open_interest
    ORDER BY instrument_id, time, received_at DESC, ordinal DESC
    ON CONFLICT (instrument_id, time) DO UPDATE
    SET amount = excluded.amount, value = excluded.value, received_at = excluded.received_at
    WHERE excluded.received_at > t.received_at
      AND (excluded.amount, excluded.value) IS DISTINCT FROM (t.amount, t.value)
    RETURNING t.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
