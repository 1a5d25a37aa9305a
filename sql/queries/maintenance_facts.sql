-- The edition, the server's clock, and the instruments.
SELECT current_setting('timescaledb.license', true), now(), ARRAY(SELECT instrument_id FROM ingest.instruments ORDER BY 1)
