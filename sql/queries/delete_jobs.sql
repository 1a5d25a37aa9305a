-- Some of the windows that ended long ago. One that was fetched whole shows that nothing is missing there, and stays as
-- long as the rows that it is about; and parts of a window stay as long as they are not all done.
DELETE FROM ingest.backfill_jobs
WHERE job_id IN (
    SELECT j.job_id FROM ingest.backfill_jobs j
    WHERE j.finished_at < ingest.kept_from('backfill_jobs')
      AND (j.state IN ('failed', 'cancelled')
           OR j.state = 'done' AND j.to_time < ingest.kept_from(CASE WHEN j.timeframe IS NOT NULL THEN 'candles_coarse'
                                                                     WHEN j.channel = 'candles' THEN 'candles_1m'
                                                                     ELSE j.channel END))
      AND NOT EXISTS (SELECT FROM ingest.backfill_jobs w WHERE w.job_id = j.part_of AND w.state = 'cut')
    LIMIT %(count)s)
