-- The venue's state now, as a shard sees it: its present row goes on, or ends where another begins. A row that was not
-- looked at for a minute ends where it was seen last: the daemon was killed, and nobody knows of the time after. So do
-- those of shards of another number, which are no more.
WITH venue AS (
    INSERT INTO ingest.exchanges (name) VALUES (%(exchange)s)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING exchange_id
),
present AS (
    SELECT s.exchange_id, s.shard, s.since, s.own AND s.state = %(state)s AND s.seen AS goes_on, s.seen
    FROM (SELECT *, checked_at > now() - INTERVAL '1 minute' AS seen, shard = %(shard)s AS own FROM ingest.exchange_status) s
    JOIN venue USING (exchange_id)
    WHERE s.until IS NULL AND (s.own OR NOT s.seen AND split_part(s.shard, '/', 2) <> split_part(%(shard)s, '/', 2))
),
kept AS (
    UPDATE ingest.exchange_status s
    SET checked_at = CASE WHEN p.goes_on THEN now() ELSE s.checked_at END,
        latency_ms = CASE WHEN p.goes_on THEN coalesce(%(latency_ms)s, s.latency_ms) ELSE s.latency_ms END,
        limiter = CASE WHEN p.goes_on THEN coalesce(%(free)s, s.limiter) ELSE s.limiter END,
        detail = CASE WHEN p.goes_on THEN %(detail)s ELSE s.detail END,
        until = CASE WHEN p.goes_on THEN NULL WHEN p.seen THEN now() ELSE s.checked_at END
    FROM present p
    WHERE s.exchange_id = p.exchange_id AND s.shard = p.shard AND s.since = p.since
    RETURNING s.until
)
-- Reading `kept` makes its update come first: a shard has one present row of a venue.
INSERT INTO ingest.exchange_status (exchange_id, since, state, detail, checked_at, latency_ms, limiter, shard)
SELECT venue.exchange_id, now(), %(state)s, %(detail)s, now(), %(latency_ms)s, %(free)s, %(shard)s
FROM venue
WHERE NOT EXISTS (SELECT FROM kept WHERE until IS NULL)
