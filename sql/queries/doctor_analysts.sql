-- Settings that logins of analysts lack: what is set for market_analyst does not reach its members.
SELECT format('ALTER ROLE %I SET %s = %s', l.rolname, d.setting, d.value)
FROM pg_roles l
JOIN pg_roles a ON a.rolname = 'market_analyst'
CROSS JOIN (VALUES ('search_path', 'market, public'), ('statement_timeout', $$'60s'$$)) AS d (setting, value)
WHERE l.rolcanlogin AND NOT l.rolsuper AND pg_has_role(l.oid, a.oid, 'MEMBER')
  AND NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname IN ('ingest_owner', 'ingest_writer', 'ingest_maintainer')
                  AND pg_has_role(l.oid, o.oid, 'MEMBER'))
  AND NOT EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) AS c
                  WHERE s.setrole = l.oid AND starts_with(c, d.setting || '=')
                    AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())))
ORDER BY l.rolname, d.setting
