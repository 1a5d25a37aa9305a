-- Whether rows of some instruments are not rolled up yet.
SELECT EXISTS (SELECT FROM ingest.rollup_changes c WHERE c.instrument_id = ANY (%(instrument_ids)s))
       OR EXISTS (SELECT FROM ingest.refresh_requests)
