"""ccxt's clients as we use them: exact digits, one loading of the markets for all of them, and a websocket that
survives a bad frame.

As shipped, ccxt reads frames in a callback: an exception in an exchange's handler, or JSON that is none, ends the
reading for ever and nobody is told; what was read while the consumer was busy is dropped from a list of limited
length. Here each socket is read by a task of the session's, which waits when the session has no room.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import structlog
from aiohttp import WSMessage, WSMsgType
from ccxt import NetworkError
from ccxt.async_support.base.ws.cache import ArrayCache
from ccxt.async_support.base.ws.client import Client
from ccxt.async_support.base.ws.functions import is_json_encoded_object

from ingest import clock
from ingest.exchanges.ccxt_digits import decode_json, exact
from ingest.exchanges.ccxt_offer import client_class
from ingest.exchanges.markets import at_host

log = structlog.get_logger()

_MARKETS_SECONDS = 3600.0
_AGAIN_SECONDS = 300.0
_TIMEOUT_MS = 20_000
_DRAIN_SECONDS, _DRAINED_SECONDS = 1.0, 0.05
_WS_HOST = re.compile(r"^wss?://[^/]+")


class Listener(Protocol):
    """A session, as its sockets see it."""

    @property
    def closing(self) -> bool: ...

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it until the session ends."""

    def begin_message(self, received_ns: int) -> None: ...

    def reject(self, payload: bytes, reason: str) -> None: ...

    def end_message(self) -> None: ...

    def heard_trade(self, trade: dict[str, Any]) -> None: ...

    def heard_quote(self, symbol: str, quote: dict[str, Any]) -> None: ...

    def began(self, socket: "Socket | None") -> None:
        """The current task's watch now waits for this socket."""

    def lost(self, error: BaseException) -> None:
        """A socket is dead: also where nobody waits for it just now, and ccxt would connect anew in silence."""

    async def room(self) -> None: ...


class Clients:
    """Makes an exchange's clients. `configure` is called with each before its use: a test's own venue."""

    def __init__(
        self,
        exchange: str,
        *,
        rest_url: str | None = None,
        ws_url: str | None = None,
        proxy: str | None = None,
        configure: Callable[[Any], None] = lambda _client: None,
    ) -> None:
        self.exchange = exchange
        self._rest_url, self._ws_url, self._proxy = rest_url, ws_url, proxy
        self._configure = configure
        self._listed: Any = None  # the client that holds the markets
        self._listed_ns = 0
        self._listing = asyncio.Lock()

    def rest(self) -> Any:
        return self._made(exact(client_class(self.exchange)))

    def socket(self, listener: Listener) -> Any:
        client = self._made(type("Listening", (_Listening, exact(client_class(self.exchange))), {}))
        client.listener = listener
        client.trades = _Caches(listener.heard_trade)
        client.bidsasks = _Told(listener.heard_quote)
        return client

    async def load_markets(self, client: Any, symbols: Collection[str]) -> None:
        """Give the client the exchange's markets: those of the latest hour to a new one, and later ones where it is to
        speak of symbols that were listed since. Raises ccxt's errors.
        """
        async with self._listing:
            age = (clock.monotonic_ns() - self._listed_ns) / clock.SECOND
            known = self._listed.markets if self._listed is not None else {}
            late = not client.markets and age >= _MARKETS_SECONDS
            if not known or late or (age >= _AGAIN_SECONDS and any(symbol not in known for symbol in symbols)):
                await client.load_markets(reload=True)
                self._listed, self._listed_ns = client, clock.monotonic_ns()
            elif self._listed is not client:
                client.set_markets_from_exchange(self._listed)

    def _made(self, kind: type[Any]) -> Any:
        client = kind({"enableRateLimit": True, "timeout": _TIMEOUT_MS, "aiohttp_trust_env": self._proxy is None})
        client.timeout_on_exit = 0
        client.has = {**client.has, "fetchCurrencies": False}
        if self._rest_url is not None:
            client.urls["api"] = at_host(client.urls["api"], self._rest_url.rstrip("/"))
        if self._ws_url is not None:
            client.urls["api"] = at_host(client.urls["api"], self._ws_url.rstrip("/"), _WS_HOST)
        if self._proxy is not None:
            client.https_proxy = client.wss_proxy = self._proxy
        self._configure(client)
        return client


class _Listening:
    """Stands before the exchange's class: its sockets are ours, and each watch tells which socket it waits for."""

    listener: Listener
    clients: dict[str, "Socket"]

    def client(self, url: str) -> "Socket":
        made: Any = super().client(url)  # type: ignore[misc]  # of ccxt's class behind this one
        if type(made) is not Socket:
            made.__class__ = Socket
            made.prepare(self.listener)
        return made  # type: ignore[no-any-return]

    def watch(self, url: str, *arguments: Any, **named: Any) -> Any:
        found = super().watch(url, *arguments, **named)  # type: ignore[misc]
        self.listener.began(self.clients.get(url))
        return found

    def watch_multiple(self, url: str, *arguments: Any, **named: Any) -> Any:
        found = super().watch_multiple(url, *arguments, **named)  # type: ignore[misc]
        self.listener.began(self.clients.get(url))
        return found


class Socket(Client):  # type: ignore[misc]  # ccxt has no types
    """One websocket of ccxt's. What its handlers cannot take is rejected with its bytes, and the next frame is read."""

    listener: Listener
    throttle: Any

    def prepare(self, listener: Listener) -> None:
        self.listener = listener
        self.unsent = 0
        self.reading: asyncio.Timeout | None = None
        throttle = self.throttle

        async def counted(cost: float | None = None) -> None:
            self.unsent += 1
            await throttle(cost)

        self.throttle = counted

    @property
    def ready(self) -> bool:
        """Connected, and nothing that was to be said is unsaid."""
        return bool(self.isConnected and not self.unsent)

    async def send(self, message: Any) -> Any:
        try:
            return await super().send(message)
        finally:
            self.unsent = max(0, self.unsent - 1)

    def receive_loop(self) -> None:
        self.listener.start(self._read())

    def stop(self) -> None:
        """Read no more than what has come."""
        if self.reading is not None:
            self.reading.reschedule(0)
            self.reading = None

    async def _read(self) -> None:
        """Until the socket or the session is closed; in the latter case until nothing waits to be read."""
        try:
            while not self.closed() and not self.listener.closing:
                async with asyncio.timeout(None) as self.reading:
                    message = await self.connection.receive()
                self.reading = None
                await self._take(message)
        except TimeoutError:
            pass  # `stop` ended it
        except Exception as error:  # noqa: BLE001 - what is not a frame's fault is the line's
            self.on_error(error)
        if self.listener.closing:
            await self._drain()
        else:
            self.listener.lost(self.error or NetworkError("the connection was closed"))

    def on_error(self, error: Any) -> None:
        super().on_error(error)
        self.listener.lost(error)

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        with suppress(Exception):  # a line that breaks now has brought what it had
            while not self.closed() and asyncio.get_running_loop().time() < deadline:
                async with asyncio.timeout(_DRAINED_SECONDS):
                    message = await self.connection.receive()
                await self._take(message)

    async def _take(self, message: WSMessage) -> None:
        self.listener.begin_message(clock.now_ns())
        try:
            self.handle_message(message)
        except Exception as error:  # noqa: BLE001 - whatever an exchange's handler raises costs this frame alone
            self.listener.reject(_bytes(message), f"ccxt: {type(error).__name__}: {error}")
        self.listener.end_message()
        await asyncio.sleep(0)  # the watches see each state, not only the last of what waited
        await self.listener.room()

    def handle_text_or_binary_message(self, data: Any) -> None:
        text = data.decode() if self.decompressBinary and isinstance(data, bytes) else data
        self.on_message_callback(self, decode_json(text) if is_json_encoded_object(text) else text)


class _Told(dict[str, Any]):
    """A dictionary of latest states, which tells of each that is put into it."""

    def __init__(self, tell: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def __setitem__(self, symbol: str, state: Any) -> None:
        super().__setitem__(symbol, state)
        self._tell(symbol, state)


class _Caches(dict[str, Any]):
    """ccxt's lists of latest trades by symbol: each trade is told when it is appended, before it can be dropped."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def __setitem__(self, symbol: str, cache: Any) -> None:
        known = self.get(symbol) is cache
        super().__setitem__(symbol, cache)
        if known or not isinstance(cache, ArrayCache):
            return
        for trade in cache:  # some handlers fill it before they put it here
            self._tell(trade)
        append, tell = cache.append, self._tell

        def telling(trade: Any) -> None:
            tell(trade)
            append(trade)

        cache.append = telling


def _bytes(message: WSMessage) -> bytes:
    if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
        return message.data.encode() if isinstance(message.data, str) else bytes(message.data)
    return repr(message)[:1000].encode()


async def close(client: Any) -> None:
    """Close all that ccxt has opened, and end the tasks that it has started and forgotten."""
    mine = {id(client), *map(id, client.clients.values())}
    try:
        await client.close()
    finally:
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and _of(task, mine)]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _of(task: asyncio.Task[Any], owners: set[int]) -> bool:
    """Whether a coroutine of ccxt's for one of these objects is at the task's bottom: ccxt keeps no list of them."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    if frame is None or not frame.f_globals.get("__name__", "").startswith("ccxt."):
        return False
    return any(id(frame.f_locals.get(name)) in owners for name in ("self", "client"))
