-- Staged trades into ingest.trades, the first one under an id wins. A source in milliseconds (an old dump)
-- and one in microseconds name the same trade, so rows are the same when id and millisecond agree.
-- from_time and to_time bound the staged times, so that only their chunks are looked at.
WITH stored AS (
    INSERT INTO ingest.trades (time, instrument_id, trade_id, side, price, amount, received_at)
    SELECT DISTINCT ON (s.instrument_id, s.trade_id, date_trunc('milliseconds', s.time))
           s.time, s.instrument_id, s.trade_id, s.side, s.price, s.amount, s.received_at
    FROM stage_trades s
    WHERE NOT EXISTS (
        SELECT FROM ingest.trades t
        WHERE t.time >= %(from_time)s AND t.time < %(to_time)s
          AND t.instrument_id = s.instrument_id AND t.trade_id = s.trade_id
          AND t.time >= date_trunc('milliseconds', s.time)
          AND t.time < date_trunc('milliseconds', s.time) + INTERVAL '1 millisecond')
    ORDER BY s.instrument_id, s.trade_id, date_trunc('milliseconds', s.time), s.ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
