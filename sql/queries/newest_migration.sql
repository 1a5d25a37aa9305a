-- How far the schema is, and the latest migration that earlier programs cannot work with. Names of policies and
-- definitions hold a slash.
SELECT coalesce(max(name), ''), coalesce(max(name) FILTER (WHERE NOT compatible), '')
FROM ingest.migrations WHERE name NOT LIKE '%/%'
