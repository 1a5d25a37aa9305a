-- This session is one of those that call the exchange, until it ends.
SELECT pg_advisory_lock_shared(%(kind)s, hashtext(%(exchange)s))
