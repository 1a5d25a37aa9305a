-- Open interest. Maintenance drops its old chunks.
SELECT pg_temp.uphold('open_interest');
