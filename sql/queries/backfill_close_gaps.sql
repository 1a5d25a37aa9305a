-- Gaps that a backfill has closed: what it has fetched since they were last looked at holds the whole of them. What it found
-- not to be had is named by a gap of its own, and stays.
UPDATE ingest.gaps g
SET state = 'repaired', detail = 'closed by a backfill', closed_at = now(), updated_at = now()
FROM market.gaps v,
     unnest(%(range_ids)s::int[], %(range_channels)s::text[], %(range_timeframes)s::text[], %(range_froms)s::timestamptz[],
            %(range_tos)s::timestamptz[]) AS r (instrument_id, channel, timeframe, from_time, to_time)
WHERE v.gap_id = g.gap_id AND g.instrument_id = r.instrument_id AND g.channel = r.channel AND r.timeframe IS NULL
  AND g.state IN ('open', 'awaiting_dump', 'unrecoverable') AND (g.cause <> 'backfill' OR g.state = 'open')
  AND g.from_time IS NOT NULL AND g.to_time IS NOT NULL AND v.span && tstzrange(r.from_time, r.to_time)
  AND v.span <@ (SELECT range_agg(f.span) FROM market.fetched f
                 WHERE f.instrument_id = g.instrument_id AND f.channel = g.channel AND f.finished_at > g.updated_at
                   AND f.span && v.span)
  AND NOT EXISTS (SELECT FROM market.gaps o
                  WHERE o.instrument_id = g.instrument_id AND o.channel = g.channel AND o.gap_id <> g.gap_id
                    AND o.cause = 'backfill' AND o.state <> 'repaired' AND o.span && v.span)
