-- What a backfill of a range could not fetch is to be tried again; a window whose parts all came meanwhile is done.
WITH again AS (
    UPDATE ingest.backfill_jobs j
    SET state = 'waiting', attempts = 0, not_before = now(), finished_at = NULL
    FROM unnest(%(range_ids)s::int[], %(range_channels)s::text[], %(range_timeframes)s::text[], %(range_froms)s::timestamptz[],
                %(range_tos)s::timestamptz[]) AS r (instrument_id, channel, timeframe, from_time, to_time)
    WHERE j.purpose = 'backfill' AND j.state = 'failed' AND j.instrument_id = r.instrument_id AND j.channel = r.channel
      AND j.timeframe IS NOT DISTINCT FROM r.timeframe AND j.from_time < r.to_time AND j.to_time >= r.from_time
    RETURNING j.job_id
)
SELECT count(DISTINCT job_id) FROM again
