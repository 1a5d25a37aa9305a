-- A gap keeps its start, which names it, and loses what follows its new end.
UPDATE ingest.gaps
SET to_time = %(to_time)s, to_id = %(to_id)s, state = %(state)s, detail = %(detail)s, updated_at = now(),
    closed_at = CASE WHEN %(state)s = 'unrecoverable' THEN now() END
WHERE gap_id = %(gap_id)s
