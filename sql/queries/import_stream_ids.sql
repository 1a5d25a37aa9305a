-- What the stored ids of a stream count.
SELECT id_space FROM ingest.streams WHERE instrument_id = %(instrument_id)s AND channel = %(channel)s
