-- Order-book snapshots. Maintenance drops its old chunks.
SELECT pg_temp.uphold('order_books');
