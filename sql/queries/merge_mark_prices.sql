-- Staged mark prices into ingest.mark_prices: of what was said of one moment, the last that was received stands.
WITH stored AS (
    INSERT INTO ingest.mark_prices AS t (time, instrument_id, mark, index_price, received_at)
    SELECT DISTINCT ON (instrument_id, time) time, instrument_id, mark, index_price, received_at
    FROM stage_mark_prices
    ORDER BY instrument_id, time, received_at DESC, ordinal DESC
    ON CONFLICT (instrument_id, time) DO UPDATE
    SET mark = excluded.mark, index_price = excluded.index_price, received_at = excluded.received_at
    WHERE excluded.received_at > t.received_at
      AND (excluded.mark, excluded.index_price) IS DISTINCT FROM (t.mark, t.index_price)
    RETURNING t.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
