-- What a backup must know of its server: versions, edition, whether this role is superuser, whether the schema is there,
-- and whether it holds anything.
SELECT current_setting('server_version_num')::int / 10000,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       CASE current_setting('timescaledb.license', true)
           WHEN 'timescale' THEN 'Community' WHEN 'apache' THEN 'Apache' ELSE 'unknown' END,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'ingest' AND c.relname = 'migrations'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb')
