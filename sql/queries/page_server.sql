-- What the database is. It grows on disk with every row: the size is that of all of its files.
SELECT current_database(), current_setting('server_version'),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       CASE current_setting('timescaledb.license', true)
           WHEN 'timescale' THEN 'Community' WHEN 'apache' THEN 'Apache' ELSE 'unknown' END,
       pg_database_size(current_database()),
       (SELECT max(substring(name FROM '(\d{4})_')) FROM ingest.migrations)
