-- The venue's state now: the present row goes on, or ends where another begins.
WITH venue AS (
    INSERT INTO ingest.exchanges (name) VALUES (%(exchange)s)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING exchange_id
),
going_on AS (
    UPDATE ingest.exchange_status s
    SET checked_at = now(), latency_ms = coalesce(%(latency_ms)s, s.latency_ms), limiter = coalesce(%(free)s, s.limiter),
        detail = %(detail)s
    FROM venue
    WHERE s.exchange_id = venue.exchange_id AND s.until IS NULL AND s.state = %(state)s
    RETURNING s.exchange_id
),
ended AS (
    UPDATE ingest.exchange_status s SET until = now()
    FROM venue
    WHERE s.exchange_id = venue.exchange_id AND s.until IS NULL AND s.state <> %(state)s
)
INSERT INTO ingest.exchange_status (exchange_id, since, state, detail, checked_at, latency_ms, limiter)
SELECT venue.exchange_id, now(), %(state)s, %(detail)s, now(), %(latency_ms)s, %(free)s
FROM venue
WHERE NOT EXISTS (SELECT FROM going_on)
