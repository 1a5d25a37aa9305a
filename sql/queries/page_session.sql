-- The status page only reads, gives up soon, and takes one core at most: collecting goes first.
SET default_transaction_read_only = on; SET statement_timeout = '3s'; SET lock_timeout = '1s';
SET max_parallel_workers_per_gather = 0; SET work_mem = '4MB'
