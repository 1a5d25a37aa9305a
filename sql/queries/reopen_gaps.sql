-- Gaps that repair had given up, to be tried again.
UPDATE ingest.gaps
SET state = 'open', attempts = 0, detail = '', closed_at = NULL, updated_at = now()
WHERE gap_id = ANY (%(gap_ids)s) AND state IN ('unrecoverable', 'awaiting_dump')
