-- The latest rejects; of the payload only its size.
SELECT r.rejected_id, r.received_at, r.exchange, r.stream, r.reason, octet_length(r.payload)
FROM ingest.rejected r
WHERE (%(since)s::timestamptz IS NULL OR r.received_at >= %(since)s)
  AND (%(stream)s::text IS NULL OR strpos(lower(r.exchange || ' ' || r.stream), lower(%(stream)s)) > 0)
ORDER BY r.received_at DESC, r.rejected_id DESC
LIMIT %(limit)s
