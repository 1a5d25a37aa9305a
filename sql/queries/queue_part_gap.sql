-- A part of a gap (or, of a backfill, a part that it could not have) becomes a gap of its own.
INSERT INTO ingest.gaps AS g (instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence, opened_at,
                              attempts, state, detail, closed_at)
SELECT %(instrument_id)s, %(channel)s, %(from_time)s::timestamptz, %(to_time)s::timestamptz, %(from_id)s::bigint,
       %(to_id)s::bigint,
       coalesce(o.cause, 'backfill'), coalesce(o.evidence, ''), coalesce(o.opened_at, now()), coalesce(o.attempts, 1),
       %(state)s, %(detail)s, CASE WHEN %(state)s = 'unrecoverable' THEN now() END
FROM (SELECT) one LEFT JOIN ingest.gaps o ON o.gap_id = %(gap_id)s
ON CONFLICT (instrument_id, channel, opened_at, from_time, from_id, cause) DO UPDATE
SET to_time = greatest(g.to_time, excluded.to_time), to_id = greatest(g.to_id, excluded.to_id),
    state = excluded.state, detail = excluded.detail, closed_at = excluded.closed_at, updated_at = now()
RETURNING gap_id
