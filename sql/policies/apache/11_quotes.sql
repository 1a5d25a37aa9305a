-- Changes of the best bid and ask. Maintenance drops its old chunks.
SELECT pg_temp.uphold('quotes');
