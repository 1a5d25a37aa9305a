-- How did trades compare with the quote before them? Signed so that above zero the taker paid: in hundredths of a percent of the mid.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :from = yesterday
-- :to = tomorrow
-- :count = 20
SELECT t.time, t.side, t.price, t.amount, q.bid, q.ask,
       round(CASE t.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END * 10000 * (t.price - q.mid) / q.mid, 4) AS paid_bps
FROM market.trades t
CROSS JOIN LATERAL (
    SELECT q.bid, q.ask, q.mid FROM market.quotes q
    WHERE q.instrument_id = t.instrument_id AND q.time <= t.time AND q.time > t.time - INTERVAL '1 minute'
    ORDER BY q.time DESC, q.sequence DESC LIMIT 1
) q
WHERE t.instrument_id = (SELECT market.instrument_id(:'exchange', :'symbol'))
  AND t.time >= :'from'::timestamptz AND t.time < :'to'::timestamptz
ORDER BY t.time DESC, length(t.trade_id) DESC, t.trade_id DESC
LIMIT :'count'::bigint;
