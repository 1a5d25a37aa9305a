-- Refreshes that were asked for and fail.
SELECT table_name, attempts, error, requested_at
FROM ingest.refresh_requests
WHERE attempts > 0
ORDER BY requested_at
LIMIT 3
