-- The latest staged ticker of each instrument into ingest.tickers; an older one never replaces a newer. A venue says 0
-- where there is no price.
WITH stored AS (
    INSERT INTO ingest.tickers AS t (instrument_id, time, last, bid, bid_amount, ask, ask_amount, open_24h, high_24h,
                                     low_24h, volume_24h, quote_volume_24h, received_at)
    SELECT DISTINCT ON (instrument_id)
           instrument_id, time, nullif(last, 0), nullif(bid, 0), bid_amount, nullif(ask, 0), ask_amount,
           nullif(open_24h, 0), nullif(high_24h, 0), nullif(low_24h, 0), volume_24h, quote_volume_24h, received_at
    FROM stage_tickers
    ORDER BY instrument_id, time DESC, ordinal DESC
    ON CONFLICT (instrument_id) DO UPDATE
    SET time = excluded.time, last = excluded.last, bid = excluded.bid, bid_amount = excluded.bid_amount,
        ask = excluded.ask, ask_amount = excluded.ask_amount, open_24h = excluded.open_24h,
        high_24h = excluded.high_24h, low_24h = excluded.low_24h, volume_24h = excluded.volume_24h,
        quote_volume_24h = excluded.quote_volume_24h, received_at = excluded.received_at
    WHERE excluded.time >= t.time
    RETURNING t.instrument_id
)
SELECT instrument_id, count(*) FROM stored GROUP BY instrument_id
