-- Positions closed by force.
SELECT pg_temp.uphold('liquidations', segment_by => 'instrument_id', order_by => 'time');
