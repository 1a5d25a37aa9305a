-- The gaps whose windows are queued.
UPDATE ingest.gaps
SET state = 'repairing', attempts = attempts + 1, updated_at = now()
WHERE gap_id = ANY (%(gap_ids)s)
