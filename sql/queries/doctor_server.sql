-- What the server is. `newest` is the version of TimescaleDB that its files would install.
SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),
       CASE current_setting('timescaledb.license', true)
           WHEN 'timescale' THEN 'Community' WHEN 'apache' THEN 'Apache' ELSE 'unknown' END,
       current_database(), pg_database_size(current_database()), pg_is_in_recovery(),
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       coalesce(inet_server_addr() IS NULL OR inet_server_addr() <<= inet '127.0.0.0/8' OR inet_server_addr() = inet '::1', true),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'ingest' AND c.relname = 'migrations')
