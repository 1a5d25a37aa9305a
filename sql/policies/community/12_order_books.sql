-- Order-book snapshots.
SELECT pg_temp.uphold('order_books', segment_by => 'instrument_id', order_by => 'time');
