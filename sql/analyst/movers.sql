-- Which prices moved most, from the first open to the last close?
-- :from = yesterday
-- :to = tomorrow
SELECT i.exchange, i.symbol, m.first_price, m.last_price, round(100 * (m.last_price / m.first_price - 1), 4) AS percent,
       m.lowest, m.highest
FROM market.instruments i
CROSS JOIN LATERAL (
    SELECT first(o.open, o.time) AS first_price, last(o.close, o.time) AS last_price, min(o.low) AS lowest, max(o.high) AS highest
    FROM market.ohlcv(i.exchange, i.symbol, '1 hour', :'from', :'to') o
    HAVING count(*) > 0
) m
WHERE i.delisted_at IS NULL
ORDER BY abs(m.last_price / m.first_price - 1) DESC, i.exchange, i.symbol;
