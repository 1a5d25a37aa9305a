-- How many gaps are in which state, how old the oldest is that is still to be repaired, and what repair and backfill do.
SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'repairing'),
       count(*) FILTER (WHERE state = 'repaired'), count(*) FILTER (WHERE state = 'awaiting_dump'),
       count(*) FILTER (WHERE state = 'unrecoverable'),
       extract(epoch FROM now() - min(opened_at) FILTER (WHERE state IN ('open', 'repairing')))::float8,
       (SELECT count(*) FROM ingest.backfill_jobs WHERE state IN ('waiting', 'claimed')),
       (SELECT count(*) FROM ingest.backfill_jobs WHERE state = 'failed')
FROM ingest.gaps
