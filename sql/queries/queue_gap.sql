-- What a gap spans.
SELECT instrument_id, channel,
       (extract(epoch FROM from_time) * 1000000)::bigint * 1000, (extract(epoch FROM to_time) * 1000000)::bigint * 1000,
       from_id, to_id
FROM ingest.gaps
WHERE gap_id = %(gap_id)s
FOR UPDATE
