-- Mark prices with their index.
SELECT pg_temp.uphold('mark_prices', segment_by => 'instrument_id', order_by => 'time');
