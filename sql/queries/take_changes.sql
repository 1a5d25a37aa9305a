-- What has changed, oldest first, taken out of the queue: merged by channel and instrument into half-open intervals of
-- whole minutes. How many rows were taken stands with each.
WITH taken AS MATERIALIZED (
    DELETE FROM ingest.rollup_changes
    WHERE change_id IN (SELECT change_id FROM ingest.rollup_changes WHERE channel = ANY (%(channels)s)
                        ORDER BY change_id LIMIT %(count)s FOR UPDATE SKIP LOCKED)
    RETURNING channel, instrument_id, from_time, to_time
),
merged AS (
    SELECT channel, instrument_id,
           range_agg(tstzrange(date_bin('1 minute', least(from_time, to_time), 'epoch'),
                               date_bin('1 minute', greatest(from_time, to_time), 'epoch') + INTERVAL '1 minute')) AS spans
    FROM taken
    GROUP BY channel, instrument_id
)
SELECT m.channel, m.instrument_id, lower(s.span), upper(s.span), (SELECT count(*) FROM taken)
FROM merged m, unnest(m.spans) AS s (span)
ORDER BY 1, 3
