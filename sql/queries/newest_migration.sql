-- How far the schema is. Names of policies and definitions hold a slash.
SELECT coalesce(max(name), '') FROM ingest.migrations WHERE name NOT LIKE '%/%'
