-- What each table takes, and the whole database.
SELECT table_name, total_bytes, CASE WHEN kind <> 'table' THEN chunks END, pg_database_size(current_database())
FROM ingest.table_sizes
