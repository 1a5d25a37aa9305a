-- Latest spread and depth of every instrument: the amount within the stored levels on each side.
SELECT DISTINCT ON (b.instrument_id)
       b.exchange, b.symbol, b.time, b.best_bid, b.best_ask,
       round(10000 * b.spread / b.mid, 3) AS spread_bps,
       (SELECT sum(a) FROM unnest(b.bid_amounts) AS a) AS bid_depth,
       (SELECT sum(a) FROM unnest(b.ask_amounts) AS a) AS ask_depth
FROM market.order_books b
WHERE b.in_sync AND b.time > now() - INTERVAL '1 hour'
ORDER BY b.instrument_id, b.time DESC;
