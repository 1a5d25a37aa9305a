"""The processes that call a venue at this moment, and the share of its limit that each has.

A venue counts by address, and knows nothing of our processes. Each one holds an advisory lock while it calls: the
server lets it go when the process ends, however it does, and shows it to all others.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

import psycopg
from psycopg import AsyncConnection

from ingest import clock
from ingest.errors import IngestError
from ingest.exchanges.limiter import Limiter
from ingest.store import database
from ingest.store.sqlfiles import query

Kind = Literal["daemon", "backfill"]

_LOCKS: dict[Kind, int] = {"daemon": 1765242, "backfill": 1765243}
_LOOK_SECONDS = 1.0


class Callers:
    """One connection, which holds the lock of this process for one exchange. Used inside `async with`."""

    def __init__(self, url: str, exchange: str, kind: Kind) -> None:
        self._url = url
        self._exchange = exchange
        self._kind: Kind = kind
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def share(self) -> float:
        """What this process may use of the limit, 1.0 being all. Raises Retryable while the database is away."""
        try:
            connection = await self._holding()
            parameters = {"exchange": self._exchange, "daemon": _LOCKS["daemon"], "backfill": _LOCKS["backfill"]}
            row = await (await connection.execute(query("callers_count"), parameters)).fetchone()
        except psycopg.Error as error:
            await self._close()
            raise database.translate(error) from error
        assert row is not None  # noqa: S101 - it counts
        daemons, backfills = row
        return share_of(self._kind, daemons, backfills)

    async def follow(self, limiter: Limiter) -> None:
        """Keep a limiter to the share, until cancelled. While the database is away it stays as it was."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(IngestError):
                limiter.divide(await self.share(), clock.monotonic_ns())

    async def _holding(self) -> AsyncConnection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self._close()
            connection = await database.connect(self._url, role=f"{self._kind} calls {self._exchange}")
            self._connection = connection
            await connection.execute(query("callers_join"), {"kind": _LOCKS[self._kind], "exchange": self._exchange})
        return self._connection

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def share_of(kind: Kind, daemons: int, backfills: int) -> float:
    """Of all that may be used: between daemons and backfills by halves, among each of them by heads. Pure.

    So daemons, whose live streams need answers at once, keep half of it however many backfills there are.
    """
    half = 0.5 if daemons and backfills else 1.0
    return half / max(1, daemons if kind == "daemon" else backfills)
