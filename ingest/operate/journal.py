"""Warnings and errors into `ingest.logs`. Whatever becomes of them, collecting goes on: lines wait in a bounded queue,
what finds no room is counted, and nothing here logs, so that a fault of its own cannot feed it.
"""

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection

from ingest.clock import now_ns
from ingest.config.operation import Log
from ingest.errors import IngestError
from ingest.log import Line, heard_by
from ingest.retry import Backoff
from ingest.store import database
from ingest.store.rows import printable, timestamp
from ingest.store.sqlfiles import query

_QUEUE_LINES = 2_000
_LINES_AT_ONCE = 500
_EVERY_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
_SAYS_ITSELF = ("psycopg",)  # what it says of a connection that fails would come with every try


class Journal:
    """Takes lines while `listening`; `run` writes them. Does nothing where the settings do not want it."""

    def __init__(self, url: str, settings: Log) -> None:
        self._url = url
        self._wanted = settings.database
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._lines: deque[Line] = deque()
        self._dropped = 0
        self._connection: AsyncConnection | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Until the block ends; then what waits is written, if the database takes it within two seconds."""
        if not self._wanted:
            yield
            return
        try:
            with heard_by(self.take):
                yield
        finally:
            await self._close()

    def take(self, line: Line) -> None:
        """From any thread; never waits, never raises."""
        if line.module.partition(".")[0] in _SAYS_ITSELF:
            return
        if len(self._lines) >= _QUEUE_LINES:
            self._dropped += 1
        else:
            self._lines.append(line)

    async def run(self) -> None:
        """Until cancelled; lines wait while the database is away."""
        if not self._wanted:
            return
        backoff = Backoff(first_seconds=_EVERY_SECONDS, cap_seconds=60.0)
        try:
            while True:
                seconds = _EVERY_SECONDS
                if await self._write():
                    backoff.reset()
                else:
                    seconds = max(seconds, backoff.next_seconds())
                await asyncio.sleep(seconds)
        finally:
            await self._disconnect()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._lines and await self._write():
                    pass
        except TimeoutError:
            pass
        finally:
            await self._disconnect()

    async def _write(self) -> bool:
        """Whether nothing waits for a reason of the database's."""
        if not self._lines:
            return True
        lines = [self._lines[place] for place in range(min(_LINES_AT_ONCE, len(self._lines)))]
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await database.connect(self._url, role="log")
            await self._connection.execute(query("add_logs"), _parameters(lines, self._process))
        except (IngestError, psycopg.Error, OSError) as error:
            await self._disconnect()
            if not (isinstance(error, psycopg.Error) and database.is_data_error(error)):
                return False
            self._dropped += len(lines)  # a line that cannot be stored must not hold up those behind it
        except Exception:  # noqa: BLE001 - whatever it is, it must neither end the daemon nor be logged
            self._dropped += len(lines)
        for _ in lines:
            self._lines.popleft()
        if self._dropped:  # told as soon as there is somebody to tell
            self._lines.append(Line(now_ns(), "warning", __name__, "log.dropped", {"lines": self._dropped}))
            self._dropped = 0
        return True

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _parameters(lines: list[Line], process: str) -> dict[str, object]:
    return {
        "times": [timestamp(line.time_ns) for line in lines],
        "levels": [line.level for line in lines],
        "modules": [printable(line.module) for line in lines],
        "events": [printable(line.event) for line in lines],
        "fields": [json.dumps(_storable(line.fields), allow_nan=False) for line in lines],
        "process": process,
    }


def _storable(fields: dict[str, object]) -> dict[str, object]:
    """What jsonb takes: no zero byte, no half of a surrogate pair, no number that JSON has not."""
    return {printable(name): _value(value) for name, value in fields.items()}


def _value(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    return str(value) if isinstance(value, float) and value - value != 0.0 else value
