-- One reject, unless it is there.
INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload)
VALUES (%(received_at)s, %(exchange)s, %(stream)s, %(reason)s, %(payload)s)
ON CONFLICT DO NOTHING
