"""`ingest backup` and `ingest restore`: a whole database in one file, and back.

The file is a zip with a `manifest.json` that says what is in it, how many rows of each table, and each part's SHA-256.
By `dump` it holds what the server's own pg_dump wrote, which a superuser restores into a server with the same
TimescaleDB; by `tables` it holds every table's rows as COPY text, which any role that may migrate restores into any
edition and version. Either is one consistent snapshot, taken beside a running daemon.
"""

from ingest.backup.commands import Choice, backup, chosen, restore

__all__ = ["Choice", "backup", "chosen", "restore"]
