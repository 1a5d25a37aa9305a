-- Trades into candles of one minute. Rows compare as ingest.trade_place does, at two thirds of its cost; only where a
-- plan may be parallel (under Community) they cannot be used.
-- Buckets are made anew where the given intervals touch them, and written where they differ. lowest and highest, both
-- at a bucket's start, bound them all, so that the planner leaves out chunks; nothing before lowest is made.
WITH changed AS (
    SELECT g.instrument_id, lower(s.span) AS from_time, upper(s.span) AS to_time
    FROM (
        SELECT n.instrument_id,
               range_agg(tstzrange(time_bucket(%(bucket)s::interval, n.from_time),
                                   time_bucket(%(bucket)s::interval, n.to_time - INTERVAL '1 microsecond') + %(bucket)s::interval)) AS spans
        FROM unnest(%(instrument_ids)s::int[], %(from_times)s::timestamptz[], %(to_times)s::timestamptz[])
             AS n (instrument_id, from_time, to_time)
        GROUP BY n.instrument_id
    ) g, unnest(g.spans) AS s (span)
)
INSERT INTO {target} AS r (time, instrument_id, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume)
SELECT time_bucket(%(bucket)s::interval, c.time) AS bucket_time,
       c.instrument_id,
       first(c.price, (c.time, length(c.trade_id), c.trade_id COLLATE "C")),
       max(c.price),
       min(c.price),
       last(c.price, (c.time, length(c.trade_id), c.trade_id COLLATE "C")),
       sum(c.amount),
       sum(c.price * c.amount),
       count(*),
       CASE WHEN count(c.side) = count(*) THEN coalesce(sum(c.amount) FILTER (WHERE c.side = 'buy'), 0) END,
       CASE WHEN count(c.side) = count(*) THEN coalesce(sum(c.price * c.amount) FILTER (WHERE c.side = 'buy'), 0) END
FROM changed g
CROSS JOIN LATERAL (
    SELECT * FROM {source} s
    WHERE s.instrument_id = g.instrument_id AND s.time >= g.from_time AND s.time < g.to_time
      AND s.time >= %(lowest)s::timestamptz AND s.time < %(highest)s::timestamptz
    OFFSET 0
) c
GROUP BY bucket_time, c.instrument_id
ON CONFLICT (instrument_id, time) DO UPDATE
SET open = excluded.open,
    high = excluded.high,
    low = excluded.low,
    close = excluded.close,
    volume = excluded.volume,
    quote_volume = excluded.quote_volume,
    trades = excluded.trades,
    taker_buy_volume = excluded.taker_buy_volume,
    taker_buy_quote_volume = excluded.taker_buy_quote_volume
WHERE (r.open, r.high, r.low, r.close, r.volume, r.quote_volume, r.trades, r.taker_buy_volume, r.taker_buy_quote_volume)
      IS DISTINCT FROM
      (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.quote_volume, excluded.trades, excluded.taker_buy_volume, excluded.taker_buy_quote_volume)
