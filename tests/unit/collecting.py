"""A running collector on a venue of a few lines, with the listing, the intake and the database of a test."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from ingest.clock import MILLISECOND
from ingest.collect.collector import Collector
from ingest.collect.selection import Settings, Subscription
from ingest.exchanges.adapter import Adapter, Options, Refusal
from ingest.exchanges.binance import Binance
from ingest.exchanges.limiter import Limiter
from ingest.records import Channel, Gap, Instrument, Item, Progress, Stream, Trade
from tests.db.support import NOON


def listed(symbol: str, *, active: bool = True) -> Instrument:
    base, _, quote = symbol.partition("/")
    return Instrument("binance", symbol, base + quote, "spot", base, quote, active=active)


class Venue:
    """Numbers each symbol's trades from 1 and sends each to whoever is subscribed at that moment.

    Subscriptions are acknowledged while `open` is set, connections refused while `refusing`. REST knows an empty
    market, and the latest trade.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent: dict[str, int] = {}
        self.unheard: list[tuple[str, int]] = []  # trades that nobody was subscribed for
        self.subscribed: dict[web.WebSocketResponse, set[str]] = {}
        self.asked: list[list[str]] = []  # of each connection the streams that it subscribes to
        self.refusing = False
        self.unknown: set[str] = set()  # streams that it refuses by name, when they are subscribed
        self._transports: list[asyncio.Transport] = []
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Venue"]:
        app = web.Application()
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/api/v3/{path:.*}", self._rest)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refusing:
            return web.Response(status=503)
        assert request.transport is not None
        self._transports.append(request.transport)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            message = await socket.receive_json()
            self.asked.append(message["params"])
            await self.open.wait()
            for topic in self.unknown.intersection(message["params"]):
                await socket.send_json({"error": {"code": 2, "msg": f"unknown: {topic}"}, "id": message["id"]})
            await socket.send_json({"result": None, "id": message["id"]})
            self.subscribed[socket] = set(message["params"])
            while (message := await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                await socket.send_json({"result": None, "id": json.loads(message.data)["id"]})
        except TypeError:  # it was closed before it asked for anything
            pass
        finally:
            self.subscribed.pop(socket, None)
        return socket

    async def _rest(self, request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        replies: dict[str, Any] = {
            "klines": [],
            "ticker/24hr": {"lastId": self.sent.get(symbol, 0) or -1},
            "depth": {"lastUpdateId": 1, "bids": [["9", "1"]], "asks": [["11", "1"]]},
        }
        return web.json_response(replies[request.match_info["path"]])

    async def tell(self, symbol: str = "BTCUSDT") -> None:
        """Send the next trade."""
        number = self.sent[symbol] = self.sent.get(symbol, 0) + 1
        data = {"e": "trade", "s": symbol, "t": number, "p": "1", "q": "1", "T": NOON // MILLISECOND, "m": True}
        topic = f"{symbol.lower()}@trade"
        heard = [socket for socket, topics in self.subscribed.items() if topic in topics and not socket.closed]
        if not heard:
            self.unheard.append((symbol, number))
        for socket in heard:
            with suppress(ConnectionError):
                await socket.send_str(json.dumps({"stream": topic, "data": data}))

    def cut(self) -> None:
        """Break every line."""
        for transport in self._transports:
            transport.abort()


class Quick(Binance):
    limits = msgspec.structs.replace(Binance.limits, messages_per_second=10_000)


class Small(Quick):
    limits = msgspec.structs.replace(Quick.limits, streams_per_connection=2)


class Picky(Quick):
    """Its venue tells which stream it refuses."""

    refuses = Refusal(re.compile(r"unknown: (\S+)"))

    def topic(self, stream: Stream) -> str:
        return self._topic(stream)


class Store:
    """An intake without a bound."""

    full = False

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def room(self) -> None:
        return

    def put(self, items: Iterable[Item]) -> None:
        self.items.extend(items)


Wanted = dict[str, tuple[Channel, ...]]


def wanting(wanted: Wanted, **options: Any) -> Settings:
    blocks = tuple(Subscription((symbol,), channels) for symbol, channels in wanted.items())
    return Settings("binance", blocks, book_cadence_ns=20 * MILLISECOND, **options)


class Bench:
    """A collector of `wanted` on its venue. `known` is how far the database says that a stream had come."""

    def __init__(self, venue: Venue, wanted: Wanted, *, adapter: type[Binance] = Quick, **options: Any) -> None:
        self.store = Store()
        self.ids = {"BTC/USDT": 1, "ETH/USDT": 2, "SOL/USDT": 3, "SOL/EUR": 4}
        self.listed = [listed(symbol) for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT")]
        self.known: dict[tuple[int, Channel], Progress] = {}
        self.admitted: list[list[str]] = []
        self._options = options

        def new_adapter(ids: Mapping[str, int]) -> Adapter:
            return adapter(ids, Options(rest_url=f"http://{venue.url}", ws_url=f"ws://{venue.url}"))

        self.collector = Collector(
            wanting(wanted, **options), self.store, {}, new_adapter=new_adapter, load=self._load,
            register=self._register, admit=self._admit,
        )  # fmt: skip

    async def _load(self, _limiter: Limiter) -> list[Instrument]:
        return self.listed

    async def _register(self, instruments: Sequence[Instrument]) -> dict[str, int]:
        return {instrument.symbol: self.ids[instrument.symbol] for instrument in instruments}

    async def _admit(self, streams: Sequence[Stream], _adapter: Adapter) -> Mapping[Stream, Progress | None]:
        self.admitted.append([name_of(stream) for stream in streams])
        return {stream: self.known.get((stream.instrument_id, stream.channel)) for stream in streams}

    def change(self, wanted: Wanted) -> None:
        self.collector.change(wanting(wanted, **self._options))

    def states(self) -> dict[str, str]:
        return {name_of(stream): state for stream, (state, _) in self.collector.states.items()}

    def trades(self, instrument_id: int = 1) -> list[int]:
        rows = [item for item in self.store.items if isinstance(item, Trade)]
        return [int(row.trade_id) for row in rows if row.instrument_id == instrument_id]

    def gaps(self) -> list[Gap]:
        return [item for item in self.store.items if isinstance(item, Gap)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs it, stops it, and sees that it ends promptly."""
        task = asyncio.create_task(self.collector.run())
        try:
            yield
            self.collector.stop()
            async with asyncio.timeout(2):
                await asyncio.shield(task)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, states: dict[str, str]) -> None:
        await until(lambda: self.states() == states)


def name_of(stream: Stream) -> str:
    return f"{stream.instrument.base} {stream.channel}"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.001)
