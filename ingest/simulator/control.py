"""HTTP outside of Binance's protocol: the ledger for comparisons, and the market's reins."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from ingest.simulator.candles import INTERVALS
from ingest.simulator.chaos import Mix
from ingest.simulator.faults import read_fault
from ingest.simulator.ledger import Ledger, LedgerBook, LedgerTrade
from ingest.simulator.listing import Listed
from ingest.simulator.saboteur import Saboteur

_LINES_A_WRITE: Final = 5_000
Order = TypeVar("Order")
_encode = msgspec.json.Encoder().encode


class BooksQuery(msgspec.Struct, frozen=True):
    symbol: str
    sequences: list[int]
    depth: int = 20


class BooksReply(msgspec.Struct, frozen=True):
    symbol: str
    books: list[LedgerBook]


class PauseOrder(msgspec.Struct, frozen=True):
    paused: bool


class BurstOrder(msgspec.Struct, frozen=True):
    symbol: str
    trades: int


class ChaosOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Mix`, or `off`."""

    seed: int | None = None
    per_minute: float = 20.0
    weights: dict[str, float] = {}
    off: bool = False


class ListingOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    symbol: str
    listed: Listed


class Reins(Protocol):
    """What may be done to a running venue."""

    paused: bool
    faults: Saboteur

    def pause(self, *, paused: bool) -> None: ...
    def burst(self, symbol: str, trades: int) -> None: ...
    def list_as(self, symbol: str, listed: Listed) -> None: ...
    def stop(self) -> None: ...


class Control:
    """The handlers of `/ledger/*` and `/control/*`. They cost no weight."""

    def __init__(self, ledger: Ledger, reins: Reins) -> None:
        self._ledger = ledger
        self._reins = reins

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ledger/summary", self.summary),
            web.get("/ledger/trades", self.trades),
            web.get("/ledger/candles", self.candles),
            web.post("/ledger/books", self.books),
            web.get("/ledger/faults", self.happened),
            web.post("/control/fault", self.fault),
            web.post("/control/chaos", self.chaos),
            web.post("/control/calm", self.calm),
            web.post("/control/pause", self.pause),
            web.post("/control/burst", self.burst),
            web.post("/control/listing", self.listing),
            web.post("/control/stop", self.stop),
        ]

    async def summary(self, _: web.Request) -> web.Response:
        return _json(self._ledger.summary(paused=self._reins.paused))

    async def trades(self, request: web.Request) -> web.StreamResponse:
        """NDJSON, or with `format=tsv` lines of time_us, id, side, price, amount."""
        symbol, query = self._symbol(request), request.query
        rows = self._ledger.trades(symbol, _number(query.get("from_id")), _number(query.get("to_id")))
        if query.get("format") == "tsv":
            return await _stream(request, (_tabbed(row) for row in rows), "text/tab-separated-values")
        return await _stream(request, map(_encode, rows), "application/x-ndjson")

    async def candles(self, request: web.Request) -> web.StreamResponse:
        """NDJSON of closed candles; `start` and `end` are microseconds, `end` exclusive."""
        symbol, query = self._symbol(request), request.query
        interval = query.get("interval", "1m")
        if interval not in INTERVALS:
            raise web.HTTPBadRequest(text=f"interval {interval!r} is not one of {', '.join(INTERVALS)}")
        rows = self._ledger.candles(symbol, interval, _number(query.get("start")), _number(query.get("end")))
        return await _stream(request, map(_encode, rows), "application/x-ndjson")

    async def books(self, request: web.Request) -> web.Response:
        query = _decode(await request.read(), BooksQuery)
        try:
            return _json(BooksReply(query.symbol, self._ledger.books(query.symbol, query.sequences, query.depth)))
        except KeyError:
            raise web.HTTPNotFound(text=f"symbol {query.symbol!r} is not listed") from None
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None

    async def pause(self, request: web.Request) -> web.Response:
        """Freeze the market or let it go on; answers with the summary at that moment."""
        self._reins.pause(paused=_decode(await request.read(), PauseOrder).paused)
        return _json(self._ledger.summary(paused=self._reins.paused))

    async def burst(self, request: web.Request) -> web.Response:
        order = _decode(await request.read(), BurstOrder)
        try:
            self._reins.burst(order.symbol, order.trades)
        except KeyError:
            raise web.HTTPNotFound(text=f"symbol {order.symbol!r} is not listed") from None
        return _json({})

    async def listing(self, request: web.Request) -> web.Response:
        """What `exchangeInfo` says of an instrument from now on."""
        order = _decode(await request.read(), ListingOrder)
        try:
            self._reins.list_as(order.symbol, order.listed)
        except KeyError:
            raise web.HTTPNotFound(text=f"symbol {order.symbol!r} is not listed") from None
        return _json({})

    async def happened(self, request: web.Request) -> web.StreamResponse:
        """NDJSON of what faults did, in the order of first acts; `kind` chooses."""
        kind = request.query.get("kind", "")
        rows = [incident for incident in self._reins.faults.happened if kind in {"", incident.kind}]
        return await _stream(request, map(_encode, rows), "application/x-ndjson")

    async def fault(self, request: web.Request) -> web.Response:
        """Arm a fault; answers with the number that its acts have in the ledger."""
        try:
            fault = read_fault(await request.read())
            return _json({"fault": self._reins.faults.add(fault)})
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        except KeyError as error:
            raise web.HTTPNotFound(text=f"symbol {error} is not listed") from None

    async def chaos(self, request: web.Request) -> web.Response:
        """Random faults from a seed, or an end to them; answers with what is in force from now on."""
        order = _decode(await request.read(), ChaosOrder)
        if order.off == (order.seed is not None):
            raise web.HTTPBadRequest(text='say {"seed": …, "per_minute": …} or {"off": true}')
        mix = None
        if order.seed is not None:
            said = {"seed": order.seed, "per_minute": order.per_minute, "weights": order.weights}
            try:
                mix = msgspec.convert(said, Mix)
            except msgspec.ValidationError as error:
                raise web.HTTPBadRequest(text=str(error)) from None
        self._reins.faults.chaos(mix)
        return _json(mix or {"off": True})

    async def calm(self, _: web.Request) -> web.Response:
        """Lift every fault."""
        self._reins.faults.clear()
        return _json({})

    async def stop(self, _: web.Request) -> web.Response:
        self._reins.stop()
        return _json({})

    def _symbol(self, request: web.Request) -> str:
        name = request.query.get("symbol", "")
        try:
            self._ledger.index(name)
        except KeyError:
            raise web.HTTPNotFound(text=f"symbol {name!r} is not listed") from None
        return name


def _number(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise web.HTTPBadRequest(text=f"{value!r} is not a whole number") from None


def _decode(body: bytes, kind: type[Order]) -> Order:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


def _json(value: object) -> web.Response:
    return web.Response(body=_encode(value), content_type="application/json")


def _tabbed(row: LedgerTrade) -> bytes:
    return f"{row.time_us}\t{row.id}\t{row.side}\t{row.price}\t{row.amount}".encode()


async def _stream(request: web.Request, lines: Iterable[bytes], content_type: str) -> web.StreamResponse:
    """Write lines a few thousand at a time, so that neither memory nor the market waits for the whole."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    rest: Iterator[bytes] = iter(lines)
    while part := list(islice(rest, _LINES_A_WRITE)):
        await response.write(b"\n".join(part) + b"\n")
    await response.write_eof()
    return response
