-- Whether a daemon is at work on an exchange: it says so every few seconds.
SELECT EXISTS (SELECT FROM ingest.exchange_status s JOIN ingest.exchanges e USING (exchange_id)
               WHERE e.name = %(exchange)s AND s.until IS NULL AND s.state <> 'stopped'
                 AND s.checked_at > now() - INTERVAL '1 minute')
