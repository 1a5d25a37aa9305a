-- Chunks of a table that hold rows of a range, are old enough to be compressed, and are not, or not wholly: rows were
-- written into them since (bits 2 and 8 of the status).
SELECT format('%%I.%%I', c.chunk_schema, c.chunk_name)
FROM timescaledb_information.chunks c
JOIN ingest.policies p ON p.table_name = c.hypertable_name
CROSS JOIN LATERAL _timescaledb_functions.chunk_status(format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass) AS s (status)
WHERE c.hypertable_schema = 'ingest' AND c.hypertable_name = %(table_name)s
  AND c.range_start < %(to_time)s AND c.range_end > %(from_time)s AND c.range_end < now() - p.compress_after
  AND (s.status & 1 = 0 OR s.status & 10 <> 0)
ORDER BY c.range_start
