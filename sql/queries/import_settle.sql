-- Gaps that waited for a dump, and that lie in windows which were fetched whole, are repaired.
UPDATE ingest.gaps g
SET state = 'repaired', detail = %(detail)s, closed_at = now(), updated_at = now()
FROM market.gaps v
WHERE v.gap_id = g.gap_id AND g.state = 'awaiting_dump'
  AND g.instrument_id = %(instrument_id)s AND g.channel = %(channel)s
  AND v.span <@ (SELECT range_agg(f.span) FROM market.fetched f
                 WHERE f.instrument_id = %(instrument_id)s AND f.channel = %(channel)s)
