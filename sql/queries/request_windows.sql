-- The parts of a requested interval where the source of a rollup has rows: one a chunk, so that none is too much at once.
SELECT greatest(c.range_start, r.from_time), least(c.range_end, r.to_time)
FROM ingest.refresh_requests r
CROSS JOIN show_chunks(%(source)s::text::regclass) AS s (chunk)
JOIN timescaledb_information.chunks c ON format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass = s.chunk
WHERE r.request_id = %(request_id)s AND c.range_start < r.to_time AND c.range_end > r.from_time
ORDER BY 1
