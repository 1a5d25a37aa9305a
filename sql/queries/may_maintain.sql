-- Whether this login acts as the owner of the tables, who alone may refresh and drop.
SELECT pg_has_role(current_user, c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = to_regclass('ingest.policies')
