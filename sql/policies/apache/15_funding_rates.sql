-- Funding rates. Maintenance drops its old chunks.
SELECT pg_temp.uphold('funding_rates');
