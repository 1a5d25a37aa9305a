-- Open interest.
SELECT pg_temp.uphold('open_interest', segment_by => 'instrument_id', order_by => 'time');
