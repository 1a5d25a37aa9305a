-- Lines of the log, as arrays.
INSERT INTO ingest.logs (time, level, module, event, fields, process)
SELECT l.time, l.level, l.module, l.event, l.fields, %(process)s
FROM unnest(%(times)s::timestamptz[], %(levels)s::text[], %(modules)s::text[], %(events)s::text[], %(fields)s::jsonb[])
     AS l (time, level, module, event, fields)
