-- Who asks, and as what: superuser, owner of the tables, writer, able to become the owner.
SELECT current_user::text, r.rolsuper,
       coalesce((SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace n WHERE n.nspname = 'ingest'), false),
       coalesce((SELECT pg_has_role(w.oid, 'USAGE') FROM pg_roles w WHERE w.rolname = 'ingest_writer'), false),
       coalesce((SELECT pg_has_role(o.oid, 'MEMBER') FROM pg_roles o WHERE o.rolname = 'ingest_owner'), false),
       has_database_privilege(current_database(), 'TEMPORARY'),
       EXISTS (SELECT FROM pg_roles w WHERE w.rolname = 'ingest_writer'),
       coalesce((SELECT has_schema_privilege(a.oid, 'public', 'CREATE') FROM pg_roles a
                 WHERE a.rolname = 'market_analyst' AND to_regnamespace('public') IS NOT NULL), false)
FROM pg_roles r
WHERE r.rolname = current_user
