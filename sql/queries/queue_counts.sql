-- How many windows are in which state, by purpose, and how long the oldest unfinished one has waited.
SELECT purpose, state, count(*),
       extract(epoch FROM now() - min(created_at) FILTER (WHERE state IN ('waiting', 'claimed')))::float8
FROM ingest.backfill_jobs
GROUP BY purpose, state
ORDER BY purpose DESC, state
