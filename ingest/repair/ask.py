"""One venue's history, asked a window at a time: the request, its reply, and where history begins."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct, structs

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.exchanges.adapter import Adapter, Bad, Request
from ingest.exchanges.rest import Reply
from ingest.records import Candle, CandleSource, CoarseCandle, Instrument
from ingest.repair.fold import folds, made
from ingest.repair.page import Page, of_candles, of_trades
from ingest.repair.timeframes import longer, offered
from ingest.store.window import Window, opening, place

_KEPT_FOR_LIVE = 0.5  # of the venue's limit
_GRACE_NS = 10 * SECOND
"""A minute counts as over this long after its end, by the venue's clock: its last trades must have arrived there."""
_ALL_NS = 2**63 - 1


class Source(Protocol):
    """What repair needs of `Rest`."""

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply: ...


class Answer(Struct, frozen=True):
    """A page, the rows that could not be read, and when it came.

    `begins_ns` is set where the venue has no candle of the window's start, nor of a page of minutes or hours before it:
    the open of the first one that it shows.
    """

    page: Page
    bad: Sequence[Bad]
    received_ns: int
    begins_ns: int | None = None


class Asker:
    """Calls are made while half of what the venue allows at once is free: live data goes first."""

    def __init__(self, exchange: str, rest: Source, adapter: Adapter) -> None:
        self._exchange = exchange
        self._rest = rest
        self._adapter = adapter

    async def fetch(self, request: Request) -> Reply:
        return await self._rest.fetch(request, keep=_KEPT_FOR_LIVE)

    async def trades(self, instrument: Instrument, window: Window) -> Answer:
        """Of a window that goes by id."""
        limit = window.last - window.first + 1
        reply = await self.fetch(
            self._adapter.trades_request(instrument, start=window.first, end=window.last, limit=limit)
        )
        trades, bad = self._adapter.decode_trades(reply.body, window.instrument_id, reply.received_ns)
        return Answer(of_trades(window, trades, bad), bad, reply.received_ns)

    async def candles(self, instrument: Instrument, window: Window) -> Answer:
        limit = (window.last - window.first) // window.step + 1
        candles, bad, reply = await self._candles(instrument, window, window.first, limit)
        as_of_ns = (reply.venue_ns or reply.received_ns - MINUTE) - _GRACE_NS
        page, begins_ns = of_candles(window, candles, bad, as_of_ns=as_of_ns), None
        if window.timeframe == "1m" and folds(self._adapter):
            return await self._with_made(instrument, window, Answer(page, bad, reply.received_ns), as_of_ns)
        if any(absent.why == "forgotten" for absent in page.absent):
            if await self.reaches_back(instrument, window):
                page = structs.replace(page, absent=())
            else:
                begins_ns = min(candle.time_ns for candle in candles)
        if window.timeframe != "1m":
            rows = [_coarse(candle, window) for candle in page.rows if isinstance(candle, Candle)]
            page = structs.replace(page, rows=rows)
        return Answer(page, bad, reply.received_ns, begins_ns)

    async def _with_made(self, instrument: Instrument, window: Window, answer: Answer, as_of_ns: int) -> Answer:
        """An answer and, of the minutes that REST's candles do not reach, what the trades make of them."""
        page, kept = answer.page, self._adapter.limits.candles_kept or 0
        beyond = next((absent.window for absent in page.absent if absent.why == "forgotten"), None)
        if beyond is None and not page.rows and window.last < as_of_ns - kept * MINUTE:
            beyond = window  # nothing was traded since, or not as often as REST shows candles
        if beyond is None:
            return answer
        older, bad = await made(self.fetch, self._adapter, instrument, beyond)
        if older.rest is not None:
            rest = structs.replace(window, from_ns=older.rest.first)
            return Answer(structs.replace(older, rest=rest), bad, answer.received_ns)
        whole = beyond.last == window.last
        rows = [row for row in (*older.rows, *page.rows) if isinstance(row, Candle)]
        page = structs.replace(page, rows=rows, absent=older.absent, rest=None if whole else page.rest)
        return Answer(page, [*bad, *answer.bad], answer.received_ns)

    async def reaches_back(self, instrument: Instrument, window: Window) -> bool:
        """Whether history holds a candle before the window: then what it lacks at its start had no trades.

        A page of minutes may be five hours, and a small market be quiet for longer; hours tell of some weeks.
        """
        if await self._holds_before(instrument, window):
            return True
        hours = structs.replace(window, timeframe="1h")
        told = self._adapter.limits.candles_kept is None and "1h" in offered(self._exchange)
        return told and window.step < hours.step and await self._holds_before(instrument, hours)

    async def _holds_before(self, instrument: Instrument, window: Window) -> bool:
        """Whether history shows a candle that was over when the window began, on the page before it."""
        limit, frame = self._adapter.limits.candles_page, window.timeframe
        start_ns = opening(place(window.first, frame) - limit, frame)
        candles, _, _ = await self._candles(instrument, window, start_ns, limit)
        return any(candle.time_ns + window.step <= window.first for candle in candles)

    async def _candles(
        self, instrument: Instrument, window: Window, start_ns: int, limit: int
    ) -> tuple[list[Candle], list[Bad], Reply]:
        request = self._adapter.candles_request(instrument, start_ns=start_ns, limit=limit)
        request = longer(request, self._exchange, window.timeframe, start_ns=start_ns, limit=limit)
        reply = await self.fetch(request)
        candles, bad = self._adapter.decode_candles(
            reply.body, window.instrument_id, reply.received_ns, CandleSource.REST, as_of_ns=_ALL_NS
        )
        return candles, bad, reply


def _coarse(candle: Candle, window: Window) -> CoarseCandle:
    return CoarseCandle(*structs.astuple(candle), timeframe=window.timeframe)


class _Told(Struct):
    """When a venue says that it listed an instrument: Binance's futures, Bybit, OKX, each in milliseconds."""

    onboardDate: int | str | None = None  # noqa: N815 - the wire's name
    launchTime: int | str | None = None  # noqa: N815
    listTime: int | str | None = None  # noqa: N815


def listed_ns(instrument: Instrument) -> int | None:
    """When the venue listed it, None where it does not say."""
    try:
        told = msgspec.json.decode(instrument.info, type=_Told)
        found = told.onboardDate or told.launchTime or told.listTime
        return int(found) * MILLISECOND if found else None
    except ValueError:
        return None
