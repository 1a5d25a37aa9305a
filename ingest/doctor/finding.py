"""What a check is given and what it answers."""

from typing import Literal

from msgspec import Struct
from psycopg import Connection

from ingest.config.model import Config
from ingest.store.sqlfiles import query

Verdict = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """`says` is what is so, `advice` what to do about it, `statements` the SQL for it, to be run as it stands."""

    check: str
    verdict: Verdict
    says: str
    advice: str = ""
    statements: tuple[str, ...] = ()


class Server(Struct, frozen=True):
    """`timescaledb` is "" where the extension is not in this database, `available` where the server has none."""

    version: str
    major: int
    timescaledb: str
    available: str
    edition: str
    database: str
    database_bytes: int
    is_standby: bool
    data_directory: str | None
    is_local: bool
    is_migrated: bool


class Patient(Struct, frozen=True):
    """A connection to the database in autocommit mode, its address, and the configuration."""

    connection: Connection
    url: str
    config: Config
    server: Server


def look(connection: Connection) -> Server:
    row = connection.execute(query("doctor_server")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    version, major, timescaledb, available, *rest = row
    return Server(version, major, timescaledb or "", available or "", *rest)


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
