-- Staged candles of an exchange's own longer timeframes into ingest.candles_coarse, by the rules of candles_1m: a row of a
-- higher rank replaces the stored one, and one of the same rank does where it says something else.
WITH stored AS (
    INSERT INTO ingest.candles_coarse AS c (time, instrument_id, timeframe, open, high, low, close, volume, quote_volume,
                                            trades, taker_buy_volume, taker_buy_quote_volume, source, received_at)
    SELECT DISTINCT ON (instrument_id, timeframe, time)
           time, instrument_id, timeframe, open, high, low, close, volume, quote_volume, trades,
           taker_buy_volume, taker_buy_quote_volume, source, received_at
    FROM stage_candles_coarse
    WHERE time >= (SELECT ingest.kept_from('candles_coarse'))
    ORDER BY instrument_id, timeframe, time, source DESC, ordinal DESC
    ON CONFLICT (instrument_id, timeframe, time) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, quote_volume = excluded.quote_volume, trades = excluded.trades,
        taker_buy_volume = excluded.taker_buy_volume, taker_buy_quote_volume = excluded.taker_buy_quote_volume,
        source = excluded.source, received_at = excluded.received_at
    WHERE excluded.source > c.source
       OR (excluded.source = c.source
           AND (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.quote_volume,
                excluded.trades, excluded.taker_buy_volume, excluded.taker_buy_quote_volume)
               IS DISTINCT FROM
               (c.open, c.high, c.low, c.close, c.volume, c.quote_volume,
                c.trades, c.taker_buy_volume, c.taker_buy_quote_volume))
    RETURNING c.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
