-- Staged gaps into ingest.gaps, each once.
WITH stored AS (
    INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence)
    SELECT instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence
    FROM stage_gaps
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
