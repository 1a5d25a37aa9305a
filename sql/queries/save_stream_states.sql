-- The state of each stream, where it changed.
UPDATE ingest.streams s
SET state = n.state, detail = n.detail, state_since = now()
FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(states)s::text[], %(details)s::text[])
     AS n (instrument_id, channel, state, detail)
WHERE s.instrument_id = n.instrument_id AND s.channel = n.channel
  AND (s.state, s.detail) IS DISTINCT FROM (n.state, n.detail)
