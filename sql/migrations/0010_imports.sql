-- Files that `ingest import` has read, or was reading when it was stopped.
CREATE TABLE ingest.imports (
    import_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256        text NOT NULL,
    instrument_id int NOT NULL REFERENCES ingest.instruments,
    channel       text NOT NULL,
    layout        text NOT NULL,
    file_name     text NOT NULL,
    file_bytes    bigint NOT NULL,
    state         text NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'finished')),
    lines         bigint NOT NULL DEFAULT 0,
    last_place    bigint,
    first_time    timestamptz,
    last_time     timestamptz,
    rows_stored   bigint NOT NULL DEFAULT 0,
    rows_known    bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    rows_old      bigint NOT NULL DEFAULT 0,
    kept_from     timestamptz NOT NULL DEFAULT '-infinity',
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    UNIQUE (sha256, instrument_id, channel, layout)
);
CREATE INDEX imports_stream ON ingest.imports (instrument_id, channel, first_time);

COMMENT ON TABLE ingest.imports IS 'Files that ingest import has read: by their content, so that none is read twice.';
COMMENT ON COLUMN ingest.imports.import_id IS 'Its number.';
COMMENT ON COLUMN ingest.imports.sha256 IS 'Of the file as it lies on disk, in hex.';
COMMENT ON COLUMN ingest.imports.instrument_id IS 'See ingest.instruments.';
COMMENT ON COLUMN ingest.imports.channel IS 'What its rows are: trades, candles or book.';
COMMENT ON COLUMN ingest.imports.layout IS 'The format; of a mapped file the digest of its mapping, too, so that a mended mapping reads it again.';
COMMENT ON COLUMN ingest.imports.file_name IS 'Its name, without folders, as it was read last.';
COMMENT ON COLUMN ingest.imports.file_bytes IS 'Its size on disk.';
COMMENT ON COLUMN ingest.imports.state IS 'started: goes on behind its committed lines when it is imported again; finished: is not read again.';
COMMENT ON COLUMN ingest.imports.lines IS 'How many of its lines are committed.';
COMMENT ON COLUMN ingest.imports.last_place IS 'Id, or minute since the epoch, of its last committed row, where they follow each other.';
COMMENT ON COLUMN ingest.imports.first_time IS 'Time of its earliest committed row.';
COMMENT ON COLUMN ingest.imports.last_time IS 'Time of its latest committed row.';
COMMENT ON COLUMN ingest.imports.rows_stored IS 'Rows that were new, or replaced one of a lower rank.';
COMMENT ON COLUMN ingest.imports.rows_known IS 'Rows that were stored already.';
COMMENT ON COLUMN ingest.imports.rows_rejected IS 'Lines that went to ingest.rejected.';
COMMENT ON COLUMN ingest.imports.rows_old IS 'Rows from before kept_from, which were passed over.';
COMMENT ON COLUMN ingest.imports.kept_from IS 'The edge of the table''s retention when the file was read. Where the edge lies further back now, and rows were passed over, it is read anew.';
COMMENT ON COLUMN ingest.imports.started_at IS 'When it was first begun: received_at of its rows.';
COMMENT ON COLUMN ingest.imports.finished_at IS 'When its last line was committed.';
