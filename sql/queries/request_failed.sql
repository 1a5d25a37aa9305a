-- A refresh that failed is tried again, each time later, at most an hour.
UPDATE ingest.refresh_requests
SET attempts = attempts + 1, error = %(error)s,
    not_before = now() + least(INTERVAL '1 hour', INTERVAL '10 seconds' * 2 ^ least(attempts, 10))
WHERE request_id = %(request_id)s
