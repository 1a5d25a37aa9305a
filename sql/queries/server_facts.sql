-- Versions, edition and size of the database at hand.
SELECT current_setting('server_version'),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       CASE current_setting('timescaledb.license', true)
           WHEN 'timescale' THEN 'Community' WHEN 'apache' THEN 'Apache' ELSE 'unknown' END,
       pg_size_pretty(pg_database_size(current_database()))
