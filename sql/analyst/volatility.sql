-- How restless is each instrument? Realized volatility of the range, and the same for a year, in percent.
-- :interval = 5 minutes
-- :from = yesterday
-- :to = tomorrow
SELECT i.exchange, i.symbol, v.returns, round(100 * v.volatility::numeric, 4) AS percent,
       round(100 * v.annualized::numeric, 2) AS percent_a_year
FROM market.instruments i
CROSS JOIN LATERAL market.realized_volatility(i.exchange, i.symbol, :'interval', :'from', :'to') v
WHERE i.delisted_at IS NULL
ORDER BY v.volatility DESC, i.exchange, i.symbol;
