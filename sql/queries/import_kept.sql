-- What is past a table's retention, and the figure.
SELECT ingest.epoch_ns(ingest.kept_from(table_name)), retention FROM ingest.policies
WHERE table_name = %(table)s AND retention IS NOT NULL
