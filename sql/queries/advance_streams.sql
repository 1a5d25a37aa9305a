-- How far each stream of a batch has come; runs in the transaction that stores the batch.
UPDATE ingest.streams s
SET last_time = greatest(s.last_time, n.last_time),
    last_sequence = greatest(s.last_sequence, n.last_sequence),
    last_received_at = greatest(s.last_received_at, n.last_received_at),
    committed_at = clock_timestamp(),
    rows_stored = s.rows_stored + n.stored,
    rows_duplicate = s.rows_duplicate + n.received - n.stored
FROM unnest(%(instrument_ids)s::int[], %(last_times)s::timestamptz[], %(last_sequences)s::bigint[],
            %(last_received_ats)s::timestamptz[], %(received)s::bigint[], %(stored)s::bigint[])
     AS n (instrument_id, last_time, last_sequence, last_received_at, received, stored)
WHERE s.instrument_id = n.instrument_id AND s.channel = %(channel)s
