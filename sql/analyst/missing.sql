-- What is missing, where and why, and what became of it? The latest first; repaired gaps are left out.
-- :from = yesterday
-- :to = tomorrow
SELECT exchange, symbol, channel, lower(span) AS from_time, upper(span) AS to_time, duration, missing_ids, cause, state, detail
FROM market.gaps
WHERE state <> 'repaired' AND span && tstzrange(:'from', :'to')
ORDER BY lower(span) DESC NULLS LAST, exchange, symbol, channel;
