-- Mark prices with their index. Maintenance drops its old chunks.
SELECT pg_temp.uphold('mark_prices');
