-- A part of maintenance has run.
INSERT INTO ingest.maintenance_runs AS m (policy, last_started_at, last_succeeded_at, last_error, total_failures)
VALUES (%(policy)s, %(started_at)s, CASE WHEN %(error)s::text IS NULL THEN clock_timestamp() END, %(error)s,
        (%(error)s::text IS NOT NULL)::int)
ON CONFLICT (policy) DO UPDATE
SET last_started_at = excluded.last_started_at, last_error = excluded.last_error,
    last_succeeded_at = coalesce(excluded.last_succeeded_at, m.last_succeeded_at),
    total_runs = m.total_runs + 1, total_failures = m.total_failures + excluded.total_failures
