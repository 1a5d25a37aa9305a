-- Runs of whole candles that are stored between two minutes: the opens of each run's first and last.
SELECT (extract(epoch FROM min(time)) * 1000000)::bigint * 1000, (extract(epoch FROM max(time)) * 1000000)::bigint * 1000
FROM (
    SELECT c.time, c.time - row_number() OVER (ORDER BY c.time) * INTERVAL '1 minute' AS run
    FROM ingest.candles_1m c
    WHERE c.instrument_id = %(instrument_id)s AND c.source > 0
      AND c.time BETWEEN date_bin('1 minute', %(from_time)s::timestamptz, 'epoch') AND %(to_time)s
) stored
GROUP BY run
ORDER BY 1
