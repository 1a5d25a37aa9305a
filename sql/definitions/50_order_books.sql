-- What a stored book says: its sums, its levels, and what trading against it would have cost.

-- Sums over both sides. Only who asks for them pays: the lateral parts are left out where no column of theirs is read.
CREATE OR REPLACE VIEW market.order_book_summary AS
SELECT b.time, b.exchange, b.symbol, b.instrument_id, b.best_bid, b.best_ask, b.mid, b.spread,
       10000 * b.spread / b.mid AS spread_bps,
       cardinality(b.bid_prices) AS bid_levels, cardinality(b.ask_prices) AS ask_levels,
       d.bid_volume, d.ask_volume, d.bid_value, d.ask_value,
       d.bid_volume / nullif(d.bid_volume + d.ask_volume, 0) AS bid_share,
       b.in_sync
FROM market.order_books b
CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(a), 0) FROM unnest(b.bid_amounts) AS a) AS bid_volume,
           (SELECT coalesce(sum(a), 0) FROM unnest(b.ask_amounts) AS a) AS ask_volume,
           (SELECT coalesce(sum(p * a), 0) FROM unnest(b.bid_prices, b.bid_amounts) AS l (p, a)) AS bid_value,
           (SELECT coalesce(sum(p * a), 0) FROM unnest(b.ask_prices, b.ask_amounts) AS l (p, a)) AS ask_value
) d;
COMMENT ON VIEW market.order_book_summary IS 'Order-book snapshots in figures: best prices, mid, spread, and the sums of the stored levels of each side.';
COMMENT ON COLUMN market.order_book_summary.spread_bps IS 'The spread in hundredths of a percent of the mid.';
COMMENT ON COLUMN market.order_book_summary.bid_levels IS 'How many levels of bids are stored.';
COMMENT ON COLUMN market.order_book_summary.ask_levels IS 'How many levels of asks are stored.';
COMMENT ON COLUMN market.order_book_summary.bid_volume IS 'All stored bids, in base currency.';
COMMENT ON COLUMN market.order_book_summary.ask_volume IS 'All stored asks, in base currency.';
COMMENT ON COLUMN market.order_book_summary.bid_value IS 'All stored bids, in quote currency.';
COMMENT ON COLUMN market.order_book_summary.ask_value IS 'All stored asks, in quote currency.';
COMMENT ON COLUMN market.order_book_summary.bid_share IS 'bid_volume as a share of both sides, 0 to 1; NULL for an empty book.';

CREATE OR REPLACE VIEW market.order_book_levels AS
SELECT b.time, b.exchange, b.symbol, b.instrument_id, l.side, l.level::int AS level, l.price, l.amount,
       l.depth, l.value, 10000 * abs(l.price - b.mid) / b.mid AS distance_bps, b.in_sync
FROM market.order_books b
CROSS JOIN LATERAL (
    SELECT 'bid'::text AS side, s.level, s.price, s.amount,
           sum(s.amount) OVER w AS depth, sum(s.price * s.amount) OVER w AS value
    FROM unnest(b.bid_prices, b.bid_amounts) WITH ORDINALITY AS s (price, amount, level)
    WINDOW w AS (ORDER BY s.level)
    UNION ALL
    SELECT 'ask', s.level, s.price, s.amount, sum(s.amount) OVER w, sum(s.price * s.amount) OVER w
    FROM unnest(b.ask_prices, b.ask_amounts) WITH ORDINALITY AS s (price, amount, level)
    WINDOW w AS (ORDER BY s.level)
) l;
COMMENT ON VIEW market.order_book_levels IS 'Order-book snapshots, a row a level.';
COMMENT ON COLUMN market.order_book_levels.side IS 'bid or ask.';
COMMENT ON COLUMN market.order_book_levels.level IS 'From 1, the best price, outwards.';
COMMENT ON COLUMN market.order_book_levels.price IS 'In quote currency.';
COMMENT ON COLUMN market.order_book_levels.amount IS 'Offered at this price, in base currency.';
COMMENT ON COLUMN market.order_book_levels.depth IS 'Offered at this price or a better one, in base currency.';
COMMENT ON COLUMN market.order_book_levels.value IS 'The same in quote currency.';
COMMENT ON COLUMN market.order_book_levels.distance_bps IS 'From the mid, in hundredths of a percent of it.';

-- The snapshot in force: the latest one in sync, not older than max_age, by which few chunks need to be looked at.
-- The bounds stand in the text of the statement: constants let the planner leave chunks out.
CREATE OR REPLACE FUNCTION market.book_in_force(exchange text, symbol text, at timestamptz, max_age interval)
RETURNS market.order_books
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found market.order_books;
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'book'));
BEGIN
    IF max_age IS NULL OR max_age <= INTERVAL '0' THEN
        RAISE EXCEPTION 'max_age is %, which is no length of time', coalesce(max_age::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Say how old the book may be, for example ''1 minute''.';
    END IF;
    EXECUTE format(
        'SELECT b.* FROM market.order_books b WHERE b.instrument_id = %s AND b.time <= %L AND b.time > %L AND b.in_sync
         ORDER BY b.time DESC LIMIT 1', wanted, at, at - max_age) INTO found;
    RETURN found;
END
$$;
COMMENT ON FUNCTION market.book_in_force(text, text, timestamptz, interval) IS 'The latest snapshot that is in sync, at most max_age older than the moment; all NULL where there is none.';

CREATE OR REPLACE FUNCTION market.book_at(exchange text, symbol text, at timestamptz DEFAULT now(),
                                          max_age interval DEFAULT '10 minutes')
RETURNS TABLE ("time" timestamptz, level int, bid_price numeric, bid_amount numeric, bid_depth numeric,
               ask_price numeric, ask_amount numeric, ask_depth numeric)
LANGUAGE sql STABLE AS $$
    SELECT b.time, l.level::int, l.bid_price, l.bid_amount,
           CASE WHEN l.bid_price IS NOT NULL THEN sum(l.bid_amount) OVER w END,
           l.ask_price, l.ask_amount,
           CASE WHEN l.ask_price IS NOT NULL THEN sum(l.ask_amount) OVER w END
    FROM market.book_in_force($1, $2, $3, $4) b,
         unnest(b.bid_prices, b.bid_amounts, b.ask_prices, b.ask_amounts)
             WITH ORDINALITY AS l (bid_price, bid_amount, ask_price, ask_amount, level)
    WINDOW w AS (ORDER BY l.level)
    ORDER BY l.level
$$;
COMMENT ON FUNCTION market.book_at(text, text, timestamptz, interval) IS 'The order book at a moment, a row a level from the best one: the latest snapshot in sync, at most max_age old; time is that of the snapshot. Prices in quote, amounts in base currency, depth the sum of amounts up to the level. No rows where there is no snapshot.';

CREATE OR REPLACE FUNCTION market.depth(exchange text, symbol text, bps numeric DEFAULT 10, at timestamptz DEFAULT now(),
                                        max_age interval DEFAULT '10 minutes')
RETURNS TABLE ("time" timestamptz, mid numeric, bid_volume numeric, ask_volume numeric, bid_value numeric, ask_value numeric,
               bid_share numeric, bids_reach boolean, asks_reach boolean)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    IF bps IS NULL OR NOT (bps >= 0 AND bps < 'Infinity') THEN
        RAISE EXCEPTION 'bps is %', coalesce(bps::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give the distance from the mid in hundredths of a percent: 10 is 0.1 %.';
    END IF;
    RETURN QUERY
    SELECT b.time, b.mid, s.bid_volume, s.ask_volume, s.bid_value, s.ask_value,
           s.bid_volume / nullif(s.bid_volume + s.ask_volume, 0),
           b.bid_prices[cardinality(b.bid_prices)] < s.lowest, b.ask_prices[cardinality(b.ask_prices)] > s.highest
    FROM market.book_in_force($1, $2, $4, $5) b
    CROSS JOIN LATERAL (SELECT b.mid * (1 - $3 / 10000) AS lowest, b.mid * (1 + $3 / 10000) AS highest) bound
    CROSS JOIN LATERAL (
        SELECT bound.lowest, bound.highest,
               coalesce(sum(l.bid_amount) FILTER (WHERE l.bid_price >= bound.lowest), 0) AS bid_volume,
               coalesce(sum(l.ask_amount) FILTER (WHERE l.ask_price <= bound.highest), 0) AS ask_volume,
               coalesce(sum(l.bid_price * l.bid_amount) FILTER (WHERE l.bid_price >= bound.lowest), 0) AS bid_value,
               coalesce(sum(l.ask_price * l.ask_amount) FILTER (WHERE l.ask_price <= bound.highest), 0) AS ask_value
        FROM unnest(b.bid_prices, b.bid_amounts, b.ask_prices, b.ask_amounts) AS l (bid_price, bid_amount, ask_price, ask_amount)
    ) s
    WHERE b.mid IS NOT NULL;
END
$$;
COMMENT ON FUNCTION market.depth(text, text, numeric, timestamptz, interval) IS 'What stands in the book within bps (hundredths of a percent) of the mid at a moment: volume in base, value in quote currency, the bids'' share of both volumes. bids_reach and asks_reach: whether the stored levels go on beyond that distance; where they do not there may have been more.';

CREATE OR REPLACE FUNCTION market.slippage(exchange text, symbol text, side text, amount numeric,
                                           at timestamptz DEFAULT now(), max_age interval DEFAULT '10 minutes')
RETURNS TABLE ("time" timestamptz, filled numeric, value numeric, average_price numeric, best_price numeric, worst_price numeric,
               mid numeric, slippage_bps numeric, cost_bps numeric, levels int)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    IF $3 IS NULL OR $3 NOT IN ('buy', 'sell') THEN
        RAISE EXCEPTION 'there is no side "%"', $3 USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Say what the taker does: buy or sell.';
    END IF;
    IF $4 IS NULL OR NOT ($4 > 0 AND $4 < 'Infinity') THEN
        RAISE EXCEPTION 'the amount is %', coalesce($4::text, 'NULL') USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give the amount to trade, in base currency, above zero.';
    END IF;
    RETURN QUERY
    WITH book AS MATERIALIZED (SELECT * FROM market.book_in_force($1, $2, $5, $6)),
    taken AS (
        SELECT l.level, l.price,
               least(l.amount, greatest($4 - coalesce(sum(l.amount) OVER (ORDER BY l.level ROWS BETWEEN UNBOUNDED PRECEDING
                                                                                         AND 1 PRECEDING), 0), 0)) AS amount
        FROM book b,
             unnest(CASE $3 WHEN 'buy' THEN b.ask_prices ELSE b.bid_prices END,
                    CASE $3 WHEN 'buy' THEN b.ask_amounts ELSE b.bid_amounts END)
                 WITH ORDINALITY AS l (price, amount, level)
    ),
    total AS (
        SELECT sum(t.amount) AS filled, sum(t.price * t.amount) AS value, max(t.level)::int AS levels,
               min(t.price) AS lowest, max(t.price) AS highest
        FROM taken t
        WHERE t.amount > 0
        HAVING count(*) > 0
    )
    SELECT b.time, t.filled, t.value, t.value / t.filled, p.best, p.worst, b.mid,
           10000 * p.sign * (t.value / t.filled - p.best) / p.best,
           10000 * p.sign * (t.value / t.filled - b.mid) / b.mid, t.levels
    FROM book b
    CROSS JOIN total t
    CROSS JOIN LATERAL (
        SELECT CASE $3 WHEN 'buy' THEN 1 ELSE -1 END AS sign,
               CASE $3 WHEN 'buy' THEN t.lowest ELSE t.highest END AS best,
               CASE $3 WHEN 'buy' THEN t.highest ELSE t.lowest END AS worst
    ) p;
END
$$;
COMMENT ON FUNCTION market.slippage(text, text, text, numeric, timestamptz, interval) IS 'What a market order (side: buy or sell, amount in base currency) would have met in the stored levels at a moment: filled in base, value in quote currency, the average price, by how much it is worse than the best price (slippage_bps) and than the mid (cost_bps), and how many levels it takes. filled below the amount: the stored levels did not hold more. No fees.';

CREATE OR REPLACE FUNCTION market.spread(exchange text, symbol text, "interval" interval, "from" timestamptz,
                                         "to" timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, snapshots bigint, average_spread numeric, average_bps numeric, lowest_bps numeric,
               highest_bps numeric)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    wanted int := coalesce(market.instrument_id($1, $2), market.must_find($1, $2, 'book'));
BEGIN
    PERFORM market.check_range($3, $4, $5);
    RETURN QUERY EXECUTE format(
        'SELECT public.time_bucket(%L::interval, s.time), count(*), avg(s.spread), avg(s.bps), min(s.bps), max(s.bps)
         FROM (SELECT b.time, b.spread, 10000 * b.spread / b.mid AS bps FROM market.order_books b
               WHERE b.instrument_id = %s AND b.time >= %L AND b.time < %L AND b.in_sync AND b.mid IS NOT NULL) s
         GROUP BY 1 ORDER BY 1', $3, wanted, $4, $5);
END
$$;
COMMENT ON FUNCTION market.spread(text, text, interval, timestamptz, timestamptz) IS 'The spread by interval, over the snapshots from (inclusive) to (exclusive) that are in sync and have both sides: its mean in quote currency, and mean, least and greatest in hundredths of a percent of the mid. Each snapshot counts once.';
