-- The statements that give the roles what they need in schemas ingest and market, in order: ownership, then privileges. None when
-- all is there; nothing of a role that does not exist. `ingest migrate` runs these; `ingest doctor` prints them.
WITH roles AS (
    SELECT oid, rolname::text AS name FROM pg_roles
    WHERE rolname IN ('ingest_owner', 'ingest_writer', 'ingest_maintainer', 'market_analyst')
),
-- What the daemon changes. A table that is not named here is read by it, and changed by the owner alone: policies, the
-- ledger of migrations, rollups. DELETE is for rejects that were stored when they were tried again.
written (name, privileges) AS (
    VALUES ('exchanges', 'INSERT, UPDATE'), ('instruments', 'INSERT, UPDATE'), ('instrument_changes', 'INSERT'),
           ('streams', 'INSERT, UPDATE'),
           ('trades', 'INSERT'), ('quotes', 'INSERT'), ('order_books', 'INSERT'), ('tickers', 'INSERT, UPDATE'),
           ('candles_1m', 'INSERT, UPDATE'), ('candles_coarse', 'INSERT, UPDATE'),
           ('funding_rates', 'INSERT, UPDATE'), ('open_interest', 'INSERT, UPDATE'), ('mark_prices', 'INSERT, UPDATE'),
           ('liquidations', 'INSERT'),
           ('gaps', 'INSERT, UPDATE'), ('backfill_jobs', 'INSERT, UPDATE'), ('exchange_status', 'INSERT, UPDATE'),
           ('rollup_changes', 'INSERT'), ('refresh_requests', 'INSERT'), ('rejected', 'INSERT, DELETE'),
           ('imports', 'INSERT, UPDATE'), ('logs', 'INSERT')
),
relations AS (
    SELECT c.oid, c.relnamespace::regnamespace::text AS schema, c.relname::text AS name, c.relkind, c.relowner,
           EXISTS (SELECT FROM timescaledb_information.continuous_aggregates a
                   WHERE a.view_schema = c.relnamespace::regnamespace::text AND a.view_name = c.relname) AS is_aggregate
    FROM pg_class c
    WHERE c.relnamespace IN (to_regnamespace('ingest'), to_regnamespace('market')) AND c.relkind IN ('r', 'p', 'v', 'm')
),
routines AS (
    SELECT p.oid, p.oid::regprocedure::text AS signature, p.pronamespace::regnamespace::text AS schema, p.proowner,
           p.prosecdef
    FROM pg_proc p
    WHERE p.pronamespace IN (to_regnamespace('ingest'), to_regnamespace('market'))
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
),
ownership (place, kind, object, owner) AS (
    SELECT 1, 'SCHEMA', quote_ident(n.nspname), n.nspowner FROM pg_namespace n WHERE n.nspname IN ('ingest', 'market')
    UNION ALL
    SELECT 2, 'TYPE', t.oid::regtype::text, t.typowner FROM pg_type t
    WHERE t.typnamespace IN (to_regnamespace('ingest'), to_regnamespace('market')) AND t.typtype IN ('e', 'd')
    UNION ALL
    SELECT CASE WHEN r.relkind IN ('r', 'p') THEN 3 ELSE 4 END,
           CASE WHEN r.relkind = 'm' OR r.is_aggregate THEN 'MATERIALIZED VIEW' WHEN r.relkind = 'v' THEN 'VIEW'
                ELSE 'TABLE' END,
           format('%I.%I', r.schema, r.name), r.relowner
    FROM relations r
    UNION ALL
    SELECT 5, 'ROUTINE', p.signature, p.proowner FROM routines p
),
relation_grants (role, privilege, oid, object) AS (
    SELECT o.name, 'SELECT', r.oid, format('%I.%I', r.schema, r.name)
    FROM relations r
    JOIN roles o ON o.name IN ('ingest_writer', 'ingest_maintainer') OR o.name = 'market_analyst' AND r.schema = 'market'
    UNION ALL
    SELECT o.name, privilege, r.oid, format('%I.%I', r.schema, r.name)
    FROM written w
    CROSS JOIN LATERAL string_to_table(w.privileges, ', ') AS privilege
    JOIN relations r ON r.schema = 'ingest' AND r.name = w.name AND r.relkind IN ('r', 'p')
    JOIN roles o ON o.name = 'ingest_writer'
),
statements (place, statement) AS (
    SELECT place, format('ALTER %s %s OWNER TO ingest_owner', w.kind, w.object)
    FROM ownership w JOIN roles o ON o.name = 'ingest_owner' AND o.oid <> w.owner
    UNION ALL
    SELECT 6, format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, o.name)
    FROM pg_namespace n
    JOIN roles o ON o.name IN ('ingest_writer', 'ingest_maintainer') OR o.name = 'market_analyst' AND n.nspname = 'market'
    WHERE n.nspname IN ('ingest', 'market') AND NOT has_schema_privilege(o.oid, n.oid, 'USAGE')
    UNION ALL
    SELECT 7, format('GRANT %s ON %s TO %I', string_agg(g.privilege, ', ' ORDER BY g.privilege), g.object, g.role)
    FROM relation_grants g JOIN roles o ON o.name = g.role
    WHERE NOT has_table_privilege(o.oid, g.oid, g.privilege)
    GROUP BY g.role, g.object
    UNION ALL
    -- What runs with the owner's rights is the owner's alone to call.
    SELECT 8, format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', p.signature)
    FROM routines p, aclexplode(coalesce((SELECT proacl FROM pg_proc WHERE oid = p.oid), acldefault('f', p.proowner))) a
    WHERE p.prosecdef AND p.schema = 'ingest' AND a.grantee = 0
    UNION ALL
    SELECT 9, format('GRANT EXECUTE ON ROUTINE %s TO %I', p.signature, o.name)
    FROM routines p
    JOIN roles o ON o.name IN ('ingest_writer', 'ingest_maintainer') OR o.name = 'market_analyst' AND p.schema = 'market'
    WHERE NOT (p.prosecdef AND p.schema = 'ingest') AND NOT has_function_privilege(o.oid, p.oid, 'EXECUTE')
)
SELECT statement FROM statements ORDER BY place, statement
