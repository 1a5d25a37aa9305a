-- The stream that a file's rows belong to is made known; of one that is there, nothing is changed but the id space of
-- a trades stream that holds nothing yet and does not run. No row where its stored ids count something else.
INSERT INTO ingest.streams AS s (instrument_id, channel, id_space, state)
VALUES (%(instrument_id)s, %(channel)s, %(id_space)s, 'stopped')
ON CONFLICT (instrument_id, channel) DO UPDATE SET id_space = excluded.id_space
WHERE s.id_space = excluded.id_space OR s.last_time IS NULL AND s.state = 'stopped'
RETURNING id_space
