-- Gaps as they open and end, in the transaction of the rows around them. The key names a gap; what is told of it again
-- completes it, and what repair has found since is not undone.
INSERT INTO ingest.gaps AS g (instrument_id, channel, cause, from_time, to_time, from_id, to_id, evidence, state, opened_at,
                              closed_at)
SELECT DISTINCT ON (instrument_id, channel, opened_at, from_time, from_id, cause)
       instrument_id, channel, cause, from_time, to_time, from_id, to_id, evidence, state, opened_at,
       CASE WHEN state <> 'open' THEN now() END
FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(causes)s::text[], %(from_times)s::timestamptz[],
            %(to_times)s::timestamptz[], %(from_ids)s::bigint[], %(to_ids)s::bigint[], %(evidences)s::text[],
            %(states)s::text[], %(opened_ats)s::timestamptz[])
     WITH ORDINALITY AS n (instrument_id, channel, cause, from_time, to_time, from_id, to_id, evidence, state, opened_at,
                           ordinal)
ORDER BY instrument_id, channel, opened_at, from_time, from_id, cause, ordinal DESC
ON CONFLICT (instrument_id, channel, opened_at, from_time, from_id, cause) DO UPDATE
SET to_time = excluded.to_time, to_id = excluded.to_id, evidence = excluded.evidence, state = excluded.state,
    closed_at = excluded.closed_at, updated_at = now()
WHERE g.state = 'open' AND g.to_time IS NULL AND excluded.to_time IS NOT NULL
