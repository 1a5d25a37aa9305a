-- Of the files that touch one day of one instrument one is written at a time: they may hold the same rows.
SELECT count(pg_advisory_lock(1765240, hashint8(%(instrument_id)s::bigint * 100000 + day)))
FROM unnest(%(days)s::bigint[]) AS day
