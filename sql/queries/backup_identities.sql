-- Columns that number themselves, with their sequences.
SELECT c.relname::text, a.attname::text, pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'ingest' AND c.relkind IN ('r', 'p') AND a.attidentity <> '' AND NOT a.attisdropped
ORDER BY 1, 2
