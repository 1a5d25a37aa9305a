-- The settings that matter to ingest, sizes in bytes and times in milliseconds where they have a unit.
SELECT name,
       CASE unit WHEN '8kB' THEN setting::numeric * 8192 WHEN 'kB' THEN setting::numeric * 1024
                 WHEN 'MB' THEN setting::numeric * 1048576 WHEN 'B' THEN setting::numeric
                 WHEN 's' THEN setting::numeric * 1000 WHEN 'min' THEN setting::numeric * 60000
                 WHEN 'ms' THEN setting::numeric END::bigint,
       setting, current_setting(name), coalesce(enumvals, '{}')
FROM pg_settings
WHERE name = ANY (%(names)s)
