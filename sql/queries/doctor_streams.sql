-- Streams that say they run, and have not come further for a while; those that are blocked or cannot connect.
-- Of what comes seldom (a liquidation, a rate) only its line can tell that it goes on, not the time of its latest row.
SELECT s.exchange, s.symbol, s.channel, s.state, s.detail, p.at
FROM market.streams s
CROSS JOIN LATERAL (
    SELECT CASE WHEN s.channel IN ('liquidations', 'funding', 'open_interest') THEN s.attested_to
                ELSE greatest(s.committed_at, s.proved_to, s.attested_to) END AS at
) p
WHERE s.state = 'live' AND coalesce(p.at, s.state_since) < now() - make_interval(secs => %(seconds)s)
      AND (p.at IS NOT NULL OR s.channel NOT IN ('liquidations', 'funding', 'open_interest'))
   OR s.state IN ('starting', 'reconnecting', 'blocked') AND s.state_since < now() - make_interval(secs => %(seconds)s)
ORDER BY p.at NULLS FIRST, s.exchange, s.symbol, s.channel
