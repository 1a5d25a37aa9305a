-- Is one instrument's record of the last day complete? Each interval with its grade; a gap says why.
SELECT from_time, to_time, grade, cause, state, round(seconds, 3) AS seconds, round(percent, 4) AS percent
FROM market.coverage(:'exchange', :'symbol', 'trades', now() - INTERVAL '1 day', now())
ORDER BY from_time;
