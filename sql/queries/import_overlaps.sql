-- Another file of the same instrument with rows of these times: where ids number the rows of a file, the same trade has
-- another id in each.
SELECT file_name
FROM ingest.imports
WHERE instrument_id = %(instrument_id)s AND channel = %(channel)s AND import_id <> %(import_id)s
  AND first_time < %(to_time)s AND last_time >= %(from_time)s
ORDER BY import_id LIMIT 1
