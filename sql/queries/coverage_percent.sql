-- The percentages of one stream's coverage: what is covered rounded down and gaps rounded up.
SELECT coalesce(trunc(100 * sum(c.seconds) FILTER (WHERE c.grade = 'proved') / sum(c.seconds), 4), 0)::float,
       coalesce(trunc(100 * sum(c.seconds) FILTER (WHERE c.grade = 'attested') / sum(c.seconds), 4), 0)::float,
       coalesce(ceil(1000000 * sum(c.seconds) FILTER (WHERE c.grade = 'gap') / sum(c.seconds)) / 10000, 0)::float
FROM market.coverage_of(%(instrument_id)s, %(channel)s, %(from_time)s, %(to_time)s) c
