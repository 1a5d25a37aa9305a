-- What did a long position pay? The rate of each funding, with the sum so far, in percent; below zero it was paid by the short ones.
-- :exchange = binance
-- :symbol = BTC/USDT:USDT
-- :from = yesterday
-- :to = tomorrow
WITH paid AS (
    SELECT DISTINCT ON (f.funding_time) f.funding_time, f.rate
    FROM market.funding_rates f
    WHERE f.instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
      AND f.time >= :'from'::timestamptz - INTERVAL '1 day' AND f.time < :'to'::timestamptz
      AND f.funding_time >= :'from'::timestamptz AND f.funding_time < least(:'to'::timestamptz, now())
      AND f.time <= f.funding_time
    ORDER BY f.funding_time, f.time DESC
)
SELECT funding_time, 100 * rate AS percent, 100 * sum(rate) OVER (ORDER BY funding_time) AS percent_so_far,
       round(100 * rate * 365 * 86400 / extract(epoch FROM funding_time - lag(funding_time) OVER (ORDER BY funding_time)), 4)
           AS percent_a_year
FROM paid
ORDER BY funding_time;
