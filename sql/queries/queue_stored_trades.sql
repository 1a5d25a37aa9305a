-- Runs of ids that are stored between two ids, with the times of each run's ends. The times of a gap come from two
-- clocks, the venue's and ours, so they are no strict bounds.
SELECT min(id), max(id), (extract(epoch FROM min(time)) * 1000000)::bigint * 1000,
       (extract(epoch FROM max(time)) * 1000000)::bigint * 1000
FROM (
    SELECT id, time, id - dense_rank() OVER (ORDER BY id) AS run
    FROM (
        SELECT CASE WHEN t.trade_id ~ '^[0-9]{1,18}$' THEN t.trade_id::bigint END AS id, t.time
        FROM ingest.trades t
        WHERE t.instrument_id = %(instrument_id)s
          AND t.time BETWEEN least(%(from_time)s::timestamptz, %(to_time)s) - INTERVAL '1 hour'
                         AND greatest(%(from_time)s::timestamptz, %(to_time)s) + INTERVAL '1 hour'
    ) numbered
    WHERE id BETWEEN %(from_id)s AND %(to_id)s
) stored
GROUP BY run
ORDER BY 1
