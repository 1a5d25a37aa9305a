-- Every trade. Maintenance drops its old chunks.
SELECT pg_temp.uphold('trades');
