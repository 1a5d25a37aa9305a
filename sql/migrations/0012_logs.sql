-- Warnings and errors of the daemons, where [log] database is on.
CREATE TABLE ingest.logs (
    time    timestamptz NOT NULL CHECK (isfinite(time)),
    level   text NOT NULL CHECK (level IN ('warning', 'error', 'critical')),
    module  text NOT NULL,
    event   text NOT NULL,
    fields  jsonb NOT NULL DEFAULT '{}',
    process text NOT NULL
);
SELECT create_hypertable('ingest.logs', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
CREATE INDEX logs_level ON ingest.logs (level, time);

COMMENT ON TABLE ingest.logs IS 'Warnings and errors of the daemons, where [log] database is on. A line whose commit was not answered may stand twice.';
COMMENT ON COLUMN ingest.logs.time IS 'When it was said, by the clock of the daemon''s machine.';
COMMENT ON COLUMN ingest.logs.level IS 'warning, error or critical.';
COMMENT ON COLUMN ingest.logs.module IS 'The part of the program, or the library, that said it.';
COMMENT ON COLUMN ingest.logs.event IS 'What happened, the same word as in the log.';
COMMENT ON COLUMN ingest.logs.fields IS 'What else the line says, without secrets.';
COMMENT ON COLUMN ingest.logs.process IS 'Who said it: machine:process.';

INSERT INTO ingest.policies (table_name, chunk_interval, retention) VALUES ('logs', '30 days', '365 days');
