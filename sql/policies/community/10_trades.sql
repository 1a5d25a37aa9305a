-- Every trade.
SELECT pg_temp.uphold('trades', segment_by => 'instrument_id', order_by => 'time, trade_id');
