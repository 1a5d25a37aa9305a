-- How each venue is now; ages by the database's clock. Of several shards that look at it the worst, else the latest word.
SELECT DISTINCT ON (exchange)
       exchange, state, detail, since, extract(epoch FROM now() - since)::float AS since_seconds,
       extract(epoch FROM now() - checked_at)::float AS checked_seconds, latency_ms, limiter::float AS free
FROM market.exchange_status
WHERE until IS NULL
ORDER BY exchange,
         CASE WHEN state <> 'stopped' AND checked_at > now() - INTERVAL '1 minute'
              THEN array_position(ARRAY['blocked', 'maintenance', 'offline', 'degraded', 'online'], state) END,
         checked_at DESC
