-- The largest committed trade id of each instrument, by the exchange's symbol.
SELECT i.native_symbol, s.last_sequence
FROM ingest.streams s
JOIN ingest.instruments i USING (instrument_id)
WHERE s.channel = 'trades'
