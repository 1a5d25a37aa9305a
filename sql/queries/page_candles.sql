-- The last candles of one instrument up to its newest one, or those from `since` on; numbers as the digits that are stored.
-- Candles that are no whole number of minutes are made from trades, and so are as new as the last trade.
WITH newest AS MATERIALIZED (
    SELECT CASE WHEN %(seconds)s %% 60 = 0
                THEN greatest((SELECT max(c.time) FROM market.candles_1m c
                               WHERE c.instrument_id = market.instrument_id(%(exchange)s, %(symbol)s)),
                              (SELECT max(c.time) FROM market.candles_coarse c
                               WHERE c.instrument_id = market.instrument_id(%(exchange)s, %(symbol)s)))
                ELSE (SELECT t.time FROM market.last_trades(%(exchange)s, %(symbol)s, 1) t)
           END AS time
)
SELECT extract(epoch FROM o.time)::float8, o.open::text, o.high::text, o.low::text, o.close::text, o.volume::text, o.trades
FROM newest n
CROSS JOIN LATERAL market.ohlcv(
    %(exchange)s, %(symbol)s, make_interval(secs => %(seconds)s),
    greatest(to_timestamp(%(since)s), n.time - %(count)s * make_interval(secs => %(seconds)s)),
    n.time + INTERVAL '1 microsecond') o
WHERE n.time IS NOT NULL AND n.time >= to_timestamp(%(since)s)
ORDER BY o.time
