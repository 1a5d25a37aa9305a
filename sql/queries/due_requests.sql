-- Refreshes to be made, finest first.
SELECT r.request_id, r.table_name
FROM ingest.refresh_requests r
JOIN ingest.policies p USING (table_name)
WHERE r.not_before <= now()
ORDER BY p.bucket, r.request_id
