-- What a minute's order-book snapshots say. Only those that are in sync and have both sides are used.
CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.book_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = true) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time,
       instrument_id,
       count(*) AS snapshots,
       count(*)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS used,
       first((bid_prices[1] + ask_prices[1]) * 0.5, time)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS mid_open,
       max((bid_prices[1] + ask_prices[1]) * 0.5)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS mid_high,
       min((bid_prices[1] + ask_prices[1]) * 0.5)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS mid_low,
       last((bid_prices[1] + ask_prices[1]) * 0.5, time)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS mid_close,
       avg((bid_prices[1] + ask_prices[1]) * 0.5)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS mid_avg,
       avg(ask_prices[1] - bid_prices[1])
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS spread_avg,
       min(ask_prices[1] - bid_prices[1])
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS spread_min,
       max(ask_prices[1] - bid_prices[1])
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS spread_max,
       last(ask_prices[1] - bid_prices[1], time)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS spread_close,
       avg((ask_prices[1] - bid_prices[1]) / ((bid_prices[1] + ask_prices[1]) * 0.5) * 10000)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS spread_bps_avg,
       avg((bid_amounts[1] - ask_amounts[1]) / (bid_amounts[1] + ask_amounts[1]))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS imbalance_avg,
       last((bid_amounts[1] - ask_amounts[1]) / (bid_amounts[1] + ask_amounts[1]), time)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS imbalance_close,
       avg(ingest.depth(bid_prices, bid_amounts, (bid_prices[1] + ask_prices[1]) * 0.5 * 0.999, 'Infinity'))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS bid_10bps_avg,
       avg(ingest.depth(ask_prices, ask_amounts, 0, (bid_prices[1] + ask_prices[1]) * 0.5 * 1.001))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS ask_10bps_avg,
       avg(ingest.depth(bid_prices, bid_amounts, (bid_prices[1] + ask_prices[1]) * 0.5 * 0.9975, 'Infinity'))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS bid_25bps_avg,
       avg(ingest.depth(ask_prices, ask_amounts, 0, (bid_prices[1] + ask_prices[1]) * 0.5 * 1.0025))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS ask_25bps_avg,
       avg(ingest.depth(bid_prices, bid_amounts, (bid_prices[1] + ask_prices[1]) * 0.5 * 0.995, 'Infinity'))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS bid_50bps_avg,
       avg(ingest.depth(ask_prices, ask_amounts, 0, (bid_prices[1] + ask_prices[1]) * 0.5 * 1.005))
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS ask_50bps_avg,
       min(least((bid_prices[1] + ask_prices[1]) * 0.5 - bid_prices[cardinality(bid_prices)], ask_prices[cardinality(ask_prices)] - (bid_prices[1] + ask_prices[1]) * 0.5) / ((bid_prices[1] + ask_prices[1]) * 0.5) * 10000)
           FILTER (WHERE in_sync AND cardinality(bid_prices) > 0 AND cardinality(ask_prices) > 0) AS reach_bps_min
FROM ingest.order_books
GROUP BY time_bucket(INTERVAL '1 minute', time), instrument_id
WITH NO DATA;

COMMENT ON VIEW ingest.book_1m IS 'Mid, spread, imbalance and depth of each minute, from the order-book snapshots.';
SELECT pg_temp.uphold('book_1m');
