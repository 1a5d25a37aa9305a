-- Every stream that was ever collected, with what bounds the search for holes in it: from where its rows are still
-- kept (retention drops whole chunks) to its watermark; and up to where retention is known to have removed rows.
SELECT s.instrument_id, s.exchange, s.symbol, s.channel, s.state, s.promise, s.covered_from, s.proved_to, s.attested_to,
       (SELECT min(c.range_start) FROM timescaledb_information.chunks c
        WHERE c.hypertable_schema = 'ingest'
          AND c.hypertable_name = CASE s.channel WHEN 'trades' THEN 'trades' WHEN 'candles' THEN 'candles_1m' END) AS kept_from,
       (SELECT max(r.before) FROM market.removals r WHERE r.channel = s.channel) AS removed_before, now()
FROM market.streams s
ORDER BY s.exchange, s.symbol, s.channel, s.instrument_id
