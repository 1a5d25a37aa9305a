-- A file is begun, or taken up where it stood.
INSERT INTO ingest.imports AS i (sha256, instrument_id, channel, layout, file_name, file_bytes)
VALUES (%(sha256)s, %(instrument_id)s, %(channel)s, %(layout)s, %(file_name)s, %(file_bytes)s)
ON CONFLICT (sha256, instrument_id, channel, layout) DO UPDATE SET file_name = excluded.file_name
RETURNING import_id, state = 'finished', lines, last_place, ingest.epoch_ns(last_time), ingest.epoch_ns(started_at),
          rows_stored, rows_known, rows_rejected, ingest.epoch_ns(first_time)
