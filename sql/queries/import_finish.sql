-- A file is whole: its time counts as fetched, and gaps that waited for it, and that finished windows now cover, are
-- repaired. Both times are inclusive.
WITH finished AS (
    UPDATE ingest.imports SET state = 'finished', finished_at = now(), lines = %(lines)s, last_place = %(last_place)s
    WHERE import_id = %(import_id)s AND state = 'started'
    RETURNING instrument_id, channel, rows_stored, rows_known, started_at
)
INSERT INTO ingest.backfill_jobs (purpose, instrument_id, channel, from_time, to_time, state, attempts, rows_stored,
                                  rows_known, created_at, finished_at)
SELECT 'backfill', instrument_id, channel, %(from_time)s::timestamptz, %(to_time)s::timestamptz, 'done', 1, rows_stored,
       rows_known, started_at, now()
FROM finished
WHERE %(from_time)s::timestamptz IS NOT NULL
