-- Rows committed so far and the latest batch's delay from receipt to commit, by channel.
SELECT channel, sum(rows_stored)::bigint AS rows, count(*) FILTER (WHERE state = 'live') AS live, count(*) AS streams,
       extract(epoch FROM max(committed_at - last_received_at))::float AS lag_seconds
FROM ingest.streams
GROUP BY channel
