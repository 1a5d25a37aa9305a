-- Technical indicators over market.ohlcv, in double precision, as TA-Lib defines them (https://ta-lib.org/functions/):
-- what needs n candles is NULL on the candles before, and what remembers (ema, rsi, macd, atr) begins with a plain mean
-- of its first values. So each value depends on where the range begins: start well before the first one that matters.

CREATE OR REPLACE FUNCTION market.check_period(name text, period int, least_period int DEFAULT 1) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF period IS NULL OR period < least_period OR period > 100000 THEN
        RAISE EXCEPTION '% is %', name, coalesce(period::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = format('Give a number of candles from %s to 100000.', least_period);
    END IF;
    RETURN period;
END
$$;
COMMENT ON FUNCTION market.check_period(text, int, int) IS 'The period, or an error that says what is wrong with it.';

CREATE OR REPLACE FUNCTION market.smooth("values" double precision[], period int, weight double precision, skip int DEFAULT 0)
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    size int := cardinality("values");
    result double precision[];
    mean double precision := 0;
BEGIN
    IF size IS NULL THEN
        RETURN NULL;
    END IF;
    result := array_fill(NULL::double precision, ARRAY[size]);
    IF size < skip + period THEN
        RETURN result;
    END IF;
    FOR i IN skip + 1 .. skip + period LOOP
        mean := mean + "values"[i];
    END LOOP;
    mean := mean / period;
    result[skip + period] := mean;
    FOR i IN skip + period + 1 .. size LOOP
        mean := mean + weight * ("values"[i] - mean);
        result[i] := mean;
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION market.smooth(double precision[], int, double precision, int) IS 'Exponential smoothing: the plain mean of the first period values after skip, then by weight nearer to each next value (2 / (period + 1) for an EMA, 1 / period for Wilder''s); NULL before.';

CREATE OR REPLACE FUNCTION market.sma(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                      "to" timestamptz DEFAULT now(), period int DEFAULT 20, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, sma double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.time, s.close, CASE WHEN s.number >= $6 THEN s.mean::double precision END
    FROM (SELECT o.time, o.close, row_number() OVER (ORDER BY o.time) AS number,
                 avg(o.close) OVER (ORDER BY o.time ROWS BETWEEN market.check_period('period', $6) - 1 PRECEDING AND CURRENT ROW) AS mean
          FROM market.ohlcv($1, $2, $3, $4, $5, $7) o) s
    ORDER BY s.time
$$;
COMMENT ON FUNCTION market.sma(text, text, interval, timestamptz, timestamptz, int, boolean) IS 'Simple moving average: the mean of the last period closes, in quote currency (double precision); NULL on the first period - 1 candles.';

CREATE OR REPLACE FUNCTION market.ema(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                      "to" timestamptz DEFAULT now(), period int DEFAULT 20, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, ema double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT u.time, u.close, u.ema
    FROM (SELECT array_agg(o.time ORDER BY o.time) AS times, array_agg(o.close ORDER BY o.time) AS closes
          FROM market.ohlcv($1, $2, $3, $4, $5, $7) o) a,
         unnest(a.times, a.closes, market.smooth(a.closes::double precision[], market.check_period('period', $6),
                                                 2.0::double precision / ($6 + 1))) AS u (time, close, ema)
$$;
COMMENT ON FUNCTION market.ema(text, text, interval, timestamptz, timestamptz, int, boolean) IS 'Exponential moving average of the closes with weight 2 / (period + 1), beginning with the mean of the first period closes, in quote currency (double precision); NULL on the first period - 1 candles.';

CREATE OR REPLACE FUNCTION market.rsi(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                      "to" timestamptz DEFAULT now(), period int DEFAULT 14, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, rsi double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH changes AS (
        SELECT o.time, o.close, (o.close - lag(o.close) OVER (ORDER BY o.time))::double precision AS change
        FROM market.ohlcv($1, $2, $3, $4, $5, $7) o
    )
    SELECT u.time, u.close, 100 * u.gain / nullif(u.gain + u.loss, 0)
    FROM (SELECT array_agg(c.time ORDER BY c.time) AS times, array_agg(c.close ORDER BY c.time) AS closes,
                 array_agg(greatest(c.change, 0) ORDER BY c.time) AS gains,
                 array_agg(greatest(-c.change, 0) ORDER BY c.time) AS losses
          FROM changes c) a,
         unnest(a.times, a.closes,
                market.smooth(a.gains, market.check_period('period', $6, 2), 1.0::double precision / $6, 1),
                market.smooth(a.losses, $6, 1.0::double precision / $6, 1)) AS u (time, close, gain, loss)
$$;
COMMENT ON FUNCTION market.rsi(text, text, interval, timestamptz, timestamptz, int, boolean) IS 'Relative strength index of the closes after Wilder, 0 to 100 (double precision); NULL on the first period candles, and while the price has not changed at all.';

CREATE OR REPLACE FUNCTION market.macd(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                       "to" timestamptz DEFAULT now(), fast int DEFAULT 12, slow int DEFAULT 26,
                                       smoothing int DEFAULT 9, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, macd double precision, signal double precision, histogram double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
    times timestamptz[];
    closes numeric[];
    lines double precision[];
BEGIN
    PERFORM market.check_period('fast', $6), market.check_period('slow', $7, $6 + 1), market.check_period('smoothing', $8);
    SELECT array_agg(o.time ORDER BY o.time), array_agg(o.close ORDER BY o.time) INTO times, closes
    FROM market.ohlcv($1, $2, $3, $4, $5, $9) o;
    -- Both averages begin on the same candle, that of the slow one.
    lines := ARRAY(SELECT u.fast - u.slow
                   FROM unnest(market.smooth(closes::double precision[], $6, 2.0::double precision / ($6 + 1), $7 - $6),
                               market.smooth(closes::double precision[], $7, 2.0::double precision / ($7 + 1)))
                            WITH ORDINALITY AS u (fast, slow, number)
                   ORDER BY u.number);
    RETURN QUERY
    SELECT u.time, u.close, u.macd, u.signal, u.macd - u.signal
    FROM unnest(times, closes, lines, market.smooth(lines, $8, 2.0::double precision / ($8 + 1), $7 - 1))
             AS u (time, close, macd, signal);
END
$$;
COMMENT ON FUNCTION market.macd(text, text, interval, timestamptz, timestamptz, int, int, int, boolean) IS 'Moving average convergence/divergence: the EMA of fast closes less that of slow ones, both beginning on candle number slow; its own EMA over smoothing candles; and their difference. In quote currency (double precision); NULL before.';

CREATE OR REPLACE FUNCTION market.bollinger(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                            "to" timestamptz DEFAULT now(), period int DEFAULT 20,
                                            deviations double precision DEFAULT 2, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, lower double precision, middle double precision, upper double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.time, s.close, s.mean - $7 * s.deviation, s.mean, s.mean + $7 * s.deviation
    FROM (SELECT o.time, o.close,
                 CASE WHEN count(*) OVER w >= $6 THEN avg(o.close) OVER w END::double precision AS mean,
                 (stddev_pop(o.close) OVER w)::double precision AS deviation
          FROM market.ohlcv($1, $2, $3, $4, $5, $8) o
          WINDOW w AS (ORDER BY o.time ROWS BETWEEN market.check_period('period', $6) - 1 PRECEDING AND CURRENT ROW)) s
    ORDER BY s.time
$$;
COMMENT ON FUNCTION market.bollinger(text, text, interval, timestamptz, timestamptz, int, double precision, boolean) IS 'Bollinger bands: the mean of the last period closes, and deviations standard deviations (of the population) below and above it, in quote currency (double precision); NULL on the first period - 1 candles.';

CREATE OR REPLACE FUNCTION market.atr(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                      "to" timestamptz DEFAULT now(), period int DEFAULT 14, fill boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, close numeric, true_range numeric, atr double precision)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH ranges AS (
        SELECT o.time, o.close,
               CASE WHEN o.previous IS NOT NULL
                    THEN greatest(o.high - o.low, abs(o.high - o.previous), abs(o.low - o.previous)) END AS true_range
        FROM (SELECT c.*, lag(c.close) OVER (ORDER BY c.time) AS previous FROM market.ohlcv($1, $2, $3, $4, $5, $7) c) o
    )
    SELECT u.time, u.close, u.true_range, u.atr
    FROM (SELECT array_agg(r.time ORDER BY r.time) AS times, array_agg(r.close ORDER BY r.time) AS closes,
                 array_agg(r.true_range ORDER BY r.time) AS ranges
          FROM ranges r) a,
         unnest(a.times, a.closes, a.ranges,
                market.smooth(a.ranges::double precision[], market.check_period('period', $6),
                              1.0::double precision / $6, 1)) AS u (time, close, true_range, atr)
$$;
COMMENT ON FUNCTION market.atr(text, text, interval, timestamptz, timestamptz, int, boolean) IS 'Average true range after Wilder, in quote currency: the true range of a candle is the widest of high less low, and of high and low against the close before it (exact); their average begins with the mean of the first period of them (double precision). NULL on the first candle, the average on the first period candles.';
