-- What the venues say of their instruments, as it changes, and how the venues themselves are.

ALTER TABLE ingest.instruments ADD missing_since timestamptz;
COMMENT ON COLUMN ingest.instruments.missing_since IS 'Since when the venue''s listing lacks it; NULL while it is listed. A listing that lacks it again an hour later makes it delisted.';
COMMENT ON COLUMN ingest.instruments.delisted_at IS 'End of this period of listing; a symbol that is listed again after it is another instrument.';

CREATE TABLE ingest.instrument_changes (
    change_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id int NOT NULL REFERENCES ingest.instruments,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    before        jsonb NOT NULL,
    after         jsonb NOT NULL
);
CREATE INDEX instrument_changes_key ON ingest.instrument_changes (instrument_id, changed_at);
COMMENT ON TABLE ingest.instrument_changes IS 'What changed of an instrument, and when we learnt it: steps, limits, listing, trading halted or resumed.';

-- `info` is the venue's own description, which at some venues holds prices: its changes are no history of the listing.
CREATE FUNCTION ingest.note_instrument_change() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    passing text[] := ARRAY['info', 'updated_at', 'missing_since'];
    was jsonb := to_jsonb(OLD) - passing;
    is_now jsonb := to_jsonb(NEW) - passing;
BEGIN
    INSERT INTO ingest.instrument_changes (instrument_id, before, after)
    SELECT NEW.instrument_id, jsonb_object_agg(w.key, w.value), jsonb_object_agg(w.key, is_now -> w.key)
    FROM jsonb_each(was) w
    WHERE w.value IS DISTINCT FROM is_now -> w.key
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ingest.note_instrument_change() IS 'Keeps what an update changes of an instrument.';
CREATE TRIGGER note_change AFTER UPDATE ON ingest.instruments
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION ingest.note_instrument_change();

CREATE TABLE ingest.exchange_status (
    exchange_id smallint NOT NULL REFERENCES ingest.exchanges,
    since       timestamptz NOT NULL,
    until       timestamptz,
    state       text NOT NULL CHECK (state IN ('online', 'degraded', 'blocked', 'offline', 'maintenance', 'stopped')),
    detail      text,
    checked_at  timestamptz NOT NULL,
    latency_ms  int,
    limiter     numeric,
    shard       text NOT NULL DEFAULT '1/1',
    PRIMARY KEY (exchange_id, shard, since)
);
CREATE UNIQUE INDEX exchange_status_now ON ingest.exchange_status (exchange_id, shard) WHERE until IS NULL;
COMMENT ON TABLE ingest.exchange_status IS 'How each venue has been, as each shard sees it: one row for each time of one state; the present one has no end.';
