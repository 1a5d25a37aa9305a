-- What waits, and what went wrong of late.
SELECT (SELECT count(*) FROM ingest.streams),
       (SELECT count(*) FROM ingest.streams WHERE state = 'live'),
       (SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')),
       (SELECT count(*) FROM ingest.gaps
        WHERE state IN ('open', 'repairing') AND opened_at < now() - make_interval(secs => %(seconds)s)),
       (SELECT min(opened_at) FROM ingest.gaps WHERE state IN ('open', 'repairing')),
       (SELECT count(*) FROM ingest.gaps WHERE state = 'awaiting_dump'),
       (SELECT count(*) FROM ingest.gaps WHERE state = 'unrecoverable'),
       (SELECT count(*) FROM ingest.backfill_jobs WHERE state = 'failed' AND finished_at > now() - make_interval(secs => %(seconds)s)),
       (SELECT count(*) FROM ingest.rejected WHERE received_at > now() - make_interval(secs => %(seconds)s)),
       (SELECT count(*) FROM ingest.rejected)
