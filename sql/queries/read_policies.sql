-- The figures in force, finest rollups first.
SELECT table_name, source, bucket, chunk_interval, compress_after, retention, late_after, refresh_start, refresh_every
FROM ingest.policies
ORDER BY bucket NULLS FIRST, table_name
