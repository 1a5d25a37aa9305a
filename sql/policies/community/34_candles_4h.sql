-- Four-hourly candles from hourly ones.
CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.candles_4h
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = true) AS
SELECT time_bucket(INTERVAL '4 hours', time) AS time,
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
FROM ingest.candles_1h
GROUP BY time_bucket(INTERVAL '4 hours', time), instrument_id
WITH NO DATA;

COMMENT ON VIEW ingest.candles_4h IS 'Four-hourly candles, rolled up from hourly ones.';
SELECT pg_temp.uphold('candles_4h');
