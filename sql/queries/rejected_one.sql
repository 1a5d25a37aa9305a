-- One reject with the first bytes of its payload.
SELECT r.rejected_id, r.received_at, r.exchange, r.stream, r.reason, octet_length(r.payload), substr(r.payload, 1, %(bytes)s)
FROM ingest.rejected r
WHERE r.rejected_id = %(rejected_id)s
