-- The instrument listed now under this name; an error that tells the nearest name where there is none.
SELECT i.base, i.quote, i.kind, i.price_step::text, i.active
FROM market.instruments i
WHERE i.instrument_id = coalesce(market.instrument_id(%(exchange)s, %(symbol)s), market.must_find(%(exchange)s, %(symbol)s, 'candles'))
