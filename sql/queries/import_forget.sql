-- A file of which rows were too old, or are removed since, is read anew where the retention reaches further back than it
-- did then. Its rows are those of another import then: they are looked for, and stay one row.
UPDATE ingest.imports i
SET state = 'started', lines = 0, last_place = NULL, first_time = NULL, last_time = NULL, started_at = now(),
    finished_at = NULL, rows_stored = 0, rows_known = 0, rows_rejected = 0, rows_old = 0
FROM (SELECT coalesce(%(kept_from)s::timestamptz, '-infinity') AS kept_from) now
WHERE i.sha256 = %(sha256)s AND i.instrument_id = %(instrument_id)s AND i.channel = %(channel)s AND i.layout = %(layout)s
  AND (i.rows_old > 0 AND now.kept_from < i.kept_from
       OR EXISTS (SELECT FROM market.removals r
                  WHERE r.channel = i.channel AND r.removed_at >= i.started_at AND i.last_time >= now.kept_from
                    AND r.before > greatest(i.first_time, now.kept_from)))
