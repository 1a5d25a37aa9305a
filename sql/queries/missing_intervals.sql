-- What a stream is known to lack inside a range: its gaps that are not repaired, and where nothing was collected.
SELECT g.gap_id, lower(g.span * r.span) AS from_time, upper(g.span * r.span) AS to_time, g.from_id, g.to_id, g.missing_ids,
       g.cause, g.state
FROM (SELECT tstzrange(%(from_time)s, %(to_time)s) AS span) r
JOIN market.gaps g ON g.span && r.span
WHERE g.instrument_id = %(instrument_id)s AND g.channel = %(channel)s AND g.state <> 'repaired'
UNION ALL
SELECT NULL, c.from_time, c.to_time, NULL, NULL, NULL, c.cause, NULL
FROM market.coverage_of(%(instrument_id)s, %(channel)s, %(from_time)s, %(to_time)s) c
WHERE c.grade = 'gap' AND c.state IS NULL
ORDER BY from_time, gap_id
