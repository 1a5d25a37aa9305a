-- Which database this is.
SELECT installation_id::text FROM ingest.installation
