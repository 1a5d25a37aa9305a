-- What keeps the tables, what failed first.
SELECT policy, table_name, run_by, extract(epoch FROM every)::float8, scheduled, last_status, last_error, last_succeeded_at,
       next_start_at, total_failures
FROM ingest.policy_jobs
ORDER BY last_status = 'failed' DESC NULLS LAST, table_name, policy
