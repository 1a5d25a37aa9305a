-- Make the streams known; give back those that may run. A stream whose stored ids count something else is not
-- given back: two id spaces in one stream could not be told apart any more.
INSERT INTO ingest.streams AS s (instrument_id, channel, id_space)
SELECT * FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(id_spaces)s::text[])
ON CONFLICT (instrument_id, channel) DO UPDATE
SET state = 'starting', detail = NULL, state_since = now(),
    id_space = CASE WHEN s.last_time IS NULL THEN excluded.id_space ELSE s.id_space END
WHERE s.id_space = excluded.id_space OR s.last_time IS NULL
RETURNING instrument_id, channel
