-- Which files of sql/ were applied, with which content, and whether the program before them still works with the result.
CREATE SCHEMA IF NOT EXISTS ingest;
CREATE TABLE IF NOT EXISTS ingest.migrations (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    compatible boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE ingest.migrations IS 'The files of sql/ that were applied: migrations once, definitions whenever they change.';
