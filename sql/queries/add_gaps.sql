-- What was found missing, for the daemon's repair.
INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence)
SELECT * FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(from_times)s::timestamptz[],
                     %(to_times)s::timestamptz[], %(from_ids)s::bigint[], %(to_ids)s::bigint[], %(causes)s::text[],
                     %(evidences)s::text[])
