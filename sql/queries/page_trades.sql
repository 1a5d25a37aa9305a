-- The last trades, the newest first; numbers as the digits that are stored.
SELECT extract(epoch FROM time)::float8, side, price::text, amount::text
FROM market.last_trades(%(exchange)s, %(symbol)s, %(count)s)
