-- A file of which rows were too old is read anew where the retention reaches further back than it did then. Its rows are
-- those of another import then: they are looked for, and stay one row.
UPDATE ingest.imports
SET state = 'started', lines = 0, last_place = NULL, first_time = NULL, last_time = NULL, started_at = now(),
    finished_at = NULL, rows_stored = 0, rows_known = 0, rows_rejected = 0, rows_old = 0
WHERE sha256 = %(sha256)s AND instrument_id = %(instrument_id)s AND channel = %(channel)s AND layout = %(layout)s
  AND rows_old > 0 AND coalesce(%(kept_from)s::timestamptz, '-infinity') < kept_from
