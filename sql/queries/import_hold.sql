-- One process reads a file at a time, and of files whose ids number their rows one an instrument; the lock goes with the
-- connection.
SELECT pg_advisory_lock(1765241, hashtext(%(name)s))
