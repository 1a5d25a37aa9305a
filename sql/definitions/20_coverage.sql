-- What is complete, what is not, and why. Everything here reads views of `market` alone, so that who may read only
-- those can ask. Ranges are half-open.

CREATE OR REPLACE VIEW market.fetched AS
SELECT e.name AS exchange, i.symbol, j.channel, j.from_time, j.to_time, j.from_id, j.to_id, j.purpose, j.finished_at,
       j.rows_stored, j.rows_known, j.instrument_id, j.job_id,
       CASE WHEN j.from_time IS NULL OR j.to_time IS NULL OR j.from_id IS NOT NULL AND j.rows_stored + j.rows_known = 0
            THEN NULL
            WHEN j.channel = 'candles'
            THEN tstzrange(date_bin('1 minute', least(j.from_time, j.to_time), 'epoch'),
                           date_bin('1 minute', greatest(j.from_time, j.to_time), 'epoch') + INTERVAL '1 minute')
            ELSE tstzrange(least(j.from_time, j.to_time), greatest(j.from_time, j.to_time) + INTERVAL '1 microsecond')
       END AS span
FROM ingest.backfill_jobs j
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id)
WHERE j.state = 'done' AND j.timeframe IS NULL;
COMMENT ON VIEW market.fetched IS 'Windows of trades and of one-minute candles that were fetched whole: what is not stored inside of them does not exist, or was removed since.';
COMMENT ON COLUMN market.fetched.span IS 'From its start to its end, both of which belong to it, and the whole last minute of candles; of a window of ids the times of its rows, NULL where it had none.';

CREATE OR REPLACE VIEW market.removals AS
SELECT c.channel, r.before, r.removed_at
FROM ingest.removals r
JOIN (VALUES ('trades', 'trades'), ('candles', 'candles_1m'), ('book', 'order_books'), ('quotes', 'quotes'),
             ('funding', 'funding_rates'), ('open_interest', 'open_interest'), ('mark_price', 'mark_prices'),
             ('liquidations', 'liquidations')) AS c (channel, table_name)
    USING (table_name);
COMMENT ON VIEW market.removals IS 'What retention has removed of each channel. Of candles the one-minute ones: coarser ones stay longer.';
COMMENT ON COLUMN market.removals.before IS 'Nothing from before this time is stored, but what was fetched again after removed_at.';
COMMENT ON COLUMN market.removals.removed_at IS 'When that was noticed.';

CREATE OR REPLACE FUNCTION market.nearest(name text, known text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    WITH words AS (
        SELECT w.text, w.place,
               ARRAY(SELECT DISTINCT substr(p.plain, n, 2) FROM generate_series(1, greatest(length(p.plain) - 1, 1)) AS n) AS pairs
        FROM unnest(name || known) WITH ORDINALITY AS w (text, place),
             LATERAL (SELECT upper(regexp_replace(w.text, '[^[:alnum:]]', '', 'g')) AS plain) p
    )
    SELECT other.text
    FROM words wanted
    JOIN words other ON wanted.place = 1 AND other.place > 1 AND other.pairs && wanted.pairs
    ORDER BY cardinality(ARRAY(SELECT unnest(wanted.pairs) INTERSECT SELECT unnest(other.pairs)))::numeric
                 / (cardinality(wanted.pairs) + cardinality(other.pairs)) DESC, other.text
    LIMIT 1
$$;
COMMENT ON FUNCTION market.nearest(text, text[]) IS 'The most similar of the known words, by the pairs of letters that they share; NULL when none shares any.';

CREATE OR REPLACE FUNCTION market.must_find(exchange text, symbol text, channel text) RETURNS int
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found int := market.instrument_id($1, $2);
    channels text[] := ARRAY(SELECT DISTINCT s.channel FROM market.streams s
                             UNION SELECT unnest(ARRAY['trades', 'candles', 'book', 'quotes', 'ticker', 'funding', 'open_interest',
                                                         'mark_price', 'liquidations']) ORDER BY 1);
    known text[];
BEGIN
    IF $3 IS NULL OR NOT $3 = ANY (channels) THEN
        RAISE EXCEPTION 'there is no channel "%"', $3 USING
            ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('Did you mean "' || market.nearest($3, channels) || '"? ', '')
                   || format('There are: %s.', array_to_string(channels, ', '));
    END IF;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    known := ARRAY(SELECT DISTINCT i.exchange FROM market.instruments i);
    IF $1 IS NULL OR NOT $1 = ANY (known) THEN
        RAISE EXCEPTION 'there is no exchange "%"', $1 USING
            ERRCODE = 'invalid_parameter_value',
            HINT = coalesce('Did you mean "' || market.nearest($1, known) || '"? ', '')
                   || 'market.instruments lists what is known.';
    END IF;
    known := ARRAY(SELECT i.symbol FROM market.instruments i WHERE i.exchange = $1);
    RAISE EXCEPTION 'exchange "%" has no symbol "%"', $1, $2 USING
        ERRCODE = 'invalid_parameter_value',
        HINT = coalesce('Did you mean "' || market.nearest($2, known) || '"? ', '')
               || 'market.instruments lists what is known.';
END
$$;
COMMENT ON FUNCTION market.must_find(text, text, text) IS 'Like market.instrument_id, but an unknown name, of a channel too, is an error that tells the nearest one.';

-- One stream, by its instrument. How it is judged:
--   a gap that is not repaired          gap, with its cause and state; where gaps overlap, with those of all
--   windows that were fetched whole     proved
--   from covered_from to proved_to      proved, unless the stream promises nothing
--   from covered_from to attested_to    attested
--   the rest                            gap: 'not collected', or 'not committed' from the watermark of a running stream on
-- What retention has removed is no longer proved or attested, but a gap: 'retention'. A window that was fetched since is.
-- The range ends at now, and for a live stream at its watermark or where its last gap ends: what comes after them is
-- neither there nor missing yet.
CREATE OR REPLACE FUNCTION market.coverage_of(instrument_id int, channel text,
                                              "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (from_time timestamptz, to_time timestamptz, grade text, cause text, state text, seconds numeric, percent numeric)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    stream market.streams;
    watermark timestamptz;
    begun timestamptz;
    removed timestamptz := (SELECT max(r.before) FROM market.removals r WHERE r.channel = $2);
    starts timestamptz := $3;
    ends timestamptz := least($4, now());
    asked tstzmultirange;
BEGIN
    IF $3 > $4 OR NOT isfinite($3) OR NOT isfinite($4) THEN
        RAISE EXCEPTION 'the range from % to % has no length', $3, $4 USING
            ERRCODE = 'invalid_parameter_value', HINT = 'Give two moments in order, or NULL for the whole of a stream.';
    END IF;
    SELECT * INTO stream FROM market.streams s WHERE s.instrument_id = $1 AND s.channel = $2;
    watermark := greatest(stream.proved_to, stream.attested_to);
    IF stream.state = 'live' AND watermark > now() - INTERVAL '2 minutes' THEN
        ends := least(ends, greatest(watermark, (SELECT max(upper(g.span)) FROM market.gaps g
                                                 WHERE g.instrument_id = $1 AND g.channel = $2 AND g.state <> 'repaired')));
    END IF;
    begun := least(stream.covered_from, (SELECT min(lower(f.span)) FROM market.fetched f
                                         WHERE f.instrument_id = $1 AND f.channel = $2));
    starts := coalesce(starts, begun);
    IF starts IS NULL OR starts >= ends THEN
        RETURN;
    END IF;
    asked := tstzmultirange(tstzrange(starts, ends));
    RETURN QUERY
    WITH lacking AS MATERIALIZED (
        SELECT g.gap_id, g.cause, g.state, g.span * tstzrange(starts, ends) AS span
        FROM market.gaps g
        WHERE g.instrument_id = $1 AND g.channel = $2 AND g.state <> 'repaired' AND g.span && tstzrange(starts, ends)
    ),
    -- Gaps that overlap or touch form an island, and only inside of one must its gaps be told apart.
    ordered AS (
        SELECT l.*, lower(l.span) <= max(upper(l.span)) OVER (ORDER BY lower(l.span), l.gap_id
                                                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS joined
        FROM lacking l
    ),
    islands AS (
        SELECT o.*, count(*) FILTER (WHERE o.joined IS NOT TRUE) OVER (ORDER BY lower(o.span), o.gap_id) AS island
        FROM ordered o
    ),
    -- Within arrays, not by a join: the planner knows nothing of the islands' number and would compare all with all.
    gathered AS (
        SELECT array_agg(i.span) AS spans, array_agg(i.cause) AS causes, array_agg(i.state) AS states
        FROM islands i
        GROUP BY i.island
    ),
    named AS (
        SELECT c.moment, c.until, l.cause, l.state
        FROM gathered g
        CROSS JOIN LATERAL (
            SELECT e.moment, lead(e.moment) OVER (ORDER BY e.moment) AS until
            FROM (SELECT lower(s) AS moment FROM unnest(g.spans) AS s UNION SELECT upper(s) FROM unnest(g.spans) AS s) e
        ) c
        CROSS JOIN LATERAL (
            SELECT string_agg(DISTINCT m.cause, ', ') AS cause, string_agg(DISTINCT m.state, ', ') AS state
            FROM unnest(g.spans, g.causes, g.states) AS m (span, cause, state)
            WHERE m.span @> c.moment
        ) l
        WHERE c.until IS NOT NULL
    ),
    -- Of each window what was not removed after it had been fetched.
    kept AS (
        SELECT f.span * tstzrange(f.gone, NULL) AS span, f.from_id, f.to_id, f.job_id, lower(f.span) < f.gone AS is_cut
        FROM (SELECT w.*, CASE WHEN lower(w.span) < removed THEN
                              (SELECT max(r.before) FROM market.removals r
                               WHERE r.channel = $2 AND r.removed_at >= coalesce(w.finished_at, '-infinity')) END AS gone
              FROM market.fetched w
              WHERE w.instrument_id = $1 AND w.channel = $2) f
        WHERE f.gone IS NULL OR upper(f.span) > f.gone
    ),
    -- Windows of ids that follow each other prove the time between their rows, too.
    windows AS (
        SELECT k.span, k.from_id, k.job_id,
               k.is_cut IS NOT TRUE
               AND k.from_id <= 1 + max(k.to_id) OVER (ORDER BY k.from_id, k.job_id
                                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS joined
        FROM kept k
    ),
    chains AS (
        SELECT w.span, count(*) FILTER (WHERE w.joined IS NOT TRUE) OVER (ORDER BY w.from_id, w.job_id) AS chain
        FROM windows w
    ),
    fetched AS (
        SELECT tstzrange(min(lower(c.span)), max(upper(c.span))) AS span
        FROM chains c
        GROUP BY c.chain
        HAVING count(c.span) > 0
    ),
    claims AS (
        SELECT coalesce((SELECT range_agg(l.span) FROM lacking l), '{}') AS missing,
               coalesce((SELECT range_agg(f.span) FROM fetched f), '{}')
               + CASE WHEN stream.promise <> 'none' AND greatest(stream.covered_from, removed) < stream.proved_to
                      THEN tstzmultirange(tstzrange(greatest(stream.covered_from, removed), stream.proved_to))
                      ELSE '{}' END AS proved,
               CASE WHEN greatest(stream.covered_from, removed) < stream.attested_to
                    THEN tstzmultirange(tstzrange(greatest(stream.covered_from, removed), stream.attested_to))
                    ELSE '{}' END AS attested,
               CASE WHEN begun < removed THEN tstzmultirange(tstzrange(begun, removed)) ELSE '{}' END AS gone
    ),
    pieces AS (
        SELECT n.moment, n.until, 'gap' AS grade, n.cause, n.state FROM named n
        UNION ALL
        SELECT lower(r), upper(r), 'proved', NULL, NULL
        FROM claims c, unnest(asked * c.proved - c.missing) AS r
        UNION ALL
        SELECT lower(r), upper(r), 'attested', NULL, NULL
        FROM claims c, unnest(asked * c.attested - c.proved - c.missing) AS r
        UNION ALL
        SELECT lower(r), upper(r), 'gap', 'retention', NULL
        FROM claims c, unnest(asked * c.gone - c.proved - c.attested - c.missing) AS r
        UNION ALL
        SELECT lower(r), upper(r), 'gap',
               CASE WHEN lower(r) >= watermark AND stream.state <> 'stopped' THEN 'not committed' ELSE 'not collected' END,
               NULL
        FROM claims c, unnest(asked - c.gone - c.proved - c.attested - c.missing) AS r
    ),
    -- Cells of an island that say the same are one piece again.
    changes AS (
        SELECT p.*, (p.grade, p.cause, p.state, p.moment)
                    IS DISTINCT FROM (lag(p.grade) OVER w, lag(p.cause) OVER w, lag(p.state) OVER w, lag(p.until) OVER w) AS new
        FROM pieces p
        WINDOW w AS (ORDER BY p.moment)
    ),
    numbered AS (
        SELECT c.*, count(*) FILTER (WHERE c.new) OVER (ORDER BY c.moment) AS number FROM changes c
    )
    SELECT min(n.moment), max(n.until), n.grade, n.cause, n.state,
           extract(epoch FROM max(n.until)) - extract(epoch FROM min(n.moment)),
           100 * (extract(epoch FROM max(n.until)) - extract(epoch FROM min(n.moment)))
               / (extract(epoch FROM ends) - extract(epoch FROM starts))
    FROM numbered n
    GROUP BY n.number, n.grade, n.cause, n.state
    ORDER BY 1;
END
$$;
COMMENT ON FUNCTION market.coverage_of(int, text, timestamptz, timestamptz) IS 'market.coverage by instrument_id.';

CREATE OR REPLACE FUNCTION market.coverage(exchange text, symbol text, channel text,
                                           "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (from_time timestamptz, to_time timestamptz, grade text, cause text, state text, seconds numeric, percent numeric)
LANGUAGE sql STABLE AS $$
    SELECT * FROM market.coverage_of(market.must_find($1, $2, $3), $3, $4, $5)
$$;
COMMENT ON FUNCTION market.coverage(text, text, text, timestamptz, timestamptz) IS 'A stream''s completeness: intervals from (inclusive) to (exclusive) that fill the range in order, each proved, attested or a gap with cause and state. NULL: from where it began; to now. Nothing is said of the future.';

CREATE OR REPLACE FUNCTION market.coverage_summary(exchange text, symbol text, channel text,
                                                   "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (proved_percent numeric, attested_percent numeric, gap_percent numeric, gaps bigint)
LANGUAGE sql STABLE AS $$
    SELECT trunc(100 * coalesce(sum(c.seconds) FILTER (WHERE c.grade = 'proved'), 0) / sum(c.seconds), 6),
           trunc(100 * coalesce(sum(c.seconds) FILTER (WHERE c.grade = 'attested'), 0) / sum(c.seconds), 6),
           round(ceil(100000000 * coalesce(sum(c.seconds) FILTER (WHERE c.grade = 'gap'), 0) / sum(c.seconds)) / 1000000, 6),
           count(*) FILTER (WHERE c.grade = 'gap')
    FROM market.coverage($1, $2, $3, $4, $5) c
$$;
COMMENT ON FUNCTION market.coverage_summary(text, text, text, timestamptz, timestamptz) IS 'The percentages of market.coverage: what is covered is rounded down and gaps are rounded up, so that 100 and 0 mean just that.';
