-- Rejects by what was wrong with them: the reason's constant part, up to its colon, with its numbers left out.
SELECT r.exchange, left(regexp_replace(split_part(r.reason, ':', 1), '[0-9][0-9.]*', '#', 'g'), 120) AS reason, count(*),
       min(r.received_at), max(r.received_at)
FROM ingest.rejected r
WHERE (%(since)s::timestamptz IS NULL OR r.received_at >= %(since)s)
  AND (%(stream)s::text IS NULL OR strpos(lower(r.exchange || ' ' || r.stream), lower(%(stream)s)) > 0)
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
