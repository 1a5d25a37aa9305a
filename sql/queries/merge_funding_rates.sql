-- Staged funding rates into ingest.funding_rates: of what was said of one moment, the last that was received stands.
WITH stored AS (
    INSERT INTO ingest.funding_rates AS t (time, instrument_id, rate, funding_time, received_at)
    SELECT DISTINCT ON (instrument_id, time) time, instrument_id, rate, funding_time, received_at
    FROM stage_funding_rates
    ORDER BY instrument_id, time, received_at DESC, ordinal DESC
    ON CONFLICT (instrument_id, time) DO UPDATE
    SET rate = excluded.rate, funding_time = excluded.funding_time, received_at = excluded.received_at
    WHERE excluded.received_at > t.received_at
      AND (excluded.rate, excluded.funding_time) IS DISTINCT FROM (t.rate, t.funding_time)
    RETURNING t.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
