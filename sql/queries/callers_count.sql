-- Daemons and backfills that call an exchange now, by the locks that their sessions hold in this database.
SELECT count(*) FILTER (WHERE classid = %(daemon)s::int::oid), count(*) FILTER (WHERE classid = %(backfill)s::int::oid)
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND mode = 'ShareLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND objid = hashtext(%(exchange)s)::oid
