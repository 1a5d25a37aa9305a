-- Weekly candles from daily ones. Weeks begin on Monday, 00:00 UTC.
CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.candles_1w
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = true) AS
SELECT time_bucket(INTERVAL '7 days', time) AS time,
       instrument_id,
       first(open, time) AS open,
       max(high) AS high,
       min(low) AS low,
       last(close, time) AS close,
       sum(volume) AS volume,
       sum(quote_volume) AS quote_volume,
       sum(trades)::bigint AS trades,
       sum(taker_buy_volume) AS taker_buy_volume,
       sum(taker_buy_quote_volume) AS taker_buy_quote_volume,
       sum(minutes)::bigint AS minutes
FROM ingest.candles_1d
GROUP BY time_bucket(INTERVAL '7 days', time), instrument_id
WITH NO DATA;

COMMENT ON VIEW ingest.candles_1w IS 'Weekly candles, rolled up from daily ones. Weeks begin on Monday, 00:00 UTC.';
SELECT pg_temp.uphold('candles_1w');
