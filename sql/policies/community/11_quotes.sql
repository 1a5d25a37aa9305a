-- Changes of the best bid and ask.
SELECT pg_temp.uphold('quotes', segment_by => 'instrument_id', order_by => 'time, sequence');
