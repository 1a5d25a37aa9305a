-- Which files of sql/ were applied, and with which content.
CREATE SCHEMA IF NOT EXISTS ingest;
CREATE TABLE IF NOT EXISTS ingest.migrations (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ingest.migrations IS 'The files of sql/ that were applied: migrations once, definitions whenever they change.';
