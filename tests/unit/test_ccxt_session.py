"""A session through ccxt.pro's own binance, with a venue on this machine that does what each test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ingest.collect.ccxt_session import CcxtSession
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Adapter, Options, Shutdown
from ingest.exchanges.ccxt_client import Clients
from ingest.exchanges.ccxt_venue import ccxt_adapter
from ingest.records import Candle, CandleSource, Channel, Instrument, Stream, Trade

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
TIME_MS = 1_760_000_000_000
MARKET = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "isSpotTradingAllowed": True,
    "filters": [],
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
    "orderTypes": [],
}


class Sink:
    """Decodes what it is given, as the feed does; waits in `room` while `full`."""

    def __init__(self) -> None:
        self.full = self.fills = False
        self.events: list[Any] = []
        self.rejected: list[tuple[str, bytes]] = []
        self.refused: list[tuple[Channel, str]] = []
        self.opened = asyncio.Event()

    async def room(self) -> None:
        await self.opened.wait()

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> list[Ack | Shutdown] | None:
        try:
            self.events += adapter.decode(frame, received_ns)
        except Rejected as error:
            self.rejected.append((str(error), frame))
            return None
        self.full = self.full or (self.fills and bool(self.ids))
        return []

    def defer(self, _adapter: Adapter, /) -> None: ...

    def proceed(self, _adapter: Adapter, /) -> None: ...

    def forget(self, _adapter: Adapter, /) -> None: ...

    def renewed(self, _streams: Sequence[Stream], /) -> None: ...

    def refuse(self, streams: Sequence[Stream], said: str) -> None:
        self.refused += [(stream.channel, said) for stream in streams]

    @property
    def ids(self) -> list[int]:
        return [int(event.trade_id) for event in self.events if isinstance(event, Trade)]


def trade(number: int, price: str = "0.10000000", amount: str = "1.50") -> str:
    data = {"e": "trade", "E": TIME_MS, "s": "BTCUSDT", "t": number, "p": price, "q": amount, "T": TIME_MS, "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data})


def kline(minute: int, close: str) -> str:
    begun = TIME_MS // 60_000 * 60_000 + minute * 60_000
    body = {
        "t": begun,
        "T": begun + 59_999,
        "s": "BTCUSDT",
        "i": "1m",
        "o": "1.0",
        "c": close,
        "h": "2.50",
        "l": "1e-8",
    }
    data = {"e": "kline", "E": begun, "s": "BTCUSDT", "k": {**body, "v": "3.0", "x": False}}
    return json.dumps({"stream": "btcusdt@kline_1m", "data": data})


class Scene:
    def __init__(self, session: CcxtSession, sink: Sink) -> None:
        self.session = session
        self.sink = sink
        self.running: asyncio.Task[None] | None = None

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not holds():  # noqa: ASYNC110 - it looks at what passes
                await asyncio.sleep(0.01)


Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def playing(
    script: Script, *channels: Channel, acknowledge: bool = True, spoil: Callable[[Any], None] = lambda _client: None
) -> AsyncIterator[Scene]:
    """A session whose venue runs the script when the first subscription has come."""

    async def handler(socket: ServerConnection) -> None:
        asked = json.loads(await socket.recv())
        if acknowledge:
            await socket.send(json.dumps({"result": None, "id": asked["id"]}))
        await script(socket)
        await socket.wait_closed()

    async with serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        def configure(client: Any) -> None:
            client.urls["api"]["ws"]["spot"] = f"ws://127.0.0.1:{port}/stream"
            client.options["fetchMarkets"] = {"types": ["spot"]}

            async def fetch(*_: object) -> Any:
                return {"symbols": [MARKET]}

            client.fetch = fetch
            spoil(client)

        sink = Sink()
        streams = [Stream(7, BTC, channel) for channel in channels]
        adapter = ccxt_adapter("binance")({"BTC/USDT": 7}, Options())
        clients = Clients("binance", configure=configure)
        scene = Scene(CcxtSession(adapter, streams, sink, clients=clients, depth=20), sink)
        scene.running = asyncio.create_task(scene.session.run())
        try:
            yield scene
        finally:
            await scene.session.close()
            await asyncio.gather(scene.running, return_exceptions=True)


async def nothing(_socket: ServerConnection) -> None:
    return


async def test_numbers_keep_their_digits() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.send(trade(1, "0.10000000", "1e-8"))
        await socket.send(trade(2).replace('"0.10000000"', "0.123456789012345678901"))  # a JSON number

    async with playing(script, "trades") as scene:
        await scene.until(lambda: len(scene.sink.ids) == 2)
        shown = [(event.price, event.amount) for event in scene.sink.events]
        assert shown == [("0.10000000", "0.00000001"), ("0.123456789012345678901", "1.50")]
        assert scene.session.delivering


@pytest.mark.parametrize("bad", ['{"stream":"btcusdt@trade","data":{"e":', '{"stream":"btcusdt@trade","data":7}'])
async def test_a_bad_frame_is_kept_with_its_bytes_and_the_next_ones_come(bad: str) -> None:
    async def script(socket: ServerConnection) -> None:
        for frame in (trade(1), bad, trade(2)):
            await socket.send(frame)

    async with playing(script, "trades") as scene:
        await scene.until(lambda: scene.sink.ids == [1, 2])
        if bad.endswith(":"):
            assert [frame for _, frame in scene.sink.rejected] == [bad.encode()]


async def test_a_handler_that_raises_costs_its_frame_alone() -> None:
    def spoil(client: Any) -> None:
        handle = client.handle_message

        def raising(socket: Any, message: Any) -> None:
            if isinstance(message, dict) and message.get("data", {}).get("t") == 2:
                raise ZeroDivisionError("a bug in ccxt")
            handle(socket, message)

        client.handle_message = raising

    async def script(socket: ServerConnection) -> None:
        for number in (1, 2, 3):
            await socket.send(trade(number))

    async with playing(script, "trades", spoil=spoil) as scene:
        await scene.until(lambda: scene.sink.ids == [1, 3])
        assert scene.sink.rejected == [("ccxt: ZeroDivisionError: a bug in ccxt", trade(2).encode())]
        assert scene.running is not None
        assert not scene.running.done()


async def test_a_row_that_is_no_trade_costs_itself_alone() -> None:
    """Several trades come in one message of most exchanges."""
    row = {"symbol": "BTC/USDT", "timestamp": TIME_MS, "side": "buy", "price": "1", "amount": "2", "info": {}}
    async with playing(nothing, "trades") as scene:
        await scene.until(scene.session.live.is_set)
        scene.session.begin_message(TIME_MS * 1_000_000)
        for number, price in ((1, "1"), (2, None), (3, "1")):
            scene.session.heard_trade({**row, "id": str(number), "price": price})
        scene.session.end_message()
        assert scene.sink.ids == [1, 3]
        ((reason, payload),) = scene.sink.rejected
        assert reason.startswith("malformed frame: ")
        assert json.loads(payload)["channel"] == "trades"
        assert "'id': '2'" in json.loads(payload)["ccxt"]


async def test_candles_are_closed_when_the_next_one_opens() -> None:
    async def script(socket: ServerConnection) -> None:
        for frame in (kline(0, "1.5"), kline(0, "2.10"), kline(1, "2.2")):
            await socket.send(frame)
            await asyncio.sleep(0.02)

    async with playing(script, "candles") as scene:
        await scene.until(lambda: any(isinstance(event, Candle) for event in scene.sink.events))
        (candle,) = [event for event in scene.sink.events if isinstance(event, Candle)]
        assert (candle.open, candle.high, candle.low, candle.close, candle.volume) == (
            *("1.0", "2.50", "0.00000001", "2.10"),
            "3.0",
        )
        assert candle.source is CandleSource.STREAM
        assert candle.time_ns == TIME_MS // 60_000 * 60_000 * 1_000_000


async def test_it_is_live_when_all_is_subscribed_and_silence_alone_ends_nothing() -> None:
    async with playing(nothing, "trades") as scene:
        await scene.until(scene.session.live.is_set)  # a quiet market is live all the same
        assert not scene.session.delivering
        assert not scene.session.resubscribe(Stream(7, BTC, "trades"))  # the ledger's silence makes another session
        assert scene.running is not None
        assert not scene.running.done()


async def test_the_venue_is_not_read_while_there_is_no_room() -> None:
    async def script(socket: ServerConnection) -> None:
        for number in range(1, 21):
            await socket.send(trade(number))

    async with playing(script, "trades") as scene:
        scene.sink.fills = True  # with the first trade
        await scene.until(lambda: scene.sink.ids != [])
        await asyncio.sleep(0.1)
        assert scene.sink.ids == [1]
        scene.sink.full = scene.sink.fills = False
        scene.sink.opened.set()
        await scene.until(lambda: scene.sink.ids == list(range(1, 21)))


async def test_a_line_that_ends_is_told_and_what_came_before_is_taken() -> None:
    async def script(socket: ServerConnection) -> None:
        for number in range(1, 101):
            await socket.send(trade(number))
        await socket.close(1012)

    async with playing(script, "trades") as scene:
        assert scene.running is not None
        with pytest.raises(Retryable, match="binance: "):
            await scene.running
        assert scene.sink.ids == list(range(1, 101))


async def test_closing_takes_what_came_and_leaves_nothing_open() -> None:
    async def script(socket: ServerConnection) -> None:
        for number in range(1, 1001):
            await socket.send(trade(number))

    before = asyncio.all_tasks()
    async with playing(script, "trades") as scene:
        await scene.until(lambda: len(scene.sink.ids) > 0)
        client = scene.session._client
        await asyncio.sleep(0.05)
        await scene.session.close()
        assert scene.running is not None
        await scene.running
        assert scene.sink.ids == list(range(1, len(scene.sink.ids) + 1))
        assert client.session is None
        assert not client.clients
        theirs = [task for task in asyncio.all_tasks() - before if "ccxt" in repr(task)]
        assert not theirs


@pytest.mark.parametrize("refused", [True, False])
async def test_a_refused_channel_is_said_and_the_others_go_on(refused: bool) -> None:
    """One that ccxt fails at is not put out: its silence brings another session."""

    def spoil(client: Any) -> None:
        async def refuse(*_: object) -> None:
            import ccxt  # noqa: PLC0415

            if not refused:
                raise TypeError("a fault of ccxt's")
            raise ccxt.NotSupported("binance watchTicker() is not for this market")

        client.watch_ticker = refuse

    async def script(socket: ServerConnection) -> None:
        await socket.send(trade(1))

    async with playing(script, "trades", "ticker", spoil=spoil) as scene:
        await scene.until(scene.session.live.is_set)
        await scene.until(lambda: scene.sink.ids == [1])
        assert [channel for channel, _ in scene.sink.refused] == ["ticker"] * refused
        assert all("watchTicker() is not for this market" in said for _, said in scene.sink.refused)
