-- Ids that are missing between the stored trades of one instrument from one time to another (both inclusive), where no
-- gap names them and no finished job has shown that the venue lacks them, with the times of the trades around them.
--
-- One pass in the order of the key, without a sort: where an id does not follow the one before it a run of ids begins.
-- Runs are few; they are put in the order of their ids, so that neither times out of order nor the same id twice
-- (a dump in milliseconds beside a stream in microseconds) make a hole or hide one.
WITH steps AS (
    SELECT t.time, t.trade_id, t.trade_id::bigint AS id, lag(t.trade_id::bigint) OVER w AS before_id,
           lag(t.time) OVER w AS before_time
    FROM ingest.trades t
    WHERE t.instrument_id = %(instrument_id)s AND t.time >= %(from_time)s AND t.time <= %(to_time)s
      AND t.trade_id ~ '^[0-9]{1,18}$' -- a file that somebody mapped may have brought others
    WINDOW w AS (ORDER BY t.time, t.trade_id)
),
final AS (
    SELECT t.trade_id::bigint AS id, t.time
    FROM ingest.trades t
    WHERE t.instrument_id = %(instrument_id)s AND t.time >= %(from_time)s AND t.time <= %(to_time)s
      AND t.trade_id ~ '^[0-9]{1,18}$'
    ORDER BY t.time DESC, t.trade_id DESC
    LIMIT 1
),
breaks AS MATERIALIZED (
    SELECT s.* FROM steps s WHERE s.id IS DISTINCT FROM s.before_id + 1
),
runs AS MATERIALIZED (
    SELECT b.id AS first_id, b.time AS first_time, coalesce(lead(b.before_id) OVER w, f.id) AS last_id,
           coalesce(lead(b.before_time) OVER w, f.time) AS last_time
    FROM breaks b, final f
    WINDOW w AS (ORDER BY b.time, b.trade_id)
),
-- The highest id so far, and its time in microseconds: a join would compare all runs with all.
reaches AS (
    SELECT r.first_id, r.first_time,
           max(ARRAY[r.last_id, ingest.epoch_ns(r.last_time) / 1000])
               OVER (ORDER BY r.first_id, r.last_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
    FROM runs r
),
holes AS (
    SELECT e.reached[1] + 1 AS from_id, e.first_id - 1 AS to_id, e.first_time,
           timestamptz 'epoch' + e.reached[2] * INTERVAL '1 microsecond' AS last_time
    FROM reaches e
    WHERE e.first_id > e.reached[1] + 1
),
-- A gap that is told by time alone names every hole inside of it, and so does time that was not collected.
named AS (
    SELECT coalesce(range_agg(int8range(g.from_id, g.to_id, '[]')) FILTER (WHERE g.from_id <= coalesce(g.to_id, g.from_id)), '{}') AS ids,
           coalesce(range_agg(g.span) FILTER (WHERE g.from_id IS NULL), '{}') + (
               SELECT coalesce(range_agg(tstzrange(c.from_time, c.to_time)), '{}')
               FROM market.coverage_of(%(instrument_id)s, 'trades', %(from_time)s, %(to_time)s) c
               WHERE c.grade = 'gap' AND c.state IS NULL
           ) AS times
    FROM market.gaps g
    WHERE g.instrument_id = %(instrument_id)s AND g.channel = 'trades' AND g.state <> 'repaired'
),
-- The venue was asked for these ids and gave fewer: the others do not exist.
absent AS (
    SELECT coalesce(range_agg(int8range(f.from_id, f.to_id, '[]')), '{}') AS ids
    FROM market.fetched f
    WHERE f.instrument_id = %(instrument_id)s AND f.channel = 'trades' AND f.from_id <= f.to_id
      AND f.rows_stored + f.rows_known < f.to_id - f.from_id + 1
)
SELECT lower(part) AS from_id, upper(part) - 1 AS to_id, least(h.last_time, h.first_time) AS from_time,
       greatest(h.last_time, h.first_time) AS to_time
FROM holes h, named n, absent a,
     unnest(int8multirange(int8range(h.from_id, h.to_id, '[]')) - n.ids - a.ids) AS part
WHERE NOT n.times @> tstzrange(least(h.last_time, h.first_time), greatest(h.last_time, h.first_time), '[]')
ORDER BY from_id
