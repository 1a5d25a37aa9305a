-- One-minute candles from the stored trades.
CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.trade_candles_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = true) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time,
       instrument_id,
       first(price, ingest.trade_place(time, trade_id)) AS open,
       max(price) AS high,
       min(price) AS low,
       last(price, ingest.trade_place(time, trade_id)) AS close,
       sum(amount) AS volume,
       sum(price * amount) AS quote_volume,
       count(*) AS trades,
       CASE WHEN count(side) = count(*) THEN coalesce(sum(amount) FILTER (WHERE side = 'buy'), 0) END AS taker_buy_volume,
       CASE WHEN count(side) = count(*) THEN coalesce(sum(price * amount) FILTER (WHERE side = 'buy'), 0) END AS taker_buy_quote_volume
FROM ingest.trades
GROUP BY time_bucket(INTERVAL '1 minute', time), instrument_id
WITH NO DATA;

COMMENT ON VIEW ingest.trade_candles_1m IS 'One-minute candles made from the stored trades, to check the exchange''s own against.';
SELECT pg_temp.uphold('trade_candles_1m');
