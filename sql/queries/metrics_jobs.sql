-- Policies and parts of maintenance whose latest run failed.
SELECT table_name, count(*) FILTER (WHERE last_status = 'failed') FROM ingest.policy_jobs GROUP BY table_name
