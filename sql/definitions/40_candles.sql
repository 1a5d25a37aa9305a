-- Candles of any interval. One statement reads one table: the view over all of them takes longer to plan than to run.

CREATE OR REPLACE VIEW market.candles_1m AS
SELECT c.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = c.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = c.instrument_id) AS symbol,
       c.instrument_id, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades, c.taker_buy_volume,
       c.taker_buy_quote_volume, 1::bigint AS minutes, c.received_at
FROM ingest.candles_1m c;
COMMENT ON VIEW market.candles_1m IS 'One-minute candles as the exchange reports them.';

-- The same columns of every rollup.
DO $$
DECLARE
    rollup record;
BEGIN
    FOR rollup IN
        SELECT * FROM (VALUES ('candles_5m', 'Five-minute candles'), ('candles_15m', 'Candles of 15 minutes'),
                              ('candles_30m', 'Candles of 30 minutes'), ('candles_1h', 'Hourly candles'),
                              ('candles_4h', 'Candles of four hours'), ('candles_1d', 'Daily candles, from 00:00 UTC'),
                              ('candles_1w', 'Weekly candles, from Monday 00:00 UTC')) AS r (name, title)
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW market.%1$I AS
                        SELECT c.time,
                               (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
                                WHERE i.instrument_id = c.instrument_id) AS exchange,
                               (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = c.instrument_id) AS symbol,
                               c.instrument_id, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades,
                               c.taker_buy_volume, c.taker_buy_quote_volume, c.minutes
                        FROM ingest.%1$I c', rollup.name);
        EXECUTE format('COMMENT ON VIEW market.%I IS %L', rollup.name, rollup.title || ', rolled up from the one-minute candles.');
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW market.candles_coarse AS
SELECT c.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = c.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = c.instrument_id) AS symbol,
       c.instrument_id, c.timeframe, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades, c.taker_buy_volume,
       c.taker_buy_quote_volume, c.received_at
FROM ingest.candles_coarse c;
COMMENT ON VIEW market.candles_coarse IS 'Candles above one minute as an exchange reported them itself; market.candles puts them where its minutes do not make a whole one.';

CREATE OR REPLACE VIEW market.trade_candles_1m AS
SELECT c.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = c.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = c.instrument_id) AS symbol,
       c.instrument_id, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades, c.taker_buy_volume,
       c.taker_buy_quote_volume
FROM ingest.trade_candles_1m c;
COMMENT ON VIEW market.trade_candles_1m IS 'One-minute candles made of the stored trades, to check the exchange''s own against.';

CREATE OR REPLACE VIEW market.book_1m AS
SELECT b.time,
       (SELECT e.name FROM ingest.instruments i JOIN ingest.exchanges e USING (exchange_id)
        WHERE i.instrument_id = b.instrument_id) AS exchange,
       (SELECT i.symbol FROM ingest.instruments i WHERE i.instrument_id = b.instrument_id) AS symbol,
       b.instrument_id, b.snapshots, b.used, b.mid_open, b.mid_high, b.mid_low, b.mid_close, b.mid_avg, b.spread_avg,
       b.spread_min, b.spread_max, b.spread_close, b.spread_bps_avg, b.imbalance_avg, b.imbalance_close, b.bid_10bps_avg,
       b.ask_10bps_avg, b.bid_25bps_avg, b.ask_25bps_avg, b.bid_50bps_avg, b.ask_50bps_avg, b.reach_bps_min
FROM ingest.book_1m b;
COMMENT ON VIEW market.book_1m IS 'Order books by the minute: mid, spread, imbalance and depth.';

CREATE OR REPLACE FUNCTION market.check_range("interval" interval, "from" timestamptz, "to" timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF $2 IS NULL OR $3 IS NULL OR NOT isfinite($2) OR NOT isfinite($3) OR $2 > $3 THEN
        RAISE EXCEPTION 'the range from % to % is none', coalesce($2::text, 'NULL'), coalesce($3::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give two moments in order: from belongs to the range, to does not.';
    END IF;
    IF $1 IS NULL OR $1 <= INTERVAL '0' THEN
        RAISE EXCEPTION 'the interval is %', coalesce($1::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give a length of time above zero, for example ''15 minutes''.';
    END IF;
    IF extract(year FROM $1) * 12 + extract(month FROM $1) > 0 AND $1 <> date_trunc('month', $1) THEN
        RAISE EXCEPTION 'the interval % mixes months with days or time', $1 USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give whole months, or days, hours, minutes and seconds.';
    END IF;
END
$$;
COMMENT ON FUNCTION market.check_range(interval, timestamptz, timestamptz) IS 'Raises an error that says what is wrong with an interval or a range; returns nothing.';

-- In UTC, whatever the session's time zone is: there a day has 24 hours.
CREATE OR REPLACE FUNCTION market.step(moment timestamptz, "interval" interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (moment AT TIME ZONE 'UTC' + $2) AT TIME ZONE 'UTC' $$;
COMMENT ON FUNCTION market.step(timestamptz, interval) IS 'The moment one interval later, in UTC.';

CREATE OR REPLACE FUNCTION market.first_bucket("interval" interval, moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN b.start = moment THEN moment ELSE market.step(b.start, $1) END
    FROM (SELECT public.time_bucket($1, moment) AS start) b
$$;
COMMENT ON FUNCTION market.first_bucket(interval, timestamptz) IS 'The first bucket of the interval that starts at the moment or after it. Weeks start on Monday, days at 00:00 UTC.';

CREATE OR REPLACE FUNCTION market.timeframe_for("interval" interval) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN extract(year FROM $1) * 12 + extract(month FROM $1) > 0 THEN '1d'
        ELSE (SELECT f.name
              FROM (VALUES ('1w', 604800), ('1d', 86400), ('4h', 14400), ('1h', 3600), ('30m', 1800), ('15m', 900), ('5m', 300),
                           ('1m', 60)) AS f (name, seconds)
              WHERE mod(extract(epoch FROM $1), f.seconds) = 0
              ORDER BY f.seconds DESC LIMIT 1)
    END
$$;
COMMENT ON FUNCTION market.timeframe_for(interval) IS 'The longest stored timeframe of which candles of the interval can be made; NULL where the interval is no whole number of minutes.';

CREATE OR REPLACE FUNCTION market.ohlcv(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                        "to" timestamptz DEFAULT now(), fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, quote_volume numeric,
               trades bigint, taker_buy_volume numeric, taker_buy_quote_volume numeric, minutes bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    wanted int;
    frame text;
    starts timestamptz;
    ends timestamptz;
    candles text;
    made text;
BEGIN
    PERFORM market.check_range($3, $4, $5);
    frame := market.timeframe_for($3);
    wanted := coalesce(market.instrument_id($1, $2),
                       market.must_find($1, $2, CASE WHEN frame IS NULL THEN 'trades' ELSE 'candles' END));
    -- Candles that open within the range, each of them whole: the last one may reach beyond it.
    starts := market.first_bucket($3, $4);
    ends := market.first_bucket($3, $5);
    -- Where the exchange's own coarser candles are at hand, the view over both decides which of them stands.
    candles := CASE
        WHEN frame <> '1m'
             AND EXISTS (SELECT FROM market.candles_coarse e
                         WHERE e.instrument_id = wanted AND e.timeframe = frame AND e.time >= starts AND e.time < ends)
        THEN format('(SELECT * FROM market.candles m WHERE m.timeframe = %L)', frame)
        ELSE 'market.candles_' || frame
    END;
    made := CASE
        WHEN frame IS NULL THEN format(
            'SELECT public.time_bucket(%1$L::interval, t.time) AS time,
                    (array_agg(t.price ORDER BY t.time, length(t.trade_id), t.trade_id COLLATE "C"))[1] AS open,
                    max(t.price) AS high, min(t.price) AS low,
                    (array_agg(t.price ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id COLLATE "C" DESC))[1] AS close,
                    sum(t.amount) AS volume, sum(t.price * t.amount) AS quote_volume, count(*) AS trades,
                    CASE WHEN count(t.side) = count(*) THEN coalesce(sum(t.amount) FILTER (WHERE t.side = ''buy''), 0) END
                        AS taker_buy_volume,
                    CASE WHEN count(t.side) = count(*)
                         THEN coalesce(sum(t.price * t.amount) FILTER (WHERE t.side = ''buy''), 0) END AS taker_buy_quote_volume,
                    NULL::bigint AS minutes
             FROM market.trades t WHERE t.instrument_id = %2$s AND t.time >= %3$L AND t.time < %4$L GROUP BY 1',
            $3, wanted, starts, ends)
        WHEN $3 = market.timeframe_length(frame) THEN format(
            'SELECT c.time, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades, c.taker_buy_volume,
                    c.taker_buy_quote_volume, c.minutes
             FROM %s c WHERE c.instrument_id = %s AND c.time >= %L AND c.time < %L',
            candles, wanted, starts, ends)
        ELSE format(
            'SELECT public.time_bucket(%1$L::interval, c.time) AS time, public.first(c.open, c.time) AS open,
                    max(c.high) AS high, min(c.low) AS low, public.last(c.close, c.time) AS close, sum(c.volume) AS volume,
                    sum(c.quote_volume) AS quote_volume, sum(c.trades)::bigint AS trades,
                    sum(c.taker_buy_volume) AS taker_buy_volume, sum(c.taker_buy_quote_volume) AS taker_buy_quote_volume,
                    sum(c.minutes)::bigint AS minutes
             FROM %5$s c WHERE c.instrument_id = %2$s AND c.time >= %3$L AND c.time < %4$L GROUP BY 1',
            $3, wanted, starts, ends, candles)
    END;
    IF fill THEN
        -- Up to now: what is to come has no candles. Before the first candle of all there is no close to go on with.
        made := format(
            'WITH made AS (%s),
             grid AS (SELECT g AT TIME ZONE ''UTC'' AS time
                      FROM generate_series(%L::timestamptz AT TIME ZONE ''UTC'', %L::timestamptz AT TIME ZONE ''UTC'', %L) g
                      WHERE g < %L::timestamptz AT TIME ZONE ''UTC''),
             joined AS (SELECT grid.time, m.open, m.high, m.low, m.close, m.volume, m.quote_volume, m.trades,
                               m.taker_buy_volume, m.taker_buy_quote_volume, m.minutes,
                               count(m.close) OVER (ORDER BY grid.time) AS seen
                        FROM grid LEFT JOIN made m ON m.time = grid.time),
             carried AS (SELECT j.*, coalesce(first_value(j.close) OVER (PARTITION BY j.seen ORDER BY j.time),
                                              (%s)) AS previous
                         FROM joined j)
             SELECT c.time, coalesce(c.open, c.previous), coalesce(c.high, c.previous), coalesce(c.low, c.previous), c.previous,
                    coalesce(c.volume, 0), CASE WHEN c.close IS NULL THEN 0 ELSE c.quote_volume END,
                    CASE WHEN c.close IS NULL THEN 0 ELSE c.trades END,
                    CASE WHEN c.close IS NULL THEN 0 ELSE c.taker_buy_volume END,
                    CASE WHEN c.close IS NULL THEN 0 ELSE c.taker_buy_quote_volume END,
                    CASE WHEN c.close IS NULL THEN 0 ELSE c.minutes END
             FROM carried c WHERE c.previous IS NOT NULL ORDER BY c.time',
            made, starts, ends, $3, least(ends, now()),
            CASE WHEN frame IS NULL THEN format(
                'SELECT t.price FROM market.trades t WHERE t.instrument_id = %s AND t.time < %L
                 ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id COLLATE "C" DESC LIMIT 1', wanted, starts)
            ELSE format(
                'SELECT m.close FROM market.candles_1m m WHERE m.instrument_id = %s AND m.time < %L ORDER BY m.time DESC LIMIT 1',
                wanted, starts)
            END);
    ELSE
        made := made || ' ORDER BY 1';
    END IF;
    RETURN QUERY EXECUTE made;
END
$$;
COMMENT ON FUNCTION market.ohlcv(text, text, interval, timestamptz, timestamptz, boolean) IS 'Candles of any interval that open from (inclusive) to (exclusive), by time; each is whole, or runs still. Made of the longest stored timeframe that fits; of trades where the interval is no whole number of minutes. Prices in quote, volumes in base, quote volumes in quote currency; minutes: how many 1m candles are in it, those of an exchange''s own coarser candle not counted. fill: a candle that is missing stands at the close before it, with volume and minutes 0, up to now.';

CREATE OR REPLACE FUNCTION market.timeframe_length(timeframe text) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE $1 WHEN '1m' THEN INTERVAL '1 minute' WHEN '5m' THEN '5 minutes' WHEN '15m' THEN '15 minutes'
                   WHEN '30m' THEN '30 minutes' WHEN '1h' THEN '1 hour' WHEN '4h' THEN '4 hours' WHEN '1d' THEN '1 day'
                   WHEN '1w' THEN '7 days' END
$$;
COMMENT ON FUNCTION market.timeframe_length(text) IS 'How long a candle of the timeframe lasts; NULL for an unknown one.';

CREATE OR REPLACE FUNCTION market.vwap(exchange text, symbol text, "from" timestamptz, "to" timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    result numeric;
BEGIN
    PERFORM market.check_range(INTERVAL '1 second', $3, $4);
    EXECUTE format('SELECT sum(t.price * t.amount) / sum(t.amount) FROM market.trades t
                    WHERE t.instrument_id = %s AND t.time >= %L AND t.time < %L',
                   coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'trades')), $3, $4) INTO result;
    RETURN result;
END
$$;
COMMENT ON FUNCTION market.vwap(text, text, timestamptz, timestamptz) IS 'Volume-weighted average price of the trades from (inclusive) to (exclusive), in quote currency; NULL where there was none.';

CREATE OR REPLACE FUNCTION market.vwap(exchange text, symbol text, "interval" interval, "from" timestamptz, "to" timestamptz)
RETURNS TABLE ("time" timestamptz, vwap numeric, volume numeric, quote_volume numeric, trades bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT o.time, o.quote_volume / nullif(o.volume, 0), o.volume, o.quote_volume, o.trades
    FROM market.ohlcv($1, $2, $3, $4, $5) o
$$;
COMMENT ON FUNCTION market.vwap(text, text, interval, timestamptz, timestamptz) IS 'Volume-weighted average price by interval, in quote currency, out of the candles: quote volume over volume; NULL where nothing was traded.';

-- A price holds until the next trade; of trades in one microsecond the last one holds.
CREATE OR REPLACE FUNCTION market.twap(exchange text, symbol text, "from" timestamptz, "to" timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    result numeric;
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'trades'));
BEGIN
    PERFORM market.check_range(INTERVAL '1 second', $3, $4);
    EXECUTE format(
        'WITH prices AS (
             (SELECT %2$L::timestamptz AS time, 0 AS digits, '''' AS trade_id, t.price FROM market.trades t
              WHERE t.instrument_id = %1$s AND t.time < %2$L
              ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id COLLATE "C" DESC LIMIT 1)
             UNION ALL
             SELECT t.time, length(t.trade_id), t.trade_id, t.price FROM market.trades t
             WHERE t.instrument_id = %1$s AND t.time >= %2$L AND t.time < %3$L),
         held AS (
             SELECT p.price, extract(epoch FROM lead(p.time, 1, %3$L) OVER (ORDER BY p.time, p.digits, p.trade_id COLLATE "C"))
                             - extract(epoch FROM p.time) AS seconds
             FROM prices p)
         SELECT sum(h.price * h.seconds) / nullif(sum(h.seconds), 0) FROM held h',
        wanted, $3, least($4, now())) INTO result;
    RETURN result;
END
$$;
COMMENT ON FUNCTION market.twap(text, text, timestamptz, timestamptz) IS 'Time-weighted average price from (inclusive) to (exclusive, at most now), in quote currency: each trade''s price counts as long as it was the latest; the range begins with the price before it, else with its first trade.';

CREATE OR REPLACE FUNCTION market.twap(exchange text, symbol text, "interval" interval, "from" timestamptz, "to" timestamptz)
RETURNS TABLE ("time" timestamptz, twap numeric, minutes bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
    PERFORM market.check_range($3, $4, $5);
    RETURN QUERY
    SELECT public.time_bucket($3, o.time), avg(o.close), sum(o.minutes)::bigint
    FROM market.ohlcv($1, $2, INTERVAL '1 minute', market.first_bucket($3, $4), market.first_bucket($3, $5), true) o
    GROUP BY 1
    ORDER BY 1;
END
$$;
COMMENT ON FUNCTION market.twap(text, text, interval, timestamptz, timestamptz) IS 'Time-weighted average price by interval, in quote currency: the mean of the closes of its minutes, a missing minute standing at the close before it; minutes: how many were there.';

CREATE OR REPLACE FUNCTION market.returns(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                          "to" timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, close numeric, simple_return numeric, log_return double precision, minutes bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT r.time, r.close, r.close / r.previous - 1, ln((r.close / r.previous)::double precision), r.minutes
    FROM (SELECT o.time, o.close, lag(o.close) OVER (ORDER BY o.time) AS previous, o.minutes,
                 max(o.time) FILTER (WHERE o.minutes IS DISTINCT FROM 0) OVER () AS newest
          FROM market.ohlcv($1, $2, $3, market.step($4, -$3), $5, true) o) r
    WHERE r.time >= $4 AND r.time <= r.newest
    ORDER BY r.time
$$;
COMMENT ON FUNCTION market.returns(text, text, interval, timestamptz, timestamptz) IS 'Return of each interval against the close before it: simple (0.01 is 1 %) and logarithmic (double precision). Where candles are missing (minutes 0) the last close stands, so that the return over a hole falls on the candle after it; it ends with the last candle that is there. NULL where there is no close before.';

CREATE OR REPLACE FUNCTION market.realized_volatility(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                                      "to" timestamptz DEFAULT now())
RETURNS TABLE (returns bigint, volatility double precision, annualized double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(r.log_return), sqrt(sum(r.log_return ^ 2)),
           sqrt(sum(r.log_return ^ 2) / count(r.log_return) * (31536000 / extract(epoch FROM $3)::double precision))
    FROM market.returns($1, $2, $3, $4, $5) r
    HAVING count(r.log_return) > 0
$$;
COMMENT ON FUNCTION market.realized_volatility(text, text, interval, timestamptz, timestamptz) IS 'The square root of the sum of squared logarithmic returns of the interval (double precision; 0.01 is 1 %), and the same per year of 365 days. No row where there are no returns.';

CREATE OR REPLACE FUNCTION market.trade_flow(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                             "to" timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, buy_volume numeric, sell_volume numeric, net_volume numeric, buy_value numeric,
               sell_value numeric, buy_trades bigint, sell_trades bigint, other_trades bigint, buy_share numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'trades'));
BEGIN
    PERFORM market.check_range($3, $4, $5);
    RETURN QUERY EXECUTE format(
        'SELECT f.time, f.bought, f.sold, f.bought - f.sold, f.buy_value, f.sell_value, f.buys, f.sells, f.others,
                f.bought / nullif(f.bought + f.sold, 0)
         FROM (SELECT public.time_bucket(%L::interval, t.time) AS time,
                      coalesce(sum(t.amount) FILTER (WHERE t.side = ''buy''), 0) AS bought,
                      coalesce(sum(t.amount) FILTER (WHERE t.side = ''sell''), 0) AS sold,
                      coalesce(sum(t.price * t.amount) FILTER (WHERE t.side = ''buy''), 0) AS buy_value,
                      coalesce(sum(t.price * t.amount) FILTER (WHERE t.side = ''sell''), 0) AS sell_value,
                      count(*) FILTER (WHERE t.side = ''buy'') AS buys, count(*) FILTER (WHERE t.side = ''sell'') AS sells,
                      count(*) FILTER (WHERE t.side IS NULL) AS others
               FROM market.trades t WHERE t.instrument_id = %s AND t.time >= %L AND t.time < %L GROUP BY 1) f
         ORDER BY 1', $3, wanted, $4, $5);
END
$$;
COMMENT ON FUNCTION market.trade_flow(text, text, interval, timestamptz, timestamptz) IS 'What takers bought and sold by interval, from (inclusive) to (exclusive), out of the trades: volumes in base, values in quote currency, buy_share 0 to 1. other_trades: those of which the exchange does not tell the side; they count in no volume.';

CREATE OR REPLACE FUNCTION market.compare(symbol text, "interval" interval, "from" timestamptz, "to" timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, exchange text, close numeric, volume numeric, vwap numeric, volume_share numeric,
               premium_bps numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    known text[];
BEGIN
    PERFORM market.check_range($2, $3, $4);
    IF NOT EXISTS (SELECT FROM market.instruments i WHERE i.symbol = $1) THEN
        known := ARRAY(SELECT DISTINCT i.symbol FROM market.instruments i);
        RAISE EXCEPTION 'no exchange has a symbol "%"', $1 USING
            ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('Did you mean "' || market.nearest($1, known) || '"? ', '') || 'market.instruments lists what is known.';
    END IF;
    RETURN QUERY
    SELECT o.time, e.exchange, o.close, o.volume, o.quote_volume / nullif(o.volume, 0),
           o.volume / nullif(sum(o.volume) OVER w, 0), 10000 * (o.close / avg(o.close) OVER w - 1)
    FROM (SELECT DISTINCT i.exchange FROM market.instruments i WHERE i.symbol = $1) e
    CROSS JOIN LATERAL market.ohlcv(e.exchange, $1, $2, $3, $4) o
    WINDOW w AS (PARTITION BY o.time)
    ORDER BY o.time, e.exchange;
END
$$;
COMMENT ON FUNCTION market.compare(text, interval, timestamptz, timestamptz) IS 'One symbol on every exchange that lists it, by interval: close and vwap in quote, volume in base currency, the share of all exchanges'' volume, and by how much the close is above the mean of all closes, in hundredths of a percent.';

CREATE OR REPLACE FUNCTION market.latest(only_exchange text DEFAULT NULL, only_symbol text DEFAULT NULL, at timestamptz DEFAULT now(),
                                         max_age interval DEFAULT '1 day')
RETURNS TABLE (exchange text, symbol text, instrument_id int, price numeric, "time" timestamptz, source text)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    wanted int;
BEGIN
    IF $1 IS NOT NULL AND $2 IS NOT NULL THEN
        wanted := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'trades'));
    ELSIF $1 IS NOT NULL AND NOT EXISTS (SELECT FROM market.instruments i WHERE i.exchange = $1) THEN
        PERFORM market.must_find($1, '', 'trades');
    END IF;
    PERFORM market.check_range(max_age, at, at);
    RETURN QUERY EXECUTE format(
        'SELECT i.exchange, i.symbol, i.instrument_id, p.price, p.time, p.source
         FROM market.instruments i
         LEFT JOIN LATERAL (
             SELECT x.price, x.time, x.source
             FROM ((SELECT t.price, t.time, ''trade'' AS source, 1 AS rank FROM market.trades t
                    WHERE t.instrument_id = i.instrument_id AND t.time <= %1$L AND t.time > %2$L
                    ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id COLLATE "C" DESC LIMIT 1)
                   UNION ALL
                   (SELECT k.last, k.time, ''ticker'', 2 FROM market.tickers k
                    WHERE k.instrument_id = i.instrument_id AND k.last IS NOT NULL AND k.time <= %1$L AND k.time > %2$L)
                   UNION ALL
                   (SELECT c.close, least(c.time + INTERVAL ''1 minute'', c.received_at), ''candle'', 3
                    FROM market.candles_1m c
                    WHERE c.instrument_id = i.instrument_id AND c.time <= %1$L AND c.time > %2$L
                      AND least(c.time + INTERVAL ''1 minute'', c.received_at) <= %1$L
                    ORDER BY c.time DESC LIMIT 1)) x
             ORDER BY x.time DESC, x.rank LIMIT 1) p ON true
         WHERE i.delisted_at IS NULL AND %3$s
         ORDER BY i.exchange, i.symbol',
        at, at - max_age,
        CASE WHEN wanted IS NOT NULL THEN format('i.instrument_id = %s', wanted)
             ELSE concat_ws(' AND ', 'true', CASE WHEN $1 IS NOT NULL THEN format('i.exchange = %L', $1) END,
                            CASE WHEN $2 IS NOT NULL THEN format('i.symbol = %L', $2) END) END);
END
$$;
COMMENT ON FUNCTION market.latest(text, text, timestamptz, interval) IS 'The latest price of every listed instrument (of one exchange, one symbol, or both where they are given) as it was known at a moment, in quote currency, with its time and where it is from: trade, ticker, or the close of a candle. NULL where none is younger than max_age.';

-- The newest come first, from windows that grow backwards: a statement without a bound on time would plan every chunk.
CREATE OR REPLACE FUNCTION market.last_trades(exchange text, symbol text, "count" int DEFAULT 1000,
                                              before timestamptz DEFAULT 'infinity')
RETURNS TABLE ("time" timestamptz, trade_id text, side text, price numeric, amount numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'trades'));
    missing int := $3;
    ends timestamptz := least($4, now() + INTERVAL '1 hour');
    starts timestamptz;
    newest timestamptz := ends;
    length interval;
    found bigint;
BEGIN
    IF $3 IS NULL OR $3 < 1 OR $4 IS NULL THEN
        RAISE EXCEPTION 'count is %, before is %', coalesce($3::text, 'NULL'), coalesce($4::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give how many trades, from 1 on, and the moment that they come before.';
    END IF;
    FOREACH length IN ARRAY ARRAY['3 hours', '1 day', '5 days', '30 days', '1 year', NULL]::interval[] LOOP
        starts := coalesce(newest - length, '-infinity');
        RETURN QUERY EXECUTE format(
            'SELECT t.time, t.trade_id, t.side::text, t.price, t.amount FROM market.trades t
             WHERE t.instrument_id = %s AND t.time < %L AND t.time >= %L
             ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id COLLATE "C" DESC LIMIT %s', wanted, ends, starts, missing);
        GET DIAGNOSTICS found = ROW_COUNT;
        missing := missing - found;
        EXIT WHEN missing <= 0;
        ends := starts;
    END LOOP;
END
$$;
COMMENT ON FUNCTION market.last_trades(text, text, int, timestamptz) IS 'The last trades before a moment, the newest first; price in quote, amount in base currency, side the taker''s.';

CREATE OR REPLACE FUNCTION market.candle_check(exchange text, symbol text, "from" timestamptz, "to" timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, verdict text, differs text[], covered boolean, open numeric, trades_open numeric,
               high numeric, trades_high numeric, low numeric, trades_low numeric, close numeric, trades_close numeric,
               volume numeric, trades_volume numeric, trades bigint, trades_trades bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'candles'));
    starts timestamptz;
    ends timestamptz;
    proved tstzmultirange;
BEGIN
    PERFORM market.check_range(INTERVAL '1 minute', $3, $4);
    starts := market.first_bucket(INTERVAL '1 minute', $3);
    ends := market.first_bucket(INTERVAL '1 minute', $4);
    SELECT coalesce(range_agg(tstzrange(p.from_time, p.to_time)), '{}') INTO proved
    FROM market.coverage_of(wanted, 'trades', starts, ends) p WHERE p.grade <> 'gap';
    RETURN QUERY EXECUTE format(
        'SELECT x.time,
                CASE WHEN x.no_candle THEN ''no candle'' WHEN x.no_trades AND x.volume > 0 THEN ''no trades''
                     WHEN x.differs <> ''{}'' THEN ''differs'' ELSE ''equal'' END,
                x.differs, %4$L::tstzmultirange @> tstzrange(x.time, x.time + INTERVAL ''1 minute''),
                x.open, x.t_open, x.high, x.t_high, x.low, x.t_low, x.close, x.t_close, x.volume, x.t_volume, x.trades, x.t_trades
         FROM (SELECT coalesce(c.time, t.time) AS time, c.time IS NULL AS no_candle, t.time IS NULL AS no_trades,
                      array_remove(ARRAY[CASE WHEN c.open <> t.open THEN ''open'' END, CASE WHEN c.high <> t.high THEN ''high'' END,
                                         CASE WHEN c.low <> t.low THEN ''low'' END, CASE WHEN c.close <> t.close THEN ''close'' END,
                                         CASE WHEN c.volume <> t.volume THEN ''volume'' END,
                                         CASE WHEN c.quote_volume <> t.quote_volume THEN ''quote_volume'' END,
                                         CASE WHEN c.trades <> t.trades THEN ''trades'' END,
                                         CASE WHEN c.taker_buy_volume <> t.taker_buy_volume THEN ''taker_buy_volume'' END,
                                         CASE WHEN c.taker_buy_quote_volume <> t.taker_buy_quote_volume
                                              THEN ''taker_buy_quote_volume'' END], NULL) AS differs,
                      c.open, t.open AS t_open, c.high, t.high AS t_high, c.low, t.low AS t_low, c.close, t.close AS t_close,
                      c.volume, t.volume AS t_volume, c.trades, t.trades AS t_trades
               FROM (SELECT * FROM market.candles_1m c
                     WHERE c.instrument_id = %1$s AND c.time >= %2$L AND c.time < %3$L
                       AND c.received_at >= c.time + INTERVAL ''1 minute'') c
               FULL JOIN (SELECT * FROM market.trade_candles_1m t
                          WHERE t.instrument_id = %1$s AND t.time >= %2$L AND t.time < %3$L) t ON t.time = c.time) x
         ORDER BY 1', wanted, starts, ends, proved);
END
$$;
COMMENT ON FUNCTION market.candle_check(text, text, timestamptz, timestamptz) IS 'Each closed minute''s candle as the exchange reports it against the one made of the stored trades (trades_…). verdict: equal, differs (differs names the columns), no trades, or no candle; covered: whether no trade of that minute is missing by market.coverage, so that a difference there is the exchange''s.';
