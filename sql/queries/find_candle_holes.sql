-- Minutes without a closed candle of one instrument among the whole minutes of a range, where no gap names them,
-- they were collected, and nothing shows that they were empty: a finished job that fetched them, or trades with contiguous ids on either side.
-- From the open of the first to the open of the last missing minute of each interval.
WITH grid AS (
    SELECT date_bin('1 minute', %(from_time)s::timestamptz - INTERVAL '1 microsecond', 'epoch') + INTERVAL '1 minute' AS starts,
           date_bin('1 minute', %(to_time)s::timestamptz, 'epoch') AS ends
),
stored AS (
    SELECT coalesce(range_agg(tstzrange(c.time, c.time + INTERVAL '1 minute')), '{}') AS minutes
    FROM ingest.candles_1m c
    WHERE c.instrument_id = %(instrument_id)s AND c.source > 0
      AND c.time >= %(from_time)s AND c.time < %(to_time)s
),
named AS (
    SELECT coalesce(range_agg(tstzrange(date_bin('1 minute', c.from_time, 'epoch'),
                                        date_bin('1 minute', c.to_time - INTERVAL '1 microsecond', 'epoch') + INTERVAL '1 minute')),
                    '{}') AS minutes
    FROM market.coverage_of(%(instrument_id)s, 'candles', %(from_time)s, %(to_time)s) c
    WHERE c.grade = 'gap'
),
fetched AS (
    SELECT coalesce(range_agg(f.span), '{}') AS minutes
    FROM market.fetched f
    WHERE f.instrument_id = %(instrument_id)s AND f.channel = 'candles'
),
unexplained AS MATERIALIZED (
    SELECT tstzmultirange(tstzrange(g.starts, g.ends)) - s.minutes - n.minutes - f.minutes AS minutes
    FROM grid g, stored s, named n, fetched f
    WHERE g.starts < g.ends
),
-- Only the trades from the first to the last minute in question are read, with the one before and the one behind.
bounds AS MATERIALIZED (
    SELECT coalesce((SELECT max(t.time) FROM ingest.trades t
                     WHERE t.instrument_id = %(instrument_id)s AND t.time < lower(u.minutes)), lower(u.minutes)) AS starts,
           coalesce((SELECT min(t.time) FROM ingest.trades t
                     WHERE t.instrument_id = %(instrument_id)s AND t.time >= upper(u.minutes)), upper(u.minutes)) AS ends
    FROM unexplained u
    WHERE NOT isempty(u.minutes)
      AND EXISTS (SELECT FROM market.streams s
                  WHERE s.instrument_id = %(instrument_id)s AND s.channel = 'trades' AND s.promise = 'ids')
),
steps AS (
    SELECT t.time, t.trade_id::bigint AS id, lag(t.trade_id::bigint) OVER w AS before_id, lag(t.time) OVER w AS before_time
    FROM ingest.trades t
    WHERE t.instrument_id = %(instrument_id)s
      AND t.time >= (SELECT b.starts FROM bounds b) AND t.time <= (SELECT b.ends FROM bounds b)
    WINDOW w AS (ORDER BY t.time, t.trade_id)
),
quiet AS (
    SELECT coalesce(range_agg(tstzrange(date_bin('1 minute', s.before_time, 'epoch') + INTERVAL '1 minute',
                                        date_bin('1 minute', s.time, 'epoch'))), '{}') AS minutes
    FROM steps s
    WHERE s.id = s.before_id + 1
      AND date_bin('1 minute', s.before_time, 'epoch') + INTERVAL '1 minute' < date_bin('1 minute', s.time, 'epoch')
)
SELECT lower(part) AS from_time, upper(part) - INTERVAL '1 minute' AS to_time
FROM unexplained u, quiet q, unnest(u.minutes - q.minutes) AS part
ORDER BY 1
