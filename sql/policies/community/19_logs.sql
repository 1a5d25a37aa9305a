-- What the daemons said.
SELECT pg_temp.uphold('logs', segment_by => 'level', order_by => 'time');
