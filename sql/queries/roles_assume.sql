-- Whether what is made from here on is to be made as ingest_owner: this login is its member and no superuser, and the owner
-- may make schemas, or owns them already.
SELECT NOT me.rolsuper AND me.rolname <> o.rolname AND pg_has_role(o.oid, 'MEMBER')
       AND CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('ingest', 'market'))
                THEN NOT EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('ingest', 'market') AND nspowner <> o.oid)
                ELSE has_database_privilege(o.oid, current_database(), 'CREATE') END
FROM pg_roles me, pg_roles o
WHERE me.rolname = current_user AND o.rolname = 'ingest_owner'
