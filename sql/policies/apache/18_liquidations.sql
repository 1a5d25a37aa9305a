-- Positions closed by force. Maintenance drops its old chunks.
SELECT pg_temp.uphold('liquidations');
