-- Every stream with its state and progress; ages by the database's clock.
SELECT exchange, symbol, channel, state, detail, extract(epoch FROM now() - state_since)::float AS state_seconds,
       last_time, extract(epoch FROM now() - committed_at)::float AS committed_seconds,
       extract(epoch FROM committed_at - last_received_at)::float AS lag_seconds,
       rows_stored, rows_duplicate,
       state = 'stopped' AND covered_from IS NULL
       AND EXISTS (SELECT FROM market.fetched f
                   WHERE f.instrument_id = s.instrument_id AND f.channel = s.channel AND f.purpose <> 'repair')
FROM market.streams s
ORDER BY exchange, symbol, channel
