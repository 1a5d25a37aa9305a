-- What the daemons said. Maintenance drops its old chunks.
SELECT pg_temp.uphold('logs');
