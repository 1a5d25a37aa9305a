-- Make the streams known; give back those that may run, with how far each is complete and the gap that it was left
-- with. A stream whose stored ids count something else is not given back: two id spaces in one stream could not be
-- told apart any more.
WITH admitted AS (
    INSERT INTO ingest.streams AS s (instrument_id, channel, id_space, promise, state)
    SELECT n.*, CASE WHEN %(starting)s THEN 'starting' ELSE 'stopped' END
    FROM unnest(%(instrument_ids)s::int[], %(channels)s::text[], %(id_spaces)s::text[], %(promises)s::text[]) AS n
    ON CONFLICT (instrument_id, channel) DO UPDATE
    SET state = CASE WHEN %(starting)s THEN 'starting' ELSE s.state END,
        detail = CASE WHEN %(starting)s THEN NULL ELSE s.detail END,
        state_since = CASE WHEN %(starting)s THEN now() ELSE s.state_since END,
        promise = excluded.promise,
        id_space = CASE WHEN s.last_time IS NULL THEN excluded.id_space ELSE s.id_space END
    WHERE s.id_space = excluded.id_space OR s.last_time IS NULL
    RETURNING instrument_id, channel, watermark_id, coalesce(proved_to, attested_to) AS proved_to, attested_to
)
SELECT a.instrument_id, a.channel, a.watermark_id,
       ingest.epoch_ns(CASE WHEN a.watermark_id IS NULL THEN a.attested_to ELSE a.proved_to END),
       g.cause, ingest.epoch_ns(g.from_time), g.from_id, g.evidence,
       ingest.epoch_ns(g.opened_at)
FROM admitted a
LEFT JOIN LATERAL (
    SELECT * FROM ingest.gaps g
    WHERE g.instrument_id = a.instrument_id AND g.channel = a.channel AND g.state = 'open' AND g.to_time IS NULL
    ORDER BY g.from_time LIMIT 1
) g ON true
