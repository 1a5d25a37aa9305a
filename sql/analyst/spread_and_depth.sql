-- Latest spread and depth of every instrument: the amount within the stored levels on each side.
-- :at = tomorrow
-- :max_age = 2 days
SELECT b.exchange, b.symbol, b.time, b.best_bid, b.best_ask,
       round(10000 * b.spread / b.mid, 3) AS spread_bps,
       (SELECT sum(a) FROM unnest(b.bid_amounts) AS a) AS bid_depth,
       (SELECT sum(a) FROM unnest(b.ask_amounts) AS a) AS ask_depth
FROM market.instruments i
CROSS JOIN LATERAL market.book_in_force(i.exchange, i.symbol, :'at', :'max_age') b
WHERE i.delisted_at IS NULL AND b.time IS NOT NULL
ORDER BY b.exchange, b.symbol;
