-- A file is begun, or taken up where it stood.
INSERT INTO ingest.imports AS i (sha256, instrument_id, channel, layout, file_name, file_bytes, kept_from)
VALUES (%(sha256)s, %(instrument_id)s, %(channel)s, %(layout)s, %(file_name)s, %(file_bytes)s,
        coalesce(%(kept_from)s::timestamptz, '-infinity'))
ON CONFLICT (sha256, instrument_id, channel, layout) DO UPDATE
SET file_name = excluded.file_name,
    kept_from = CASE WHEN i.state = 'started' THEN excluded.kept_from ELSE i.kept_from END
RETURNING import_id, state = 'finished', lines, last_place, ingest.epoch_ns(last_time), ingest.epoch_ns(started_at),
          rows_stored, rows_known, rows_rejected, rows_old, ingest.epoch_ns(first_time)
