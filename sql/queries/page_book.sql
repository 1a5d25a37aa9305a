-- The latest snapshot of a day, some levels a side from the best price outwards; numbers as the digits that are stored.
SELECT time, bid_prices[:%(levels)s]::text[], bid_amounts[:%(levels)s]::text[],
       ask_prices[:%(levels)s]::text[], ask_amounts[:%(levels)s]::text[], spread::text, in_sync
FROM market.order_books
WHERE instrument_id = market.instrument_id(%(exchange)s, %(symbol)s) AND time > now() - INTERVAL '1 day'
ORDER BY time DESC
LIMIT 1
