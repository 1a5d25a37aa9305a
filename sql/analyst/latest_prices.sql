-- The latest price of every instrument, and where it is from.
-- :at = now
SELECT exchange, symbol, price, time, source
FROM market.latest(at => :'at')
ORDER BY exchange, symbol;
