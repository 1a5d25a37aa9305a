-- Every table that holds something, the largest first.
SELECT table_name, kind, chunks, compressed_chunks, rows_estimate, total_bytes, compression_ratio::float8, oldest, newest
FROM ingest.table_sizes
WHERE chunks > 0 OR rows_estimate > 0
ORDER BY total_bytes DESC, table_name
