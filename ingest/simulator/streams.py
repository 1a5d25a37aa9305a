"""The websocket side of the venue: connections come, ask for streams, are pinged, and end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import WSMessage, WSMsgType, web

from ingest.simulator.commands import Command, Misspoken, parse, result
from ingest.simulator.connection import POLICY_VIOLATION, Connection, Frames
from ingest.simulator.feeds import Feeds
from ingest.simulator.limits import MINUTE_US, Limits, Pace
from ingest.simulator.stream_faults import StreamFaults
from ingest.simulator.wire import server_shutdown

_GOING_AWAY: Final = 1001
_FAREWELL_SECONDS: Final = 1.0


class Streams:
    """All connections. `clock` gives the venue's time in microseconds."""

    def __init__(self, feeds: Feeds, limits: Limits, clock: Callable[[], int], faults: StreamFaults) -> None:
        self.connections: dict[int, Connection] = {}
        self.opened = 0
        self._feeds = feeds
        self._faults = faults
        self._limits = limits
        self._clock = clock
        self._empty = asyncio.Event()
        self._empty.set()
        self._attempts = Pace(limits.connections_per_5_minutes, 5 * MINUTE_US)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The handler of `/ws`, `/ws/<stream>/…`, `/stream` and `/stream?streams=…`; lasts as long as its client."""
        if not self._attempts.allow(self._clock()):
            return web.Response(status=429, text="Too many connections")
        combined = request.path.startswith("/stream")
        listed = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        names = tuple(name for name in listed.split("/") if name and not name.isdigit())
        refusal = self._faults.refuses(request.path, names)
        if refusal is not None:
            return _refused(request, *refusal)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        self.opened += 1
        connection = Connection(socket, transport, self._limits, self._clock(), self.opened, self._faults)
        connection.combined = combined
        connection.micro = request.query.get("timeUnit", "").lower() == "microsecond"
        self.connections[connection.number] = connection
        self._empty.clear()
        try:
            self._subscribe(connection, names)
            async for message in socket:
                self._hear(connection, message)
        finally:
            self._feeds.unsubscribe(connection, list(connection.streams))
            self._faults.ended(connection)
            del self.connections[connection.number]
            if not self.connections:
                self._empty.set()
        return socket

    def tend(self) -> None:
        """Ping, announce and end connections whose time has come."""
        now_us = self._clock()
        for connection in list(self.connections.values()):
            reason = connection.tend(now_us)
            if reason == "shutdown":
                self.announce(connection, now_us)
            elif reason in {"no pong", "no answer to close"}:
                connection.cut(reason)
            elif reason:
                connection.close(_GOING_AWAY, reason, now_us)

    def announce(self, connection: Connection, now_us: int) -> None:
        """Say that the connection will be closed soon."""
        stream = "!serverShutdown" if connection.combined else None
        connection.send(Frames([server_shutdown(now_us, micro=connection.micro)], stream))
        connection.flush()

    async def close(self) -> None:
        """Announce the end to all, and close them."""
        now_us = self._clock()
        for connection in list(self.connections.values()):
            if connection.deaf:
                connection.cut("the venue is closing")
            self.announce(connection, now_us)
            connection.close(_GOING_AWAY, "the venue is closing", now_us)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._empty.wait()
        for connection in list(self.connections.values()):
            connection.cut("the venue is closing")

    def _refuse(self, connection: Connection, reason: str) -> None:
        self._feeds.unsubscribe(connection, list(connection.streams))
        connection.close(POLICY_VIOLATION, reason, self._clock())

    def _hear(self, connection: Connection, message: WSMessage) -> None:
        if connection.closing_us or message.type not in {
            WSMsgType.TEXT,
            WSMsgType.BINARY,
            WSMsgType.PING,
            WSMsgType.PONG,
        }:
            return
        if not connection.heard(message.type, self._clock()):
            self._refuse(connection, "Too many requests")
        elif message.type is WSMsgType.PING:
            connection.control(10, message.data)
        elif message.type is WSMsgType.TEXT:
            try:
                answer = self._obey(connection, parse(message.data))
            except Misspoken as misspoken:
                answer = misspoken.reply
            if answer:
                connection.send(Frames([answer]))
                connection.flush()

    def _obey(self, connection: Connection, command: Command) -> str:
        """Do what was asked. Returns the answer, empty where a fault swallows it."""
        if command.method == "SUBSCRIBE":
            lost = self._faults.swallows(connection, command.streams)
            if lost != "all":
                self._subscribe(connection, command.streams)
            if lost:
                return ""
        elif command.method == "UNSUBSCRIBE":
            self._feeds.unsubscribe(connection, command.streams)
        elif command.method == "LIST_SUBSCRIPTIONS":
            return result(command.id, list(connection.streams))
        elif command.method == "GET_PROPERTY":
            return result(command.id, connection.combined)
        else:
            names = list(connection.streams)
            self._feeds.unsubscribe(connection, names)
            connection.combined = command.value
            self._feeds.subscribe(connection, names)
        return result(command.id)

    def _subscribe(self, connection: Connection, names: tuple[str, ...]) -> None:
        if len(connection.streams.keys() | names) > self._limits.streams_per_connection:
            self._refuse(connection, "Too many streams")
            return
        self._feeds.subscribe(connection, names)
        self._faults.subscribed(connection, names)


def _refused(request: web.Request, status: int, retry_after: int | None) -> web.Response:
    """The answer to a handshake that a fault refuses; with status 0 the line is closed and nobody reads it."""
    if not status and request.transport is not None:
        request.transport.abort()
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.Response(status=status or 503, text="refused", headers=headers)
