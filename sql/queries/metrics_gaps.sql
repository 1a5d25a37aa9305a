-- How many gaps of each stream's kind, by state; and of those that wait, how long ago the oldest was noticed.
SELECT e.name, g.channel, g.state, count(*),
       coalesce(extract(epoch FROM now() - min(g.opened_at) FILTER (WHERE g.state IN ('open', 'repairing'))), 0)::float8
FROM ingest.gaps g
JOIN ingest.instruments i USING (instrument_id)
JOIN ingest.exchanges e USING (exchange_id)
GROUP BY e.name, g.channel, g.state
