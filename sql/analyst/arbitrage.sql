-- Where could one buy and sell the same symbol at once, by the books of one moment? Before fees.
-- :at = now
-- :max_age = 1 minute
WITH books AS (
    SELECT i.exchange, i.symbol, b.time, b.best_bid, b.bid_amounts[1] AS bid_amount, b.best_ask, b.ask_amounts[1] AS ask_amount
    FROM market.instruments i
    CROSS JOIN LATERAL market.book_in_force(i.exchange, i.symbol, :'at', :'max_age') b
    WHERE i.delisted_at IS NULL AND b.time IS NOT NULL
)
SELECT a.symbol, a.exchange AS buy_at, a.best_ask AS ask, b.exchange AS sell_at, b.best_bid AS bid,
       round(10000 * (b.best_bid - a.best_ask) / a.best_ask, 4) AS gain_bps, least(a.ask_amount, b.bid_amount) AS amount
FROM books a
JOIN books b ON b.symbol = a.symbol AND b.exchange <> a.exchange AND b.best_bid > a.best_ask
ORDER BY gain_bps DESC, a.symbol, a.exchange;
