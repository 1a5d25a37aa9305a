-- The gaps to look at: first what is to be repaired, then the latest ones.
SELECT exchange, symbol, channel, from_time, to_time, extract(epoch FROM duration)::float8, missing_ids, cause, state, detail,
       opened_at, closed_at, attempts
FROM market.gaps
ORDER BY state IN ('open', 'repairing') DESC, opened_at DESC, gap_id DESC
LIMIT %(limit)s
