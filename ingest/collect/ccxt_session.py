"""One session with an exchange through ccxt.pro: what `Session` is for a native venue.

Each stream has a task that calls ccxt's `watch_…` again and again, as ccxt wants it. Trades and best prices are taken
where ccxt's handlers put them, so that a burst loses none; of books, tickers and candles each watch brings the state
after a message. All of it goes on as frames (`ccxt_frames.py`) to the sink, in whose name the sockets wait for room.

ccxt tells nobody that a subscription was acknowledged. A stream counts as begun when its watch waits for a socket that
is connected and has sent all it was to send, or has brought something; the session is live when all have begun. An
exchange's refusal comes as an error of the watch and ends the session, or that one stream where to ask again is no use.
Of a stream that ccxt itself fails to watch the silence is noticed, like any other. One dead socket ends the session, so
that every loss is named.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from msgspec import json

from ingest import clock
from ingest.collect.session import PING_SECONDS, Sink, Tap
from ingest.errors import Rejected, Retryable
from ingest.exchanges import ccxt_frames as frames
from ingest.exchanges.adapter import Adapter, Shutdown
from ingest.exchanges.ccxt_client import Clients, Socket, close
from ingest.exchanges.ccxt_errors import BROKEN_BOOKS, REFUSALS, explain
from ingest.exchanges.ccxt_offer import offer
from ingest.exchanges.ccxt_venue import Ccxt
from ingest.records import Channel, Stream

log = structlog.get_logger()

_LOOK_SECONDS = 0.05
_LOOKS = 2  # in turn: what ccxt is to send is counted a moment after the watch has begun
_BEGIN_SECONDS = 30.0  # without another stream begun, or a message sent
_BROKEN_MAX = 5
_ALONE_SECONDS = 5.0
"""A book that spoke so lately needs no other connection: its next state comes whole."""
_REFUSED_RETRY_SECONDS = 300.0
_MADE_OF_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError)


class CcxtSession:
    """Delivers `streams` to the sink until the session ends. See `ingest.collect.supervise.Connection`."""

    def __init__(
        self,
        adapter: Adapter,
        streams: Sequence[Stream],
        sink: Sink,
        *,
        clients: Clients,
        depth: int,
        proxy: str | None = None,  # noqa: ARG002 - the clients have it
        ping_seconds: float = PING_SECONDS,  # noqa: ARG002 - ccxt knows each exchange's own measure
        tap: Tap | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._adapter = adapter
        self._streams = streams
        self._sink = sink
        self._clients = clients
        self._depth = depth
        self._tap = tap
        self._on_change = on_change
        self._ways = offer(clients.exchange).ways
        self._wanted = {(stream.channel, stream.instrument.symbol): stream for stream in streams}
        self._client: Any = None
        self._group: asyncio.TaskGroup | None = None
        self._begun: dict[Stream, Socket | None] = {}  # the socket that a stream waits for, None when it has delivered
        self._watched: dict[asyncio.Task[Any], Stream] = {}
        self._trades: dict[str, list[dict[str, Any]]] = {}  # of the message that is handled now, by symbol
        self._quotes: list[tuple[str, dict[str, Any]]] = []
        self._hooked: set[tuple[Channel, str]] = set()
        self._message_ns = 0
        self._heard_books: dict[Stream, float] = {}
        self._failure: Retryable | None = None
        self._over = asyncio.Event()
        self._closing = False
        self.live = asyncio.Event()
        self.expiring = False
        self.delivering = False
        self.heard_ns = 0

    # The connection's life

    async def run(self) -> None:
        """Return after `close`; raise Retryable (or Blocked) when the exchange or the line ended it."""
        if self._closing:
            return
        client = self._client = self._clients.socket(self)
        try:
            await self._load_markets(client)
            self._announce()
            async with asyncio.TaskGroup() as self._group:
                for stream in self._streams:
                    self._watched[self._group.create_task(self._watch(stream))] = stream
                looking = self._group.create_task(self._look())
                await self._over.wait()
                for task in (looking, *self._watched):
                    task.cancel()
                for socket in client.clients.values():
                    socket.stop()
        finally:
            self._closing = True
            await close(client)
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """End it; `run` returns when everything received is taken."""
        self._closing = True
        self._over.set()

    async def _load_markets(self, client: Any) -> None:
        try:
            await self._clients.load_markets(client, {stream.instrument.symbol for stream in self._streams})
        except Exception as error:
            told = explain(self._clients.exchange, error, "load_markets")
            raise told if isinstance(told, Retryable) else Retryable(str(told)) from error

    def _announce(self) -> None:
        if self._tap is not None:
            self._tap.opened(self._adapter.url(self._streams))
            for subscription in self._adapter.subscribe(self._streams, 1):
                self._tap.sent(subscription.frame)

    async def _look(self) -> None:
        """Say when all streams have begun; give up when no more of them does."""
        loop = asyncio.get_running_loop()
        progress, since, looks = (-1, 0), loop.time(), 0
        while not self.live.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
            ready = [stream for stream, socket in self._begun.items() if socket is None or socket.ready]
            unsent = sum(socket.unsent for socket in self._client.clients.values())
            if (len(ready), unsent) != progress:
                progress, since = (len(ready), unsent), loop.time()
            looks = looks + 1 if len(ready) == len(self._wanted) else 0
            if looks == _LOOKS:
                self.live.set()
                self._on_change()
            elif loop.time() - since > _BEGIN_SECONDS:
                late = ", ".join([str(stream) for stream in self._wanted.values() if stream not in ready][:3])
                self._fail(Retryable(f"{self._clients.exchange}: not subscribed in {_BEGIN_SECONDS:.0f} s: {late}"))
                return

    def _fail(self, error: Retryable) -> None:
        self._failure = self._failure or error
        self._over.set()

    def defer(self) -> None:
        self._sink.defer(self._adapter)

    def proceed(self) -> None:
        self._sink.proceed(self._adapter)

    def forget(self) -> None:
        self._sink.forget(self._adapter)

    def resubscribe(self, stream: Stream) -> bool:
        """A living book is mended by ccxt itself: its next state comes whole. Else another session is made."""
        heard = self._heard_books.get(stream)
        return heard is not None and asyncio.get_running_loop().time() - heard < _ALONE_SECONDS

    # Watching

    async def _watch(self, stream: Stream) -> None:
        """For ever: each result of ccxt's watch. A broken book is told, and watched anew: that is how ccxt mends it."""
        broken = 0
        while True:
            try:
                result = await self._call(stream)
            except BROKEN_BOOKS as error:
                broken += 1
                if broken > _BROKEN_MAX or stream.channel != "book":
                    self._fail(Retryable(f"{stream}: {error}"))
                    return
                self._deliver(frames.encode(frames.Book(stream.instrument.symbol, broken=str(error))))
            except Exception as error:  # noqa: BLE001 - whatever ccxt raises is told as ours
                self._ended(stream, error)
                return
            else:
                broken = 0
                self._begun[stream] = None
                self._take(stream, result)
            await self.room()

    async def _call(self, stream: Stream) -> Any:
        method = self._ways[stream.channel].watch
        if method is None:
            raise Rejected(f"{stream} has no websocket in ccxt")
        call, symbol = getattr(self._client, method), stream.instrument.symbol
        if stream.channel == "candles":
            return await call(symbol, "1m")
        return await call([symbol] if stream.channel == "quotes" else symbol)

    def _ended(self, stream: Stream, error: Exception) -> None:
        told = error if isinstance(error, Rejected) else explain(self._clients.exchange, error, str(stream))
        if self._closing:
            return
        if isinstance(told, Retryable):
            self._fail(told)
            return
        if isinstance(error, (Rejected, *REFUSALS)):
            self._sink.refuse([stream], str(told))
        else:  # ccxt itself failed: another session may do better
            log.error("stream.ended", stream=str(stream), reason=str(told))
        self._wanted.pop((stream.channel, stream.instrument.symbol), None)
        self._begun.pop(stream, None)
        if not self._wanted:
            self._fail(Retryable(str(told), retry_after_seconds=_REFUSED_RETRY_SECONDS))

    def _take(self, stream: Stream, result: Any) -> None:
        """What a watch brought, unless the handler's own places have told it before."""
        channel, symbol = stream.channel, stream.instrument.symbol
        if (channel, symbol) in self._hooked:
            return
        if channel == "book":
            self._heard_books[stream] = asyncio.get_running_loop().time()
        if channel == "quotes":
            result = result.get(symbol) if isinstance(result, dict) and "bid" not in result else result
        self._make(channel, symbol, result)

    def _make(self, channel: Channel, symbol: str, result: Any) -> None:
        try:
            frame = frames.made(channel, symbol, result, self._depth)
        except _MADE_OF_ERRORS as error:
            if isinstance(result, list) and len(result) > 1:  # of rows, of which an odd one costs only itself
                for row in result:
                    self._make(channel, symbol, [row])
            else:
                self._reject_result(channel, symbol, result, error)
            return
        self._deliver(frame)

    def _reject_result(self, channel: Channel, symbol: str, result: Any, error: Exception) -> None:
        """Rejected by the adapter: it is no frame, but names its stream."""
        told = {"channel": channel, "symbol": symbol, "error": f"{type(error).__name__}: {error}", "ccxt": repr(result)}
        self._deliver(json.encode(told))

    def _deliver(self, frame: bytes) -> None:
        received_ns = self._message_ns or clock.now_ns()
        if self._tap is not None:
            self._tap.received(frame, received_ns)
        controls = self._sink.take(self._adapter, frame, received_ns)
        if controls is None:
            return
        self.delivering = True
        if any(isinstance(control, Shutdown) for control in controls):
            self.expiring = True
            self._on_change()

    # What the sockets tell. See `ingest.exchanges.ccxt_client.Listener`.

    @property
    def closing(self) -> bool:
        return self._over.is_set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None or self._over.is_set():
            work.close()
        else:
            self._group.create_task(work)

    def began(self, socket: Socket | None) -> None:
        task = asyncio.current_task()
        stream = self._watched.get(task) if task is not None else None
        if stream is not None and socket is not None and self._begun.get(stream, socket) is not None:
            self._begun[stream] = socket

    def lost(self, error: BaseException) -> None:
        if not self._over.is_set():
            told = explain(self._clients.exchange, error, "websocket")
            self._fail(told if isinstance(told, Retryable) else Retryable(str(told)))

    def begin_message(self, received_ns: int) -> None:
        self.heard_ns = self._message_ns = received_ns

    def heard_trade(self, trade: dict[str, Any]) -> None:
        self._trades.setdefault(str(trade.get("symbol")), []).append(trade)

    def heard_quote(self, symbol: str, quote: dict[str, Any]) -> None:
        self._quotes.append((symbol, quote))

    def reject(self, payload: bytes, reason: str) -> None:
        """The exchange's own frame, as it came: the adapter is told why it cannot be used."""
        if isinstance(self._adapter, Ccxt):
            self._adapter.refusal = reason
        self._deliver(payload)

    def end_message(self) -> None:
        """Pass on what the message brought, trades of a symbol in one frame."""
        trades, self._trades = self._trades, {}
        quotes, self._quotes = self._quotes, []
        for symbol, rows in trades.items():
            if ("trades", symbol) in self._wanted:
                self._hooked.add(("trades", symbol))
                self._make("trades", symbol, rows)
        for symbol, quote in quotes:
            if ("quotes", symbol) in self._wanted:
                self._hooked.add(("quotes", symbol))
                self._make("quotes", symbol, quote)

    async def room(self) -> None:
        if self._sink.full:
            await self._sink.room()
