-- Do two symbols move together? The correlation of their returns, and how much the second moves with the first (beta).
-- :exchange = binance
-- :symbol = BTC/USDT
-- :other = ETH/USDT
-- :interval = 5 minutes
-- :from = yesterday
-- :to = tomorrow
SELECT count(*) AS returns, round(corr(a.log_return, b.log_return)::numeric, 6) AS correlation,
       round(regr_slope(b.log_return, a.log_return)::numeric, 6) AS beta
FROM market.returns(:'exchange', :'symbol', :'interval', :'from', :'to') a
JOIN market.returns(:'exchange', :'other', :'interval', :'from', :'to') b USING (time)
WHERE a.log_return IS NOT NULL AND b.log_return IS NOT NULL;
