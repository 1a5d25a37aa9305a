-- Claims of processes of this machine: whose no longer runs need not be waited for.
SELECT DISTINCT claimed_by FROM ingest.backfill_jobs WHERE state = 'claimed' AND starts_with(claimed_by, %(host)s || ':')
