-- Some of the rejected input that is past its retention, the oldest first.
DELETE FROM ingest.rejected
WHERE rejected_id IN (SELECT rejected_id FROM ingest.rejected WHERE received_at < ingest.kept_from('rejected')
                      ORDER BY received_at LIMIT %(count)s)
