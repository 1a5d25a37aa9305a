-- Windows of candles that end before a venue's first one need not be fetched: there is nothing.
UPDATE ingest.backfill_jobs j
SET state = 'done', error = %(error)s, finished_at = now()
FROM ingest.backfill_jobs found
WHERE found.job_id = %(job_id)s AND j.instrument_id = found.instrument_id AND j.channel = found.channel
  AND j.timeframe IS NOT DISTINCT FROM found.timeframe AND j.purpose = 'backfill' AND j.state = 'waiting'
  AND j.to_time < %(first_time)s
