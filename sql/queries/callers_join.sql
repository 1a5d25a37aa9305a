-- This session is one of those that call the exchange, until it ends; of a machine that is gone the server shall notice it
-- within a minute.
SELECT pg_advisory_lock_shared(%(kind)s, hashtext(%(exchange)s)), set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)
