-- Five-minute candles from one-minute candles.
CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.candles_5m
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = true) AS
SELECT time_bucket(INTERVAL '5 minutes', time) AS time,
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
       count(*) AS minutes
FROM ingest.candles_1m
GROUP BY time_bucket(INTERVAL '5 minutes', time), instrument_id
WITH NO DATA;

COMMENT ON VIEW ingest.candles_5m IS 'Five-minute candles, rolled up from one-minute candles.';
SELECT pg_temp.uphold('candles_5m');
