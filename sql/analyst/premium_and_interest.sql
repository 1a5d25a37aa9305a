-- Is the contract dear, and is money coming in? By interval the last mark and index price, the mean premium in hundredths of a percent, and open interest with its change.
-- :exchange = binance
-- :symbol = BTC/USDT:USDT
-- :interval = 1 hour
-- :from = yesterday
-- :to = tomorrow
WITH marks AS (
    SELECT time_bucket(:'interval'::interval, m.time) AS time, last(m.mark, m.time) AS mark,
           last(m.index_price, m.time) AS index_price, avg(10000 * (m.mark - m.index_price) / m.index_price) AS premium_bps
    FROM market.mark_prices m
    WHERE m.instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
      AND m.time >= :'from'::timestamptz AND m.time < :'to'::timestamptz
    GROUP BY 1
),
interest AS (
    SELECT time_bucket(:'interval'::interval, o.time) AS time, last(o.amount, o.time) AS open_interest
    FROM market.open_interest o
    WHERE o.instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
      AND o.time >= :'from'::timestamptz AND o.time < :'to'::timestamptz
    GROUP BY 1
)
SELECT time, mark, index_price, round(premium_bps, 4) AS premium_bps, open_interest,
       open_interest - lag(open_interest) OVER (ORDER BY time) AS change
FROM marks
FULL JOIN interest USING (time)
ORDER BY time;
