-- How each venue is now; ages by the database's clock.
SELECT exchange, state, detail, since, extract(epoch FROM now() - since)::float AS since_seconds,
       extract(epoch FROM now() - checked_at)::float AS checked_seconds, latency_ms, limiter::float AS free
FROM market.exchange_status
WHERE until IS NULL
ORDER BY exchange
