-- Staged trades into ingest.trades, the first one under an id wins. A source in milliseconds (an old dump) and one
-- in microseconds name the same trade, so rows are the same when id and millisecond agree. Besides the count of new
-- rows by instrument it returns the place of each staged row whose id stands for another price, amount or side.
-- instrument_ids, from_time and to_time bound the staged rows, so that the key's index finds what is stored of them.
WITH matched AS MATERIALIZED (
    SELECT s.*, t.instrument_id IS NOT NULL AS known, t.price AS known_price, t.amount AS known_amount,
           t.side AS known_side
    FROM stage_trades s
    LEFT JOIN ingest.trades t
      ON t.instrument_id = ANY (%(instrument_ids)s) AND t.time >= %(from_time)s AND t.time < %(to_time)s
     AND t.instrument_id = s.instrument_id AND t.trade_id = s.trade_id
     AND t.time >= date_trunc('milliseconds', s.time)
     AND t.time < date_trunc('milliseconds', s.time) + INTERVAL '1 millisecond'
),
fresh AS MATERIALIZED (
    SELECT m.*, row_number() OVER same AS place, first_value(price) OVER same AS first_price,
           first_value(amount) OVER same AS first_amount, first_value(side) OVER same AS first_side
    FROM matched m
    WHERE NOT known
    WINDOW same AS (PARTITION BY instrument_id, trade_id, date_trunc('milliseconds', time) ORDER BY ordinal)
),
stored AS (
    INSERT INTO ingest.trades (time, instrument_id, trade_id, side, price, amount, received_at)
    SELECT time, instrument_id, trade_id, side, price, amount, received_at
    FROM fresh
    WHERE place = 1
    ORDER BY ordinal
    ON CONFLICT DO NOTHING
    RETURNING instrument_id
),
differing AS (
    SELECT ordinal, known_price AS price, known_amount AS amount, known_side AS side
    FROM matched
    WHERE known AND (known_price, known_amount, known_side) IS DISTINCT FROM (price, amount, side)
    UNION ALL
    SELECT ordinal, first_price, first_amount, first_side
    FROM fresh
    WHERE place > 1 AND (first_price, first_amount, first_side) IS DISTINCT FROM (price, amount, side)
)
SELECT instrument_id, count(*) AS stored, NULL AS position, NULL AS reason FROM stored GROUP BY instrument_id
UNION ALL
SELECT NULL, NULL, ordinal - (SELECT min(ordinal) FROM stage_trades),
       format('trade id is stored with price %%s, amount %%s, side %%s', price, amount, side)
FROM differing
