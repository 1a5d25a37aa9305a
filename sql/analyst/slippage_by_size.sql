-- What does size cost? The average price of market orders of growing amounts against one book, and how far above the best
-- price and the mid it is, in hundredths of a percent.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :side = buy
-- :at = now
SELECT s.time, amount, s.filled, round(s.average_price, 8) AS average_price, s.worst_price,
       round(s.slippage_bps, 4) AS slippage_bps, round(s.cost_bps, 4) AS cost_bps, s.levels
FROM unnest(ARRAY[0.1, 0.5, 1, 2, 5, 10, 50]) AS amount
CROSS JOIN LATERAL market.slippage(:'exchange', :'symbol', :'side', amount, :'at') s
ORDER BY amount;
