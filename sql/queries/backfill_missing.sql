-- What a backfill of trades or one-minute candles has to fetch: a range less what is there, what was fetched, what is on the
-- queue, and what a backfill has found not to be had. Half-open parts in nanoseconds, in order.
WITH asked AS (
    SELECT tstzrange(%(from_time)s, %(to_time)s) AS span
),
gaps AS (
    SELECT g.span, g.state, g.cause, g.updated_at
    FROM market.gaps g, asked
    WHERE g.instrument_id = %(instrument_id)s AND g.channel = %(channel)s AND g.state <> 'repaired' AND g.span && asked.span
),
-- A window that was fetched counts unless its rows were removed since, or something was found missing there since.
fetched AS (
    SELECT f.span
    FROM market.fetched f, asked
    WHERE f.instrument_id = %(instrument_id)s AND f.channel = %(channel)s AND f.purpose = 'backfill' AND f.span && asked.span
      AND NOT EXISTS (SELECT FROM market.removals r
                      WHERE r.channel = %(channel)s AND r.before > lower(f.span) AND r.removed_at >= f.finished_at)
      AND NOT EXISTS (SELECT FROM gaps g WHERE g.span && f.span AND g.updated_at > f.finished_at AND g.cause <> 'backfill')
),
spans AS (
    SELECT tstzrange(c.from_time, c.to_time) AS span
    FROM market.coverage_of(%(instrument_id)s, %(channel)s, %(from_time)s, %(to_time)s) c
    WHERE c.grade <> 'gap'
    UNION ALL
    SELECT f.span FROM fetched f
    UNION ALL
    SELECT g.span FROM gaps g
    WHERE g.state = 'repairing' OR g.state <> 'open' AND g.cause = 'backfill'
    UNION ALL
    SELECT tstzrange(j.from_time, j.to_time + %(step)s)
    FROM ingest.backfill_jobs j, asked
    WHERE j.purpose = 'backfill' AND j.instrument_id = %(instrument_id)s AND j.channel = %(channel)s AND j.timeframe IS NULL
      AND j.state IN ('waiting', 'claimed', 'cut') AND j.from_time < upper(asked.span) AND j.to_time >= lower(asked.span)
),
missing AS (
    SELECT m.span
    FROM asked, unnest(tstzmultirange(asked.span) - coalesce((SELECT range_agg(s.span) FROM spans s), '{}')) AS m (span)
),
-- Rows that nobody vouches for, from a file or another program: minutes on the grid, ids in a row. They must be many to
-- be worth a cut. Others may share the moments of the first and the last id of a run, so these are asked for.
stored AS (
    SELECT tstzrange(min(c.time), max(c.time) + INTERVAL '1 minute') AS span
    FROM missing m
    CROSS JOIN LATERAL (
        SELECT c.time, c.time - row_number() OVER (ORDER BY c.time) * INTERVAL '1 minute' AS run
        FROM ingest.candles_1m c
        WHERE %(channel)s = 'candles' AND c.instrument_id = %(instrument_id)s AND c.source > 0
          AND c.received_at >= c.time + INTERVAL '1 minute' AND c.time >= lower(m.span) AND c.time < upper(m.span)
    ) c
    GROUP BY m.span, c.run
    UNION ALL
    SELECT tstzrange(min(t.time) + INTERVAL '1 microsecond', greatest(min(t.time) + INTERVAL '1 microsecond', max(t.time)))
    FROM missing m
    CROSS JOIN LATERAL (
        SELECT n.time, n.id - row_number() OVER (ORDER BY n.id) AS run
        FROM (SELECT t.time, CASE WHEN t.trade_id ~ '^[0-9]{1,18}$' THEN t.trade_id::bigint END AS id
              FROM ingest.trades t
              WHERE %(channel)s = 'trades' AND %(by_id)s AND t.instrument_id = %(instrument_id)s
                AND t.time >= lower(m.span) AND t.time < upper(m.span)) n
        WHERE n.id IS NOT NULL
    ) t
    GROUP BY m.span, t.run
    HAVING count(*) > 10 * %(page)s
)
SELECT (extract(epoch FROM lower(p.span)) * 1000000)::bigint * 1000, (extract(epoch FROM upper(p.span)) * 1000000)::bigint * 1000
FROM unnest(coalesce((SELECT range_agg(m.span) FROM missing m), '{}') - coalesce((SELECT range_agg(s.span) FROM stored s), '{}'))
     AS p (span)
ORDER BY 1
