-- Rows of an interval came late.
INSERT INTO ingest.rollup_changes (instrument_id, channel, from_time, to_time)
VALUES (%(instrument_id)s, %(channel)s, %(from_time)s, %(to_time)s)
