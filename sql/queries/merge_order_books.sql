-- Staged snapshots into ingest.order_books: one row a tick, the first wins.
WITH stored AS (
    INSERT INTO ingest.order_books (time, instrument_id, event_time, sequence, bid_prices, bid_amounts,
                                    ask_prices, ask_amounts, in_sync, received_at, checksum_ok)
    SELECT time, instrument_id, event_time, sequence, bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync, received_at,
           checksum_ok
    FROM stage_order_books
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
