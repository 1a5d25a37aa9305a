-- What the daemon knows of its own work.

CREATE TABLE ingest.streams (
    instrument_id    int NOT NULL REFERENCES ingest.instruments,
    channel          text NOT NULL,
    id_space         text NOT NULL,
    state            text NOT NULL DEFAULT 'starting'
                     CHECK (state IN ('starting', 'live', 'reconnecting', 'blocked', 'stopped')),
    detail           text,
    state_since      timestamptz NOT NULL DEFAULT now(),
    last_time        timestamptz,
    last_sequence    bigint,
    last_received_at timestamptz,
    committed_at     timestamptz,
    rows_stored      bigint NOT NULL DEFAULT 0,
    rows_duplicate   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (instrument_id, channel)
);
-- Every batch updates its streams' rows: leave room for that beside them.
ALTER TABLE ingest.streams SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE ingest.streams IS 'One row a stream: an instrument''s channel, its state, and how far it is committed.';
COMMENT ON COLUMN ingest.streams.id_space IS 'What the stream''s ids count (trade, aggTrade, update, minute); never mixed in one stream.';
COMMENT ON COLUMN ingest.streams.last_time IS 'The exchange''s time of the latest committed record.';
COMMENT ON COLUMN ingest.streams.last_sequence IS 'The largest committed id or sequence.';
COMMENT ON COLUMN ingest.streams.rows_stored IS 'Rows stored since the stream was first seen.';
COMMENT ON COLUMN ingest.streams.rows_duplicate IS 'Rows received again and not stored twice.';

CREATE TABLE ingest.gaps (
    gap_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id int NOT NULL REFERENCES ingest.instruments,
    channel       text NOT NULL,
    from_time     timestamptz,
    to_time       timestamptz,
    from_id       bigint,
    to_id         bigint,
    cause         text NOT NULL,
    state         text NOT NULL DEFAULT 'open'
                  CHECK (state IN ('open', 'repairing', 'repaired', 'awaiting_dump', 'unrecoverable')),
    evidence      text NOT NULL DEFAULT '',
    opened_at     timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,
    CHECK (from_time IS NOT NULL OR from_id IS NOT NULL)
);
-- A batch that was committed, but whose answer was lost, is written again: its gaps stay one row each.
CREATE UNIQUE INDEX gaps_key ON ingest.gaps (instrument_id, channel, from_time, from_id, cause) NULLS NOT DISTINCT;

COMMENT ON TABLE ingest.gaps IS 'Intervals of a stream that may be incomplete, each with its cause.';
COMMENT ON COLUMN ingest.gaps.from_time IS 'Start, inclusive: the last record before the break.';
COMMENT ON COLUMN ingest.gaps.to_time IS 'End, inclusive: the first record after the break; NULL while it lasts.';
COMMENT ON COLUMN ingest.gaps.from_id IS 'First missing id, where ids are contiguous.';
COMMENT ON COLUMN ingest.gaps.to_id IS 'Last missing id, where ids are contiguous.';

CREATE TABLE ingest.rejected (
    rejected_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    exchange    text NOT NULL,
    stream      text NOT NULL,
    reason      text NOT NULL,
    payload     bytea NOT NULL,
    digest      bytea NOT NULL GENERATED ALWAYS AS (sha256(payload)) STORED
);
CREATE UNIQUE INDEX rejected_key ON ingest.rejected (received_at, exchange, stream, digest, reason);

COMMENT ON TABLE ingest.rejected IS 'Input that could not be stored: the raw bytes and the reason.';
COMMENT ON COLUMN ingest.rejected.digest IS 'Of the payload: the same input again is the same row.';
COMMENT ON COLUMN ingest.rejected.stream IS 'The stream, or the connection where the stream is unknown.';
