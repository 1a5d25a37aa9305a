-- Volume-weighted average price by five seconds, with the taker's side of the volume.
SELECT time_bucket('5 seconds', time) AS bucket,
       round(sum(price * amount) / sum(amount), 8) AS vwap,
       sum(amount) AS volume,
       round(100 * sum(amount) FILTER (WHERE side = 'buy') / sum(amount), 1) AS buy_percent,
       count(*) AS trades
FROM market.trades
WHERE instrument_id = market.instrument_id(:'exchange', :'symbol') AND time > now() - INTERVAL '1 hour'
GROUP BY bucket
ORDER BY bucket DESC
LIMIT 5;
