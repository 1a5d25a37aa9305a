-- How much stands in the book near the price? Within 5, 10, 25 and 50 hundredths of a percent of the mid, in base currency.
-- Where reach is false the stored levels end before that distance.
-- :exchange = binance
-- :symbol = BTC/USDT
-- :at = now
SELECT d.time, bps, d.bid_volume, d.ask_volume, round(100 * d.bid_share, 2) AS bid_percent, d.bids_reach, d.asks_reach
FROM unnest(ARRAY[5, 10, 25, 50]) AS bps
CROSS JOIN LATERAL market.depth(:'exchange', :'symbol', bps, :'at') d
ORDER BY bps;
