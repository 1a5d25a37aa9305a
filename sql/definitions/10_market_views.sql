-- The analysts' names. Every view exposes instrument_id, because latest-N queries go by it; names come by
-- scalar subquery, so that a filter on instrument_id and time reaches the hypertable's index untouched.

CREATE OR REPLACE VIEW market.instruments AS
SELECT i.instrument_id, e.name AS exchange, i.symbol, i.native_symbol, i.kind, i.base, i.quote, i.settle,
       i.price_step, i.amount_step, i.min_amount, i.max_amount, i.min_notional, i.contract_size, i.expiry,
       i.active, i.first_seen_at, i.delisted_at
FROM ingest.instruments i
JOIN ingest.exchanges e USING (exchange_id);
COMMENT ON VIEW market.instruments IS 'Every instrument the daemon knows.';

CREATE OR REPLACE FUNCTION market.instrument_id(exchange text, symbol text) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT m.instrument_id FROM market.instruments m
    WHERE m.exchange = $1 AND m.symbol = $2
    ORDER BY m.delisted_at DESC NULLS FIRST LIMIT 1
$$;
COMMENT ON FUNCTION market.instrument_id(text, text) IS 'The instrument listed now under this unified symbol (else the one delisted last), or NULL.';

CREATE OR REPLACE VIEW market.trades AS
SELECT t.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = t.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = t.instrument_id) AS symbol,
       t.instrument_id, t.trade_id, t.side, t.price, t.amount, t.received_at
FROM ingest.trades t;
COMMENT ON VIEW market.trades IS 'Every trade. For the latest ones filter by instrument_id = market.instrument_id(exchange, symbol).';

-- Of a bucket that is rolled up and that the exchange reports itself, the rollup stands where all of its minutes are
-- there, else the exchange's candle, if it was received after its end: a part must not hide the whole.
DO $$
DECLARE
    branch text := $branch$
        UNION ALL
        SELECT r.time, r.instrument_id, %1$L::text, r.open, r.high, r.low, r.close, r.volume, r.quote_volume, r.trades,
               r.taker_buy_volume, r.taker_buy_quote_volume, 'rollup'::text, NULL::timestamptz, r.minutes
        FROM ingest.candles_%1$s r
        WHERE r.minutes = %2$s OR NOT EXISTS (
            SELECT FROM ingest.candles_coarse e
            WHERE e.instrument_id = r.instrument_id AND e.timeframe = %1$L AND e.time = r.time
              AND e.received_at >= e.time + %3$L::interval)
        UNION ALL
        SELECT e.time, e.instrument_id, e.timeframe, e.open, e.high, e.low, e.close, e.volume, e.quote_volume, e.trades,
               e.taker_buy_volume, e.taker_buy_quote_volume, %4$s, e.received_at, NULL::bigint
        FROM ingest.candles_coarse e
        WHERE e.timeframe = %1$L AND NOT EXISTS (
            SELECT FROM ingest.candles_%1$s r
            WHERE r.instrument_id = e.instrument_id AND r.time = e.time
              AND (r.minutes = %2$s OR e.received_at < e.time + %3$L::interval))$branch$;
    rank text := $rank$CASE %1$s.source WHEN 0 THEN 'open' WHEN 10 THEN 'trades' WHEN 20 THEN 'stream' WHEN 30 THEN 'rest' WHEN 40 THEN 'dump' END$rank$;
    branches text;
BEGIN
    SELECT string_agg(format(branch, f.name, f.minutes, f.minutes || ' minutes', format(rank, 'e')), '' ORDER BY f.minutes)
    INTO branches
    FROM (VALUES ('5m', 5), ('15m', 15), ('30m', 30), ('1h', 60), ('4h', 240), ('1d', 1440), ('1w', 10080)) AS f (name, minutes);
    EXECUTE format($view$
        CREATE OR REPLACE VIEW market.candles AS
        SELECT c.time,
               (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
                WHERE i.instrument_id = c.instrument_id) AS exchange,
               (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = c.instrument_id) AS symbol,
               c.instrument_id, c.timeframe, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades,
               c.taker_buy_volume, c.taker_buy_quote_volume, c.source, c.received_at, c.minutes
        FROM (
            SELECT m.time, m.instrument_id, '1m'::text AS timeframe, m.open, m.high, m.low, m.close, m.volume, m.quote_volume,
                   m.trades, m.taker_buy_volume, m.taker_buy_quote_volume, %s AS source, m.received_at, 1::bigint AS minutes
            FROM ingest.candles_1m m
            %s
            UNION ALL
            SELECT e.time, e.instrument_id, e.timeframe, e.open, e.high, e.low, e.close, e.volume, e.quote_volume, e.trades,
                   e.taker_buy_volume, e.taker_buy_quote_volume, %s, e.received_at, NULL::bigint
            FROM ingest.candles_coarse e
            WHERE e.timeframe NOT IN ('5m', '15m', '30m', '1h', '4h', '1d', '1w')
        ) c$view$, format(rank, 'm'), branches, format(rank, 'e'));
END
$$;
COMMENT ON VIEW market.candles IS 'Candles of every timeframe; time is the open. Filter by timeframe: 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w, or another that an exchange reported itself.';
COMMENT ON COLUMN market.candles.source IS 'rollup: made from one-minute candles; else where the candle came from: open (it was still running), trades (made from the exchange''s trades, where it gives no candle any more), stream, rest or dump.';
COMMENT ON COLUMN market.candles.received_at IS 'When this machine received it; NULL of a rollup.';
COMMENT ON COLUMN market.candles.minutes IS 'How many one-minute candles are in it; NULL of an exchange''s own coarser candle.';

CREATE OR REPLACE VIEW market.order_books AS
SELECT b.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = b.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = b.instrument_id) AS symbol,
       b.instrument_id, b.sequence, b.event_time, b.bid_prices, b.bid_amounts, b.ask_prices, b.ask_amounts,
       b.bid_prices[1] AS best_bid, b.ask_prices[1] AS best_ask,
       b.ask_prices[1] - b.bid_prices[1] AS spread,
       (b.ask_prices[1] + b.bid_prices[1]) / 2 AS mid,
       b.in_sync, b.received_at, b.checksum_ok
FROM ingest.order_books b;
COMMENT ON VIEW market.order_books IS 'Order-book snapshots at a fixed cadence; arrays run from the best price outwards.';

CREATE OR REPLACE VIEW market.quotes AS
SELECT q.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = q.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = q.instrument_id) AS symbol,
       q.instrument_id, q.sequence, q.bid, q.bid_amount, q.ask, q.ask_amount,
       q.ask - q.bid AS spread, (q.ask + q.bid) / 2 AS mid, q.received_at
FROM ingest.quotes q;
COMMENT ON VIEW market.quotes IS 'Every change of the best bid and ask.';

CREATE OR REPLACE VIEW market.funding_rates AS
SELECT f.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = f.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = f.instrument_id) AS symbol,
       f.instrument_id, f.rate, f.funding_time, f.received_at
FROM ingest.funding_rates f;
COMMENT ON VIEW market.funding_rates IS 'Funding rates of derivatives, every change of them: the last one before funding_time is the one that is paid.';

CREATE OR REPLACE VIEW market.open_interest AS
SELECT o.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = o.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = o.instrument_id) AS symbol,
       o.instrument_id, o.amount, o.value, o.received_at
FROM ingest.open_interest o;
COMMENT ON VIEW market.open_interest IS 'How much is held in open positions of derivatives, one side counted.';

CREATE OR REPLACE VIEW market.mark_prices AS
SELECT m.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = m.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = m.instrument_id) AS symbol,
       m.instrument_id, m.mark, m.index_price, m.received_at
FROM ingest.mark_prices m;
COMMENT ON VIEW market.mark_prices IS 'The prices at which positions in derivatives are valued, and the index behind them.';

CREATE OR REPLACE VIEW market.liquidations AS
SELECT l.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = l.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = l.instrument_id) AS symbol,
       l.instrument_id, l.side, l.price, l.amount, l.received_at
FROM ingest.liquidations l;
COMMENT ON VIEW market.liquidations IS 'Positions that were closed by force, as far as the exchange tells of them.';

CREATE OR REPLACE VIEW market.tickers AS
SELECT e.name AS exchange, i.symbol, t.*
FROM ingest.tickers t
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id);
COMMENT ON VIEW market.tickers IS 'The latest ticker of every instrument.';

-- A trade may be missing in the very microsecond of the one before or after it, so both ends of a gap belong to its
-- span; a candle's gap goes from the open of its first minute to the end of its last one. Clocks step back, and a range
-- that ends before it starts is an error: the ends are put in order. An end that is not known is no bound.
CREATE OR REPLACE VIEW market.gaps AS
SELECT e.name AS exchange, i.symbol, g.channel, g.from_time, g.to_time, g.from_id, g.to_id, g.cause, g.state,
       g.evidence, g.opened_at, g.closed_at, g.instrument_id, g.gap_id,
       tstzrange(CASE WHEN n.starts IS NOT NULL THEN least(n.starts, n.ends) END,
                 CASE WHEN n.ends IS NOT NULL THEN greatest(n.starts, n.ends) + n.grain END) AS span,
       CASE WHEN n.starts IS NOT NULL
            THEN greatest(coalesce(n.ends, now()), n.starts) - least(n.starts, n.ends)
                 + CASE WHEN g.channel = 'candles' AND n.ends IS NOT NULL THEN n.grain ELSE INTERVAL '0' END
       END AS duration,
       CASE WHEN g.to_id - g.from_id >= 0 THEN g.to_id - g.from_id + 1 WHEN g.to_id IS NOT NULL THEN 0 END AS missing_ids,
       g.detail, g.attempts, g.updated_at
FROM ingest.gaps g
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id)
CROSS JOIN LATERAL (
    SELECT CASE WHEN g.channel = 'candles' THEN date_bin('1 minute', g.from_time, 'epoch') ELSE g.from_time END AS starts,
           CASE WHEN g.channel = 'candles' THEN date_bin('1 minute', g.to_time, 'epoch') ELSE g.to_time END AS ends,
           CASE WHEN g.channel = 'candles' THEN INTERVAL '1 minute' ELSE INTERVAL '1 microsecond' END AS grain
) n;
COMMENT ON VIEW market.gaps IS 'What may be missing, where, and why.';
COMMENT ON COLUMN market.gaps.span IS 'Outside of it nothing is missing; a bound that is not known is open.';
COMMENT ON COLUMN market.gaps.duration IS 'Up to now while it lasts.';
COMMENT ON COLUMN market.gaps.missing_ids IS 'How many ids were missing when it opened; NULL where ids do not tell.';

-- The strict watermarks stand in scalar subqueries, so that who does not ask for them does not pay.
CREATE OR REPLACE VIEW market.streams AS
SELECT e.name AS exchange, i.symbol, s.channel, s.state, s.detail, s.state_since, s.last_time, s.last_received_at,
       s.committed_at, s.rows_stored, s.rows_duplicate, s.instrument_id,
       s.promise, s.covered_from, s.watermark_id, s.proved_to, s.attested_to,
       CASE WHEN s.watermark_id IS NOT NULL THEN
           least(s.watermark_id,
                 (SELECT min(g.from_id) - 1 FROM ingest.gaps g
                  WHERE g.instrument_id = s.instrument_id AND g.channel = s.channel AND g.state <> 'repaired'))
       END AS strict_watermark_id,
       CASE WHEN w.reached IS NOT NULL THEN
           least(w.reached,
                 (SELECT min(coalesce(g.from_time, '-infinity')) FROM ingest.gaps g
                  WHERE g.instrument_id = s.instrument_id AND g.channel = s.channel AND g.state <> 'repaired'))
       END AS strict_watermark_time
FROM ingest.streams s
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id)
CROSS JOIN LATERAL (SELECT CASE s.promise WHEN 'none' THEN s.attested_to ELSE s.proved_to END AS reached) w;
COMMENT ON VIEW market.streams IS 'What is being collected, and how far it has come.';
COMMENT ON COLUMN market.streams.watermark_id IS 'Every id up to here is stored, or named in market.gaps.';
COMMENT ON COLUMN market.streams.strict_watermark_id IS 'Every id up to here, from the first one collected, is stored, or was and retention has removed it.';
COMMENT ON COLUMN market.streams.strict_watermark_time IS 'Every row before this time, from covered_from on, is stored, or was and retention has removed it.';
