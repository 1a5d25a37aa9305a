-- What rollups need at hand, and what their columns mean.

CREATE OR REPLACE FUNCTION ingest.kept_from(table_name text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((SELECT now() - p.retention FROM ingest.policies p WHERE p.table_name = $1), '-infinity')
$$;
COMMENT ON FUNCTION ingest.kept_from(text) IS 'Rows before this time are past the table''s retention: they are not written any more, and nothing is rolled up from them.';

-- Community keeps a log of what changed and reads it back to refresh_start; Apache keeps none.
-- In PL/pgSQL, which keeps its plan: each batch asks this, and SQL would be planned each time.
CREATE OR REPLACE FUNCTION ingest.told_before(channel text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce((SELECT CASE WHEN current_setting('timescaledb.license', true) = 'timescale' THEN now() - p.late_after
                                 ELSE 'infinity' END
                     FROM ingest.policies p
                     WHERE p.late_after IS NOT NULL
                       AND p.table_name = CASE channel WHEN 'candles' THEN 'candles_1m' WHEN 'trades' THEN 'trades'
                                                       WHEN 'book' THEN 'order_books' END),
                    '-infinity');
END
$$;
COMMENT ON FUNCTION ingest.told_before(text) IS 'Rows of a channel before this time must be told in ingest.rollup_changes, or no refresh notices them.';

DO $$
DECLARE
    rollup record;
    remark record;
BEGIN
    FOR rollup IN SELECT p.table_name AS name FROM ingest.policies p WHERE p.source IS NOT NULL LOOP
        FOR remark IN
            SELECT r.name, r.text FROM (VALUES
                ('%', 'time', 'Start of the bucket.'),
                ('%', 'instrument_id', 'See ingest.instruments.'),
                ('%candles%', 'open', 'First price.'),
                ('%candles%', 'high', 'Highest price.'),
                ('%candles%', 'low', 'Lowest price.'),
                ('%candles%', 'close', 'Last price.'),
                ('%candles%', 'volume', 'In base currency (contracts for derivatives).'),
                ('candles%', 'quote_volume', 'In quote currency.'),
                ('trade_candles%', 'quote_volume', 'Sum of price times amount.'),
                ('%candles%', 'trades', 'Number of trades.'),
                ('%candles%', 'taker_buy_volume', 'The part of volume in which the taker bought.'),
                ('%candles%', 'taker_buy_quote_volume', 'The part of quote_volume in which the taker bought.'),
                ('candles%', 'minutes', 'How many one-minute candles are in it.'),
                ('book%', 'snapshots', 'Number of snapshots.'),
                ('book%', 'used', 'Number of those that were in sync and had both sides: the other columns are about them, and NULL without one.'),
                ('book%', 'mid_open', 'First mean of best bid and best ask, in quote currency.'),
                ('book%', 'mid_high', 'Highest mid, in quote currency.'),
                ('book%', 'mid_low', 'Lowest mid, in quote currency.'),
                ('book%', 'mid_close', 'Last mid, in quote currency.'),
                ('book%', 'mid_avg', 'Mean of the mids, in quote currency.'),
                ('book%', 'spread_avg', 'Mean of best ask minus best bid, in quote currency.'),
                ('book%', 'spread_min', 'Least spread, in quote currency.'),
                ('book%', 'spread_max', 'Greatest spread, in quote currency.'),
                ('book%', 'spread_close', 'Last spread, in quote currency.'),
                ('book%', 'spread_bps_avg', 'Mean spread in hundredths of a percent of the mid.'),
                ('book%', 'imbalance_avg', 'Mean of (bid - ask) / (bid + ask) of the amounts at the best prices: from -1 (all ask) to 1 (all bid).'),
                ('book%', 'imbalance_close', 'Last imbalance.'),
                ('book%', 'bid_10bps_avg', 'Mean amount bid within 10 bps of the mid, in base currency; at most what is stored: see reach_bps_min.'),
                ('book%', 'ask_10bps_avg', 'Mean amount asked within 10 bps of the mid, in base currency.'),
                ('book%', 'bid_25bps_avg', 'Mean amount bid within 25 bps of the mid, in base currency.'),
                ('book%', 'ask_25bps_avg', 'Mean amount asked within 25 bps of the mid, in base currency.'),
                ('book%', 'bid_50bps_avg', 'Mean amount bid within 50 bps of the mid, in base currency.'),
                ('book%', 'ask_50bps_avg', 'Mean amount asked within 50 bps of the mid, in base currency.'),
                ('book%', 'reach_bps_min', 'How far from the mid the stored levels reached at least, in bps: a depth beyond it counts only what is stored.')
            ) AS r (applies, name, text)
            WHERE rollup.name LIKE r.applies
        LOOP
            EXECUTE format('COMMENT ON COLUMN ingest.%I.%I IS %L', rollup.name, remark.name, remark.text);
        END LOOP;
    END LOOP;
END
$$;
