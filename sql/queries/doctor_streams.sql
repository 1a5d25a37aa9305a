-- Streams that say they run, and have not come further for a while; those that are blocked or cannot connect.
SELECT s.exchange, s.symbol, s.channel, s.state, s.detail, p.at
FROM market.streams s
CROSS JOIN LATERAL (SELECT greatest(s.committed_at, s.proved_to, s.attested_to) AS at) p
WHERE s.state = 'live' AND coalesce(p.at, s.state_since) < now() - make_interval(secs => %(seconds)s)
   OR s.state IN ('starting', 'reconnecting', 'blocked') AND s.state_since < now() - make_interval(secs => %(seconds)s)
ORDER BY p.at NULLS FIRST, s.exchange, s.symbol, s.channel
