"""Binance's public REST endpoints for spot, keyless, answered from the market and the ledger.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Every reply passes `Rest.reply`.
"""

from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final

import orjson
from aiohttp import web
from msgspec import Struct

from ingest.simulator.book import top
from ingest.simulator.candles import INTERVALS, MINUTE_US, following, opening
from ingest.simulator.ledger import Ledger
from ingest.simulator.limits import Limits, Weights, depth_weight
from ingest.simulator.listing import Listed
from ingest.simulator.market import Market
from ingest.simulator.rest_faults import NO_TROUBLE, RestFaults, Trouble, cut_short
from ingest.simulator.tape import Aggregate, Tape
from ingest.simulator.wire import Scribe, exchange_info, stamp

_MICROSECONDS_FROM: Final = 100_000_000_000_000  # a time parameter may be given in either unit


class Refusal(Exception):
    """An error as Binance words it."""

    def __init__(self, code: int, message: str, status: int = 400, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.code = code
        self.status = status

    def body(self) -> bytes:
        return orjson.dumps({"code": self.code, "msg": str(self)})


class Call(Struct, frozen=True):
    """One request: where to, with what, in which unit of time it wants its answer, and the faults that it meets."""

    path: str
    query: dict[str, str]
    micro: bool
    trouble: Trouble = NO_TROUBLE

    def number(self, name: str) -> int | None:
        """An integer parameter. Raises `Refusal` for one that is none."""
        value = self.query.get(name)
        if value is None or value == "":
            return None
        if not value.isdigit():
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return int(value)

    def limit(self, default: int, most: int) -> int:
        value = self.number("limit")
        if value == 0:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value or default, most)

    def time_us(self, name: str) -> int | None:
        value = self.number(name)
        return value if value is None or value >= _MICROSECONDS_FROM else value * 1_000

    def names(self) -> list[str] | None:
        """The instruments of `symbol` or `symbols`, None for all."""
        if "symbols" in self.query:
            try:
                return [str(name) for name in orjson.loads(self.query["symbols"])]
            except (orjson.JSONDecodeError, TypeError):
                raise Refusal(-1100, "Illegal characters found in parameter 'symbols'.") from None
        return [self.query["symbol"]] if "symbol" in self.query else None


Handler = Callable[[Call], str | bytes]


class Rest:
    """Answers calls. `clock` gives the venue's own time in microseconds, `told` the time that clients are told."""

    def __init__(
        self,
        market: Market,
        ledger: Ledger,
        scribes: tuple[Scribe, ...],
        limits: Limits,
        clock: Callable[[], int],
        *,
        faults: RestFaults,
        told: Callable[[], int],
    ) -> None:
        self._market = market
        self._ledger = ledger
        self._scribes = scribes
        self._limits = limits
        self._clock = clock
        self._faults = faults
        self._told = told
        self._weights = Weights(limits.weight_per_minute)
        self.listed: dict[str, Listed] = {}  # by native name; what is not named is trading
        self._handlers: dict[str, tuple[Handler, Callable[[Call], int]]] = {
            "/api/v3/ping": (lambda _: b"{}", lambda _: 1),
            "/api/v3/time": (self._time, lambda _: 1),
            "/api/v3/exchangeInfo": (self._exchange_info, lambda _: 20),
            "/api/v3/depth": (self._depth, lambda call: depth_weight(call.limit(100, 5_000))),
            "/api/v3/klines": (self._klines, lambda _: 2),
            "/api/v3/uiKlines": (self._klines, lambda _: 2),
            "/api/v3/trades": (self._trades, lambda _: 25),
            "/api/v3/historicalTrades": (self._historical_trades, lambda _: 25),
            "/api/v3/aggTrades": (self._aggregates, lambda _: 4),
            "/api/v3/ticker/24hr": (self._day, self._day_weight),
            "/api/v3/ticker/price": (self._price, lambda call: 2 if "symbol" in call.query else 4),
            "/api/v3/ticker/bookTicker": (self._book_ticker, lambda call: 2 if "symbol" in call.query else 4),
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler of every path under `/api/v3`."""
        micro = request.headers.get("X-MBX-TIME-UNIT", "").lower() == "microsecond"
        trouble = self._faults.meet(request.path.removeprefix("/api/v3/"), request.query.get("symbol", ""))
        await self._faults.wait(trouble)
        reply = self.reply(Call(request.path, dict(request.query), micro, trouble))
        return await cut_short(request, reply, trouble)

    def reply(self, call: Call) -> web.Response:
        """Count the weight, answer with the faults that the call meets, and say so in the headers."""
        refused = self._faults.refusal(call.trouble)
        if refused is not None:
            refused.headers["Date"] = formatdate(self._told() / 1_000_000, usegmt=True)
            return refused
        headers: dict[str, str] = {}
        try:
            status, made = 200, self._made(call)
            body = self._faults.spoiled(call.trouble, made.encode() if isinstance(made, str) else made)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body()
            if refusal.retry_after is not None:
                headers["Retry-After"] = str(refusal.retry_after)
        headers["Date"] = formatdate(self._told() / 1_000_000, usegmt=True)  # the venue's clock, not this machine's
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = str(self._weights.used)
        return web.Response(status=status, body=body, content_type="application/json", charset="utf-8", headers=headers)

    def _made(self, call: Call) -> str | bytes:
        found = self._handlers.get(call.path)
        if found is None:
            raise Refusal(-1000, f"Path {call.path}, Method GET is invalid", 404)
        handler, weigh = found
        wait = self._weights.spend(weigh(call), self._clock())
        if wait is not None:
            limit = self._limits.weight_per_minute
            raise Refusal(
                -1003,
                f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
                429,
                retry_after=wait,
            )
        return handler(call)

    def _index(self, call: Call) -> int:
        name = call.query.get("symbol")
        if not name:
            raise Refusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        return self._find(name)

    def _find(self, name: str) -> int:
        try:
            return self._ledger.index(name)
        except KeyError:
            raise Refusal(-1121, "Invalid symbol.") from None

    def _time(self, call: Call) -> bytes:
        return orjson.dumps({"serverTime": stamp(self._told(), micro=call.micro)})

    def _exchange_info(self, call: Call) -> bytes:
        names, listings = call.names(), self._ledger.listings
        if names is not None:
            listings = tuple(listings[self._find(name)] for name in names)
        shown = [listing for listing in listings if self.listed.get(listing.native) != "gone"]
        halted = {native for native, listed in self.listed.items() if listed == "halted"}
        weight = self._limits.weight_per_minute
        return orjson.dumps(exchange_info(shown, self._told(), weight, micro=call.micro, halted=halted))

    def _depth(self, call: Call) -> str:
        index, limit = self._index(call), call.limit(100, 5_000)
        if call.trouble.memory.behind:
            trail = self._ledger.trails[index]
            state = trail.states([max(trail.sequence - call.trouble.memory.behind, trail.base)], limit)[0]
            return self._scribes[index].depth(state.sequence, state.bids, state.asks)
        book = self._market.pits[index].book
        bids, asks = top(book.bids, book.levels, limit), top(book.asks, book.levels, limit)
        return self._scribes[index].depth(book.sequence, bids, asks)

    def _klines(self, call: Call) -> str:
        index, limit = self._index(call), call.limit(500, 1_000)
        interval = call.query.get("interval", "")
        if interval not in INTERVALS:
            raise Refusal(-1120, "Invalid interval.")
        now_us = self._market.time_us
        first_us, end_us = call.time_us("startTime"), call.time_us("endTime")
        last_us = now_us if end_us is None else min(end_us, now_us)
        if first_us is None:
            length = INTERVALS[interval] or 31 * 24 * 60 * MINUTE_US
            first_us = opening(interval, max(opening(interval, last_us) - (limit - 1) * length, 0))
            if interval == "1M":  # months differ in length: step forward to the last `limit` of them
                while self._months(first_us, last_us) > limit:
                    first_us = following(interval, first_us)
        tape, memory = self._ledger.tapes[index], call.trouble.memory
        candles = memory.candles(tape, now_us, interval, first_us, last_us, limit)
        scribe = self._scribes[index]
        return _array(scribe.kline_row(interval, candle, micro=call.micro) for candle in candles)

    @staticmethod
    def _months(first_us: int, last_us: int) -> int:
        count = 0
        while first_us <= last_us:
            first_us, count = following("1M", first_us), count + 1
        return count

    def _trades(self, call: Call) -> str:
        index, limit = self._index(call), call.limit(500, 1_000)
        return self._trade_rows(index, None, limit, call)

    def _historical_trades(self, call: Call) -> str:
        index, limit = self._index(call), call.limit(500, 1_000)
        return self._trade_rows(index, call.number("fromId"), limit, call)

    def _trade_rows(self, index: int, first: int | None, limit: int, call: Call) -> str:
        """From an id on, or the newest."""
        scribe, tape = self._scribes[index], self._ledger.tapes[index]
        trades = call.trouble.memory.trades(tape, self._market.time_us, first, limit)
        return _array(scribe.trade_row(trade, micro=call.micro) for trade in trades)

    def _aggregates(self, call: Call) -> str:
        index, limit = self._index(call), call.limit(500, 1_000)
        scribe, tape = self._scribes[index], self._ledger.tapes[index]
        runs = self._runs(call, tape, limit)
        return _array(scribe.aggregate_row(run, micro=call.micro) for run in runs)

    def _runs(self, call: Call, tape: Tape, limit: int) -> Iterable[Aggregate]:
        from_id, start_us, end_us = call.number("fromId"), call.time_us("startTime"), call.time_us("endTime")
        memory, now_us = call.trouble.memory, self._market.time_us
        if from_id is not None:
            return memory.aggregates(tape, now_us, from_id, None, limit)
        end = None if end_us is None else tape.aggregate_of(tape.first_id_at(end_us + 1))
        first = None if start_us is None else tape.aggregate_of(tape.first_id_at(start_us))
        return memory.aggregates(tape, now_us, first, end, limit)

    def _each(self, call: Call, make: Callable[[int], dict[str, str | int]]) -> bytes:
        """One object for `symbol`, an array for `symbols` or none."""
        names = call.names()
        if "symbol" in call.query and names:
            return orjson.dumps(make(self._find(names[0])))
        indexes = range(len(self._scribes)) if names is None else [self._find(name) for name in names]
        return orjson.dumps([make(index) for index in indexes])

    def _day_weight(self, call: Call) -> int:
        names = call.names()
        count = len(self._scribes) if names is None else len(names)
        return 80 if names is None or count > 100 else 40 if count > 20 else 2

    def _day(self, call: Call) -> bytes:
        def facts(index: int) -> dict[str, str | int]:
            tape, book = self._ledger.tapes[index], self._market.pits[index].book
            bid, ask = top(book.bids, book.levels, 1)[0], top(book.asks, book.levels, 1)[0]
            return self._scribes[index].day_facts(
                tape.day(), tape.last_lots, bid, ask, self._market.time_us, micro=call.micro
            )

        return self._each(call, facts)

    def _price(self, call: Call) -> bytes:
        def facts(index: int) -> dict[str, str | int]:
            tape = self._ledger.tapes[index]
            return {"symbol": tape.listing.native, "price": tape.listing.price(tape.close)}

        return self._each(call, facts)

    def _book_ticker(self, call: Call) -> bytes:
        def facts(index: int) -> dict[str, str | int]:
            book, scribe = self._market.pits[index].book, self._scribes[index]
            (bid, bid_lots), (ask, ask_lots) = top(book.bids, book.levels, 1)[0], top(book.asks, book.levels, 1)[0]
            names: dict[str, str | int] = {
                "symbol": scribe.native,
                "bidPrice": scribe.price[bid],
                "bidQty": scribe.amount[bid_lots],
            }
            return names | {"askPrice": scribe.price[ask], "askQty": scribe.amount[ask_lots]}

        return self._each(call, facts)


def _array(rows: Iterable[str]) -> str:
    return f"[{','.join(rows)}]"
