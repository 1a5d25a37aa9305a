-- Ticks of the cadence at which one instrument's book was collected, by the daemon's own word, and none in sync is
-- stored; each with whether a gap names it.
SELECT tick, EXISTS (
           SELECT FROM ingest.gaps g
           WHERE g.instrument_id = s.instrument_id AND g.channel = 'book' AND g.state <> 'repaired'
             AND tick >= g.from_time AND (g.to_time IS NULL OR tick <= g.to_time)
       ) AS named
FROM ingest.streams s,
     LATERAL generate_series(
         date_bin(%(cadence_us)s * INTERVAL '1 microsecond', s.covered_from, 'epoch')
             + %(cadence_us)s * INTERVAL '1 microsecond',
         greatest(s.proved_to, s.attested_to), %(cadence_us)s * INTERVAL '1 microsecond') AS tick
WHERE s.instrument_id = %(instrument_id)s AND s.channel = 'book'
  AND NOT EXISTS (SELECT FROM ingest.order_books b
                  WHERE b.instrument_id = s.instrument_id AND b.time = tick AND b.in_sync)
ORDER BY tick
