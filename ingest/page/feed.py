"""Reads the database once for all viewers, and hands each of them what is new.

Nobody looks: nothing is read, and there is no connection. The database is away: the page is told, and tries again.
Everything is bounded: viewers by number, their requests by time, what waits for one of them by what it replaces.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import psycopg
import structlog
from msgspec import Raw, Struct
from psycopg import AsyncConnection, errors

from ingest.errors import IngestError
from ingest.page.facts import Facts
from ingest.page.market import Choice, View
from ingest.page.overview import Overview, Streams
from ingest.store import database
from ingest.store.sqlfiles import query

log = structlog.get_logger()

MAX_CLIENTS = 16
PERIOD_SECONDS = 1.0
_LEAST_SECONDS = 0.25  # between two rounds, however often viewers change their choice
_PATIENCE_SECONDS = 12.0  # for one part, each statement of which the server itself ends after 3 s: it has gone
_STREAMS_A_SECOND = 500  # 2,000 streams are told every four seconds
_ASK_AGAIN_SECONDS = 60.0
_encode = msgspec.json.Encoder().encode
_TOO_SLOW = Raw(_encode({"error": "The database takes too long to tell. It is asked again in a minute."}))


class Update(Struct, frozen=True, omit_defaults=True):
    """One message to a browser: the daemon's facts, and of the rest what is new; `away` says why nothing is."""

    daemon: Facts
    streams: Raw | None = None
    gaps: Raw | None = None
    database: Raw | None = None
    market: Raw | None = None
    away: str | None = None


class Client:
    """One viewer. What it has not fetched yet is replaced by what is newer, so that a slow one holds no memory."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.choice: Choice | None = None
        self._changed = changed
        self._parts: dict[str, Any] = {}
        self._arrived = asyncio.Event()
        self.leaving = False

    def choose(self, choice: Choice) -> None:
        self.choice = choice
        self._parts.pop("market", None)
        self._changed.set()

    def offer(self, parts: dict[str, Any]) -> None:
        self._parts.pop("away", None)
        self._parts.update(parts)
        self._arrived.set()

    def leave(self) -> None:
        """The daemon ends: `next` returns None from here on."""
        self.leaving = True
        self._arrived.set()

    async def next(self) -> bytes | None:
        """Waits for something new; all of it in one message."""
        await self._arrived.wait()
        if self.leaving:
            return None
        self._arrived.clear()
        parts, self._parts = self._parts, {}
        return _encode(Update(**parts))


class Feed:
    """`run` reads for ever; `enter` and `leave` are for the websocket's handler."""

    def __init__(
        self,
        url: str,
        facts: Callable[[], Facts],
        *,
        max_clients: int = MAX_CLIENTS,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self.max_clients = max_clients
        self.period_seconds = period_seconds
        self._url = url
        self._facts = facts
        self.clients: dict[Client, None] = {}
        self._changed = asyncio.Event()
        self._overview = Overview()
        self._views: dict[Choice, View] = {}
        self._latest: dict[str, Any] = {}
        self._due: dict[str, float] = {}
        self._connection: AsyncConnection | None = None
        self._away = False

    def enter(self) -> Client | None:
        """A new viewer, who gets the latest of everything; None when there are too many."""
        if len(self.clients) >= self.max_clients:
            return None
        client = Client(self._changed)
        if self._latest:
            client.offer({**self._latest, "daemon": self._facts()})
        self.clients[client] = None
        self._changed.set()
        return client

    def leave(self, client: Client) -> None:
        self.clients.pop(client, None)

    async def run(self) -> None:
        """Until cancelled; then every viewer is sent away."""
        try:
            while True:
                if not self.clients:
                    await self._rest()
                self._changed.clear()
                await self._round()
                await asyncio.sleep(min(_LEAST_SECONDS, self.period_seconds))
                await self._pause()
        finally:
            for client in self.clients:
                client.leave()
            await self._close()

    async def _rest(self) -> None:
        """Nobody looks."""
        await self._close()
        self._latest.clear()
        self._due.clear()
        self._views.clear()
        self._overview.rates.clear()
        while not self.clients:
            self._changed.clear()
            await self._changed.wait()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self.period_seconds - _LEAST_SECONDS)):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _round(self) -> None:
        """Read what is due, and offer it."""
        news: dict[str, Any] = {}
        markets: dict[Choice, Raw] = {}
        try:
            connection = await self._connected()
            await self._read_parts(connection, news)
            await self._read_markets(connection, markets)
            self._away = False
        except (psycopg.Error, IngestError, TimeoutError) as error:
            await self._close()
            news["away"] = _sentence(error)
            if not self._away:
                log.warning("page.database_away", error=news["away"])
            self._away = True
        except Exception:
            await self._close()
            log.exception("page.failed")
            news["away"] = "the daemon could not read it; its log says why"
        self._latest.update({name: part for name, part in news.items() if name != "away"})
        for client in self.clients:
            own = {"market": markets[client.choice]} if client.choice in markets else {}
            client.offer({**news, **own, "daemon": self._facts()})

    async def _read_parts(self, connection: AsyncConnection, news: dict[str, Any]) -> None:
        """Each part as often as it changes and as its reading costs."""
        overview, now = self._overview, asyncio.get_running_loop().time
        readers: dict[str, tuple[Callable[[AsyncConnection], Awaitable[Any]], float]] = {
            "streams": (overview.streams, 1.0),
            "gaps": (overview.gaps, 5.0),
            "database": (overview.database, 30.0),
        }
        for name, (read, every_seconds) in readers.items():
            if self._due.get(name, 0.0) > now() + _LEAST_SECONDS / 2:
                continue
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    part = await read(connection)
            except errors.QueryCanceled:
                news[name], self._due[name] = _TOO_SLOW, now() + _ASK_AGAIN_SECONDS
                continue
            except errors.InsufficientPrivilege as error:
                words = f"The daemon's login may not read it: {error.diag.message_primary}."
                news[name], self._due[name] = Raw(_encode({"error": words})), now() + _ASK_AGAIN_SECONDS
                continue
            many = len(part.streams) / _STREAMS_A_SECOND if isinstance(part, Streams) else 0.0
            news[name], self._due[name] = Raw(_encode(part)), now() + max(every_seconds, many)

    async def _read_markets(self, connection: AsyncConnection, markets: dict[Choice, Raw]) -> None:
        chosen = {client.choice for client in self.clients if client.choice is not None}
        self._views = {choice: self._views.get(choice) or View(choice) for choice in chosen}
        for choice, view in self._views.items():
            async with asyncio.timeout(_PATIENCE_SECONDS):
                markets[choice] = Raw(_encode(await view.look(connection)))

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self._connection = await database.connect(self._url, role="page")
                await self._connection.execute(query("page_session"))
            self._due.clear()
        return self._connection

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _sentence(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the database does not answer"
    if isinstance(error, psycopg.Error):
        return str(database.translate(error))
    return str(error)
