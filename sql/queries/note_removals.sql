-- Chunks are dropped by the server's own jobs (Community), by maintenance (Apache), or by a person: whoever it was, the
-- oldest one that is left then begins later than before. A table whose chunks are all gone keeps nothing up to now.
WITH seen AS (
    SELECT p.table_name, min(c.range_start) AS starts
    FROM ingest.policies p
    LEFT JOIN timescaledb_information.chunks c ON c.hypertable_schema = 'ingest' AND c.hypertable_name = p.table_name
    WHERE p.source IS NULL AND p.chunk_interval IS NOT NULL
    GROUP BY p.table_name
),
removed AS (
    SELECT s.table_name, coalesce(s.starts, now()) AS before
    FROM seen s JOIN ingest.oldest_chunks o USING (table_name)
    WHERE s.starts IS NULL OR s.starts > o.starts
),
-- What was removed earlier, and no further, is said by this, too.
outdone AS (
    DELETE FROM ingest.removals r USING removed n WHERE r.table_name = n.table_name AND r.before < n.before
),
noted AS (
    INSERT INTO ingest.removals (table_name, before, removed_at)
    SELECT n.table_name, n.before, now() FROM removed n
    ON CONFLICT (table_name, before) DO UPDATE SET removed_at = excluded.removed_at
),
emptied AS (
    DELETE FROM ingest.oldest_chunks o USING seen s WHERE s.table_name = o.table_name AND s.starts IS NULL
)
INSERT INTO ingest.oldest_chunks AS o (table_name, starts)
SELECT s.table_name, s.starts FROM seen s WHERE s.starts IS NOT NULL
ON CONFLICT (table_name) DO UPDATE SET starts = excluded.starts WHERE o.starts <> excluded.starts
