"""A venue on this machine whose websocket does what a test scripts, and a sink that keeps what comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Adapter, Ignored, Shutdown
from ingest.exchanges.binance import Binance
from ingest.records import Instrument, Stream, Trade

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
Handler = Callable[[ServerConnection], Awaitable[None]]
Refusal = Callable[[ServerConnection, Request], Awaitable[Response | None]]


class Quick(Binance):
    """Binance without the pause between two messages."""

    limits = msgspec.structs.replace(Binance.limits, messages_per_second=10_000)


class Sink:
    """Keeps what it is given; waits in `room` while it is held."""

    def __init__(self, *, held: bool = False) -> None:
        self.frames: list[bytes] = []
        self.trades: list[int] = []
        self.times: list[int] = []
        self.refused: list[tuple[Stream, str]] = []
        self.renewals: list[Stream] = []
        self._open = asyncio.Event()
        if not held:
            self._open.set()

    @property
    def full(self) -> bool:
        return not self._open.is_set()

    async def room(self) -> None:
        await self._open.wait()

    def release(self) -> None:
        self._open.set()

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Ack | Shutdown] | None:
        self.frames.append(frame)
        self.times.append(received_ns)
        try:
            events = adapter.decode(frame, received_ns)
        except Rejected:
            return None
        self.trades.extend(int(event.trade_id) for event in events if isinstance(event, Trade))
        if all(isinstance(event, Ignored) for event in events):
            return None
        return [event for event in events if isinstance(event, Ack | Shutdown)]

    def defer(self, _adapter: Adapter, /) -> None:
        return

    def proceed(self, _adapter: Adapter, /) -> None:
        return

    def forget(self, _adapter: Adapter, /) -> None:
        return

    def renewed(self, streams: Sequence[Stream]) -> None:
        self.renewals += streams

    def refuse(self, streams: Sequence[Stream], said: str) -> None:
        self.refused += [(stream, said) for stream in streams]


@asynccontextmanager
async def serving(handler: Handler, refusal: Refusal | None = None) -> AsyncIterator[str]:
    """The venue's address, as long as it is served; a `refusal` that gives a response refuses the handshake."""
    async with serve(
        handler, "127.0.0.1", 0, process_request=refusal, compression=None, ping_interval=None, close_timeout=0.05
    ) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def refused(status: int, headers: dict[str, str], body: bytes = b"") -> Response:
    return Response(status, HTTPStatus(status).phrase, Headers(headers), body)


async def acknowledge(socket: ServerConnection) -> list[str]:
    """Read one request and accept it; return the streams that it names."""
    request = json.loads(await socket.recv())
    await socket.send(json.dumps({"result": None, "id": request["id"]}))
    return list(request["params"])


def trade(number: int) -> str:
    data = {"e": "trade", "s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": 1_600_000_000_000, "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.001)
