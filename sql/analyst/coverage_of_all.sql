-- How complete is every stream? What is covered is rounded down and gaps are rounded up, so that 100 and 0 mean just that.
-- :from = yesterday
-- :to = tomorrow
SELECT s.exchange, s.symbol, s.channel, s.state, c.proved_percent, c.attested_percent, c.gap_percent, c.gaps
FROM market.streams s
CROSS JOIN LATERAL market.coverage_summary(s.exchange, s.symbol, s.channel, :'from', :'to') c
ORDER BY c.gap_percent DESC NULLS LAST, s.exchange, s.symbol, s.channel;
