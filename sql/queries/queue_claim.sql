-- Take windows that are due, or whose claim has expired: repairs before backfill, the oldest first.
WITH due AS (
    SELECT job_id
    FROM ingest.backfill_jobs
    WHERE instrument_id = ANY (%(instrument_ids)s) AND purpose = ANY (%(purposes)s)
      AND (state = 'waiting' AND not_before <= now() OR state = 'claimed' AND claimed_until < now())
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
       from_id, to_id
FROM claimed
ORDER BY purpose DESC, job_id
