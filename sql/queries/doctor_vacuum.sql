-- Tables of which autovacuum does not keep up: more than a fifth of the rows is dead, and that is many.
SELECT relname::text, n_live_tup, n_dead_tup, last_autovacuum
FROM pg_stat_user_tables
WHERE schemaname = 'ingest' AND n_dead_tup > 20000 AND n_dead_tup > 0.2 * (n_live_tup + n_dead_tup)
ORDER BY n_dead_tup DESC
