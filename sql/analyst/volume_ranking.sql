-- Which instruments are traded most? By value in quote currency, so compare within one quote currency.
-- :quote = USDT
-- :from = yesterday
-- :to = tomorrow
SELECT i.exchange, i.symbol, sum(o.volume) AS volume, round(sum(o.quote_volume), 8) AS value, sum(o.trades)::bigint AS trades
FROM market.instruments i
CROSS JOIN LATERAL market.ohlcv(i.exchange, i.symbol, '1 hour', :'from', :'to') o
WHERE i.quote = :'quote' AND i.delisted_at IS NULL
GROUP BY i.exchange, i.symbol
ORDER BY value DESC, i.exchange, i.symbol;
