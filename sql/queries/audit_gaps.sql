-- Gaps of one instrument that are not repaired, in the venue's terms.
SELECT g.channel, g.state, g.from_id, g.to_id, (extract(epoch FROM g.from_time) * 1000000)::bigint AS from_us,
       (extract(epoch FROM g.to_time) * 1000000)::bigint AS to_us
FROM ingest.gaps g
WHERE g.instrument_id = %(instrument_id)s AND g.state <> 'repaired'
ORDER BY g.gap_id
