-- Some of the gaps that were repaired long ago. Their windows stay, and show that nothing is missing.
WITH old AS MATERIALIZED (
    SELECT g.gap_id FROM ingest.gaps g
    WHERE g.state = 'repaired' AND g.closed_at < ingest.kept_from('gaps')
      AND NOT EXISTS (SELECT FROM ingest.backfill_jobs j WHERE j.gap_id = g.gap_id AND j.state IN ('waiting', 'claimed'))
    LIMIT %(count)s FOR UPDATE SKIP LOCKED
),
freed AS (
    UPDATE ingest.backfill_jobs j SET gap_id = NULL FROM old WHERE j.gap_id = old.gap_id
)
DELETE FROM ingest.gaps g USING old WHERE g.gap_id = old.gap_id
