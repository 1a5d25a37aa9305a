-- How far each stream of a batch has come, and what is to be rolled up; runs in the transaction that stores the batch.
WITH news AS (
    SELECT * FROM unnest(%(instrument_ids)s::int[], %(first_times)s::timestamptz[], %(last_times)s::timestamptz[],
                         %(last_sequences)s::bigint[], %(last_received_ats)s::timestamptz[], %(received)s::bigint[],
                         %(stored)s::bigint[])
             AS n (instrument_id, first_time, last_time, last_sequence, last_received_at, received, stored)
),
changed AS (
    INSERT INTO ingest.rollup_changes (instrument_id, channel, from_time, to_time)
    SELECT n.instrument_id, %(channel)s, n.first_time, n.last_time
    FROM news n
    WHERE n.stored > 0 AND n.first_time < (SELECT ingest.told_before(%(channel)s))
)
UPDATE ingest.streams s
SET last_time = greatest(s.last_time, n.last_time),
    last_sequence = greatest(s.last_sequence, n.last_sequence),
    last_received_at = greatest(s.last_received_at, n.last_received_at),
    committed_at = clock_timestamp(),
    rows_stored = s.rows_stored + n.stored,
    rows_duplicate = s.rows_duplicate + n.received - n.stored
FROM news n
WHERE s.instrument_id = n.instrument_id AND s.channel = %(channel)s
