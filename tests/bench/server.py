"""Databases to measure on: on the server of DATABASE_URL, else on a temporary embedded one that is durable."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from uuid import uuid4

from psycopg import Connection, sql

from ingest.embedded import Server, default_root, prepare
from ingest.store.database import connect_sync, with_database
from ingest.store.migrate import migrate
from ingest.store.sqlfiles import query


class Databases:
    """Started at the first database that is asked for, so that figures without one need no server."""

    def __init__(self, stack: ExitStack, say: Callable[[str], None], url: str | None = None) -> None:
        """`stack` ends the server, where it is a temporary one."""
        self._stack = stack
        self._say = say
        self._url = url
        self.described = ""
        """The server of the latest database, for the table."""

    @classmethod
    def on(cls, url: str) -> "Databases":
        """On a server that is there."""
        return cls(ExitStack(), lambda _text: None, url)

    @contextmanager
    def new(self) -> Iterator[str]:
        """The URL of a migrated database of its own, dropped at the end."""
        server = self._url = self._url or self._start()
        name = f"ingest_bench_{uuid4().hex[:8]}"
        with connect_sync(server, role="bench") as connection:
            _on_database(connection, "CREATE DATABASE {}", name)
        try:
            url = with_database(server, name)
            migrate(url)
            self.described = f"{self._origin}, {_describe(url)}"
            yield url
        finally:
            with connect_sync(server, role="bench") as connection:
                _on_database(connection, "DROP DATABASE {} WITH (FORCE)", name)

    @property
    def _origin(self) -> str:
        return "DATABASE_URL" if os.environ.get("DATABASE_URL") else "temporary embedded server (fsync on)"

    def _start(self) -> str:
        if url := os.environ.get("DATABASE_URL"):
            return url
        self._say("starting a temporary server")
        return self._stack.enter_context(_temporary(self._say)).dsn


def _temporary(say: Callable[[str], None]) -> AbstractContextManager[Server]:
    return Server.temporary(prepare(default_root(), say), durable=True)


def _on_database(connection: Connection, statement: str, name: str) -> None:
    connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _describe(url: str) -> str:
    with connect_sync(url, role="bench") as connection:
        row = connection.execute(query("server_facts")).fetchone()
    assert row is not None
    postgres, timescale, edition, _size = row
    return f"PostgreSQL {postgres}, TimescaleDB {timescale} ({edition})"
