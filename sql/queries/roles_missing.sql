-- The statements that bring the server's roles to what `ingest` needs, with their rights on this database, in order; none
-- when all is there. Roles belong to the whole server: several databases share them. `ingest migrate` runs these where it may; `ingest doctor` prints them.
--
-- ingest_owner may log in, but has no password: TimescaleDB runs a policy as the owner of its table, and refuses an
-- owner without LOGIN.
WITH wanted (place, name, options) AS (
    VALUES (1, 'ingest_owner', 'LOGIN'), (2, 'ingest_writer', 'NOLOGIN'), (3, 'ingest_maintainer', 'NOLOGIN NOINHERIT'),
           (4, 'market_analyst', 'NOLOGIN')
),
me AS (
    SELECT rolsuper AS is_super FROM pg_roles WHERE rolname = current_user
),
existing AS (
    SELECT r.oid, r.rolname::text AS name FROM pg_roles r JOIN wanted w ON w.name = r.rolname
),
defaults (place, name, setting, value) AS (
    VALUES (1, 'market_analyst', 'search_path', 'market, public'), (2, 'market_analyst', 'statement_timeout', $$'60s'$$)
),
statements (place, statement) AS (
    SELECT w.place, format('CREATE ROLE %I %s', w.name, w.options)
    FROM wanted w WHERE NOT EXISTS (SELECT FROM existing e WHERE e.name = w.name)
    UNION ALL
    SELECT 5, 'ALTER ROLE ingest_owner LOGIN'
    WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'ingest_owner' AND NOT rolcanlogin)
    UNION ALL
    SELECT 10, 'GRANT ingest_owner TO ingest_maintainer'
    WHERE NOT EXISTS (SELECT FROM pg_auth_members m JOIN existing o ON o.oid = m.roleid JOIN existing i ON i.oid = m.member
                      WHERE o.name = 'ingest_owner' AND i.name = 'ingest_maintainer')
    UNION ALL
    -- Who migrates hands over what it makes, and changes it the next time.
    SELECT 11, format('GRANT ingest_owner TO %I', current_user)
    FROM me
    WHERE NOT is_super AND current_user <> 'ingest_owner'
      AND coalesce((SELECT pg_get_userbyid(n.nspowner) = current_user FROM pg_namespace n WHERE n.nspname = 'ingest'), true)
      AND NOT EXISTS (SELECT FROM existing e WHERE e.name = 'ingest_owner' AND pg_has_role(e.oid, 'USAGE'))
    UNION ALL
    -- A setting of a group does not reach its members: these are for a market_analyst that is given LOGIN itself.
    SELECT 20 + d.place, format('ALTER ROLE %I SET %s = %s', d.name, d.setting, d.value)
    FROM defaults d
    WHERE NOT EXISTS (SELECT FROM pg_db_role_setting s JOIN existing e ON e.oid = s.setrole
                      WHERE e.name = d.name AND s.setdatabase = 0
                        AND EXISTS (SELECT FROM unnest(s.setconfig) AS c WHERE starts_with(c, d.setting || '=')))
    UNION ALL
    SELECT 30, format('GRANT %s ON DATABASE %I TO %I', g.privilege, current_database(), g.role)
    FROM (VALUES ('ingest_owner', 'CONNECT'), ('ingest_owner', 'CREATE'), ('ingest_owner', 'TEMPORARY'),
                 ('ingest_writer', 'CONNECT'), ('ingest_writer', 'TEMPORARY'), ('ingest_maintainer', 'CONNECT'),
                 ('market_analyst', 'CONNECT')) AS g (role, privilege)
    WHERE NOT EXISTS (SELECT FROM existing e
                      WHERE e.name = g.role AND has_database_privilege(e.oid, current_database(), g.privilege))
)
SELECT statement FROM statements ORDER BY place, statement
