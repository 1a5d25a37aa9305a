-- The same for candles that an exchange reports itself: a range less the candles that are whole, what was fetched (unless it
-- was removed since) and what is on the queue.
WITH asked AS (
    SELECT tstzrange(%(from_time)s, %(to_time)s) AS span
),
spans AS (
    SELECT tstzrange(min(c.time), max(c.time) + %(step)s) AS span
    FROM (
        SELECT c.time, c.time - row_number() OVER (ORDER BY c.time) * %(step)s AS run
        FROM ingest.candles_coarse c
        WHERE c.instrument_id = %(instrument_id)s AND c.timeframe = %(timeframe)s AND c.source > 0
          AND c.received_at >= c.time + %(step)s AND c.time >= %(from_time)s AND c.time < %(to_time)s
    ) c
    GROUP BY c.run
    UNION ALL
    SELECT tstzrange(j.from_time, j.to_time + %(step)s)
    FROM ingest.backfill_jobs j
    WHERE j.purpose = 'backfill' AND j.instrument_id = %(instrument_id)s AND j.channel = 'candles' AND j.timeframe = %(timeframe)s
      AND j.state IN ('waiting', 'claimed', 'done') AND j.from_time < %(to_time)s AND j.to_time >= %(from_time)s
      AND NOT EXISTS (SELECT FROM ingest.removals r
                      WHERE r.table_name = 'candles_coarse' AND r.before > j.from_time AND r.removed_at >= j.finished_at)
)
SELECT (extract(epoch FROM lower(p.span)) * 1000000)::bigint * 1000, (extract(epoch FROM upper(p.span)) * 1000000)::bigint * 1000
FROM asked, unnest(tstzmultirange(asked.span) - coalesce((SELECT range_agg(s.span) FROM spans s), '{}')) AS p (span)
ORDER BY 1
