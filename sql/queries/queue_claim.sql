-- Take windows that are due, or whose claim has expired: repairs before backfill, the oldest first; where ranges are
-- given, of those that reach into one of them.
WITH due AS (
    SELECT job_id
    FROM ingest.backfill_jobs j
    WHERE instrument_id = ANY (%(instrument_ids)s) AND purpose = ANY (%(purposes)s)
      AND (state = 'waiting' AND not_before <= now() OR state = 'claimed' AND claimed_until < now())
      AND (%(range_ids)s::int[] IS NULL
           OR EXISTS (SELECT FROM unnest(%(range_ids)s::int[], %(range_channels)s::text[], %(range_timeframes)s::text[],
                                         %(range_froms)s::timestamptz[], %(range_tos)s::timestamptz[])
                              AS r (instrument_id, channel, timeframe, from_time, to_time)
                      WHERE r.instrument_id = j.instrument_id AND r.channel = j.channel
                        AND r.timeframe IS NOT DISTINCT FROM j.timeframe
                        AND coalesce(j.from_time, '-infinity') < r.to_time AND coalesce(j.to_time, 'infinity') >= r.from_time))
    ORDER BY purpose DESC, job_id
    LIMIT %(count)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE ingest.backfill_jobs j
    SET state = 'claimed', claimed_by = %(worker)s, claimed_until = now() + make_interval(secs => %(seconds)s)
    FROM due
    WHERE j.job_id = due.job_id
    RETURNING j.*
)
SELECT job_id, purpose, attempts, instrument_id, channel,
       (extract(epoch FROM from_time) * 1000000)::bigint * 1000, (extract(epoch FROM to_time) * 1000000)::bigint * 1000,
       from_id, to_id, coalesce(timeframe, '1m')
FROM claimed
ORDER BY purpose DESC, job_id
