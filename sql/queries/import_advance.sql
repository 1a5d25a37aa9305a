-- How far a file is committed; runs in the transaction of its rows.
UPDATE ingest.imports
SET lines = greatest(lines, %(lines)s),
    last_place = greatest(last_place, %(last_place)s),
    first_time = least(first_time, %(first_time)s),
    last_time = greatest(last_time, %(last_time)s),
    rows_stored = rows_stored + %(rows_stored)s,
    rows_known = rows_known + %(rows_known)s,
    rows_rejected = rows_rejected + %(rows_rejected)s,
    rows_old = rows_old + %(rows_old)s
WHERE import_id = %(import_id)s
