-- Funding rates.
SELECT pg_temp.uphold('funding_rates', segment_by => 'instrument_id', order_by => 'time');
