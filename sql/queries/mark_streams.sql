-- How far each stream is complete; runs in the transaction that stores the rows below the mark.
UPDATE ingest.streams s
SET covered_from = coalesce(s.covered_from, n.began_at),
    watermark_id = greatest(s.watermark_id, n.watermark_id),
    proved_to = greatest(s.proved_to, n.proved_to),
    attested_to = greatest(s.attested_to, n.attested_to)
FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(began_ats)s::timestamptz[],
            %(watermark_ids)s::bigint[], %(proved_tos)s::timestamptz[], %(attested_tos)s::timestamptz[])
     AS n (instrument_id, channel, began_at, watermark_id, proved_to, attested_to)
WHERE s.instrument_id = n.instrument_id AND s.channel = n.channel
