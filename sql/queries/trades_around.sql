-- The times of the last trade before a range and of the first one behind it: a hole may lie across its ends.
SELECT (SELECT max(t.time) FROM ingest.trades t WHERE t.instrument_id = %(instrument_id)s AND t.time < %(from_time)s),
       (SELECT min(t.time) FROM ingest.trades t WHERE t.instrument_id = %(instrument_id)s AND t.time >= %(to_time)s)
