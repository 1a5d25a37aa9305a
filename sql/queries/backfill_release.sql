-- What ended processes had claimed is free again.
UPDATE ingest.backfill_jobs
SET state = 'waiting', claimed_by = NULL, claimed_until = NULL
WHERE state = 'claimed' AND claimed_by = ANY (%(workers)s)
