-- One row's figures, as the configuration states them.
UPDATE ingest.policies
SET compress_after = %(compress_after)s, retention = %(retention)s, late_after = %(late_after)s,
    refresh_start = %(refresh_start)s, refresh_every = %(refresh_every)s
WHERE table_name = %(table_name)s
