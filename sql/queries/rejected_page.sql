-- The next rejects to try again, upwards by id: those of the ids, else those whose reason holds the text, else all.
-- What is rejected while they are tried has a higher id than `last`, and waits for another time.
SELECT r.rejected_id, ingest.epoch_ns(r.received_at), r.exchange, r.stream, r.reason, r.payload
FROM ingest.rejected r
WHERE r.rejected_id > %(after)s AND r.rejected_id <= %(last)s
  AND (%(ids)s::bigint[] IS NULL OR r.rejected_id = ANY (%(ids)s))
  AND (%(reason)s::text IS NULL
       OR strpos(r.reason, %(reason)s) > 0
       OR strpos(left(regexp_replace(split_part(r.reason, ':', 1), '[0-9][0-9.]*', '#', 'g'), 120), %(reason)s) > 0)
ORDER BY r.rejected_id
LIMIT %(limit)s
