-- Staged candles into ingest.candles_1m: a row of a higher rank replaces the stored one, and one of the same rank
-- does where it says something else. A row that was received before its minute was over is not final, whatever its
-- rank: it gives way to any closed one of the exchange, and replaces none.
-- Inside one batch the highest rank wins, and of equals the last. What is past the table's retention is not written.
WITH stored AS (
    INSERT INTO ingest.candles_1m AS c (time, instrument_id, open, high, low, close, volume, quote_volume, trades,
                                        taker_buy_volume, taker_buy_quote_volume, source, received_at)
    SELECT DISTINCT ON (instrument_id, time)
           time, instrument_id, open, high, low, close, volume, quote_volume, trades,
           taker_buy_volume, taker_buy_quote_volume, source, received_at
    FROM stage_candles_1m
    WHERE time >= (SELECT ingest.kept_from('candles_1m'))
    ORDER BY instrument_id, time, source DESC, ordinal DESC
    ON CONFLICT (instrument_id, time) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, quote_volume = excluded.quote_volume, trades = excluded.trades,
        taker_buy_volume = excluded.taker_buy_volume, taker_buy_quote_volume = excluded.taker_buy_quote_volume,
        source = excluded.source, received_at = excluded.received_at
    WHERE (excluded.source > c.source
           AND NOT (excluded.received_at < c.time + INTERVAL '1 minute' AND c.received_at >= c.time + INTERVAL '1 minute'))
       OR (excluded.source > 10 AND c.received_at < c.time + INTERVAL '1 minute' AND excluded.received_at > c.received_at)
       OR (excluded.source = c.source
           AND (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.quote_volume,
                excluded.trades, excluded.taker_buy_volume, excluded.taker_buy_quote_volume)
               IS DISTINCT FROM
               (c.open, c.high, c.low, c.close, c.volume, c.quote_volume,
                c.trades, c.taker_buy_volume, c.taker_buy_quote_volume))
    RETURNING c.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
