-- Whoever changes the gaps of an instrument does so alone: of two that settle its last windows, one sees both.
SELECT FROM ingest.instruments WHERE instrument_id = %(instrument_id)s FOR NO KEY UPDATE
