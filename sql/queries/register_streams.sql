-- Make the streams known; give back those that may run, with how far each had come. A stream whose stored ids count
-- something else is not given back: two id spaces in one stream could not be told apart any more.
INSERT INTO ingest.streams AS s (instrument_id, channel, id_space, state)
SELECT n.*, CASE WHEN %(starting)s THEN 'starting' ELSE 'stopped' END
FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(id_spaces)s::text[]) AS n
ON CONFLICT (instrument_id, channel) DO UPDATE
SET state = CASE WHEN %(starting)s THEN 'starting' ELSE s.state END,
    detail = CASE WHEN %(starting)s THEN NULL ELSE s.detail END,
    state_since = CASE WHEN %(starting)s THEN now() ELSE s.state_since END,
    id_space = CASE WHEN s.last_time IS NULL THEN excluded.id_space ELSE s.id_space END
WHERE s.id_space = excluded.id_space OR s.last_time IS NULL
RETURNING instrument_id, channel, last_sequence, (extract(epoch FROM last_time) * 1000000)::bigint * 1000
