-- Under Community the server notices changes by itself where it looks back so far; older ones become requests, of whole
-- days: within them it makes anew only what has changed.
WITH taken AS (
    DELETE FROM ingest.rollup_changes RETURNING channel, from_time, to_time
),
merged AS (
    SELECT channel,
           range_agg(tstzrange(date_bin('1 day', least(from_time, to_time), 'epoch'),
                               date_bin('1 day', greatest(from_time, to_time), 'epoch') + INTERVAL '1 day')) AS spans
    FROM taken
    WHERE least(from_time, to_time) < ingest.told_before(channel)
    GROUP BY channel
)
INSERT INTO ingest.refresh_requests (table_name, from_time, to_time)
SELECT CASE m.channel WHEN 'candles' THEN 'candles_5m' WHEN 'trades' THEN 'trade_candles_1m' WHEN 'book' THEN 'book_1m' END,
       lower(s.span), upper(s.span)
FROM merged m, unnest(m.spans) AS s (span)
