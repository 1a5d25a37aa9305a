-- Order-book snapshots into minutes.
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
INSERT INTO {target} AS r (time, instrument_id, snapshots, used, mid_open, mid_high, mid_low, mid_close, mid_avg, spread_avg, spread_min, spread_max, spread_close, spread_bps_avg, imbalance_avg, imbalance_close, bid_10bps_avg, ask_10bps_avg, bid_25bps_avg, ask_25bps_avg, bid_50bps_avg, ask_50bps_avg, reach_bps_min)
SELECT time_bucket(%(bucket)s::interval, c.time) AS bucket_time,
       c.instrument_id,
       count(*),
       count(*)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       first((c.bid_prices[1] + c.ask_prices[1]) * 0.5, c.time)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       max((c.bid_prices[1] + c.ask_prices[1]) * 0.5)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       min((c.bid_prices[1] + c.ask_prices[1]) * 0.5)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       last((c.bid_prices[1] + c.ask_prices[1]) * 0.5, c.time)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg((c.bid_prices[1] + c.ask_prices[1]) * 0.5)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(c.ask_prices[1] - c.bid_prices[1])
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       min(c.ask_prices[1] - c.bid_prices[1])
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       max(c.ask_prices[1] - c.bid_prices[1])
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       last(c.ask_prices[1] - c.bid_prices[1], c.time)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg((c.ask_prices[1] - c.bid_prices[1]) / ((c.bid_prices[1] + c.ask_prices[1]) * 0.5) * 10000)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg((c.bid_amounts[1] - c.ask_amounts[1]) / (c.bid_amounts[1] + c.ask_amounts[1]))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       last((c.bid_amounts[1] - c.ask_amounts[1]) / (c.bid_amounts[1] + c.ask_amounts[1]), c.time)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.bid_prices, c.bid_amounts, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 0.999, 'Infinity'))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.ask_prices, c.ask_amounts, 0, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 1.001))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.bid_prices, c.bid_amounts, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 0.9975, 'Infinity'))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.ask_prices, c.ask_amounts, 0, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 1.0025))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.bid_prices, c.bid_amounts, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 0.995, 'Infinity'))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       avg(ingest.depth(c.ask_prices, c.ask_amounts, 0, (c.bid_prices[1] + c.ask_prices[1]) * 0.5 * 1.005))
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0),
       min(least((c.bid_prices[1] + c.ask_prices[1]) * 0.5 - c.bid_prices[cardinality(c.bid_prices)], c.ask_prices[cardinality(c.ask_prices)] - (c.bid_prices[1] + c.ask_prices[1]) * 0.5) / ((c.bid_prices[1] + c.ask_prices[1]) * 0.5) * 10000)
           FILTER (WHERE c.in_sync AND cardinality(c.bid_prices) > 0 AND cardinality(c.ask_prices) > 0)
FROM changed g
CROSS JOIN LATERAL (
    SELECT * FROM {source} s
    WHERE s.instrument_id = g.instrument_id AND s.time >= g.from_time AND s.time < g.to_time
      AND s.time >= %(lowest)s::timestamptz AND s.time < %(highest)s::timestamptz
    OFFSET 0
) c
GROUP BY bucket_time, c.instrument_id
ON CONFLICT (instrument_id, time) DO UPDATE
SET snapshots = excluded.snapshots,
    used = excluded.used,
    mid_open = excluded.mid_open,
    mid_high = excluded.mid_high,
    mid_low = excluded.mid_low,
    mid_close = excluded.mid_close,
    mid_avg = excluded.mid_avg,
    spread_avg = excluded.spread_avg,
    spread_min = excluded.spread_min,
    spread_max = excluded.spread_max,
    spread_close = excluded.spread_close,
    spread_bps_avg = excluded.spread_bps_avg,
    imbalance_avg = excluded.imbalance_avg,
    imbalance_close = excluded.imbalance_close,
    bid_10bps_avg = excluded.bid_10bps_avg,
    ask_10bps_avg = excluded.ask_10bps_avg,
    bid_25bps_avg = excluded.bid_25bps_avg,
    ask_25bps_avg = excluded.ask_25bps_avg,
    bid_50bps_avg = excluded.bid_50bps_avg,
    ask_50bps_avg = excluded.ask_50bps_avg,
    reach_bps_min = excluded.reach_bps_min
WHERE (r.snapshots, r.used, r.mid_open, r.mid_high, r.mid_low, r.mid_close, r.mid_avg, r.spread_avg, r.spread_min, r.spread_max, r.spread_close, r.spread_bps_avg, r.imbalance_avg, r.imbalance_close, r.bid_10bps_avg, r.ask_10bps_avg, r.bid_25bps_avg, r.ask_25bps_avg, r.bid_50bps_avg, r.ask_50bps_avg, r.reach_bps_min)
      IS DISTINCT FROM
      (excluded.snapshots, excluded.used, excluded.mid_open, excluded.mid_high, excluded.mid_low, excluded.mid_close, excluded.mid_avg, excluded.spread_avg, excluded.spread_min, excluded.spread_max, excluded.spread_close, excluded.spread_bps_avg, excluded.imbalance_avg, excluded.imbalance_close, excluded.bid_10bps_avg, excluded.ask_10bps_avg, excluded.bid_25bps_avg, excluded.ask_25bps_avg, excluded.bid_50bps_avg, excluded.ask_50bps_avg, excluded.reach_bps_min)
