"""Which trades a range of time holds, where history is asked by id alone: a search by halves.

It rests on ids that are contiguous, and on times that never go back as ids go up. What history passes over at an edge
of the range counts as within.
"""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from ingest.errors import Rejected
from ingest.exchanges.adapter import Adapter, Request
from ingest.exchanges.rest import Reply
from ingest.records import Instrument
from ingest.store.window import Window

Ask = Callable[[int], Awaitable[Sequence[tuple[int, int]]]]
"""(id, time) of a page of trades from an id on, in order; empty where history does not reach so far."""


class Found(Struct, frozen=True):
    """The ids of a range, both ends inclusive; `last` lies before `first` where the range holds no trade.

    `begins_ns` is set where history does not reach back to the range's start: the time of the first trade that it has,
    or one behind the range. `followed` tells that history holds a trade behind the range, and so all of the range.
    """

    first: int
    last: int
    begins_ns: int | None
    followed: bool


class _Edge(Struct, frozen=True):
    """Between the trades before a time and those at or after it.

    `low` is the lowest id that may be of the latter, `found` the first of them that history shows; `reached` tells
    that it shows some of the former.
    """

    low: int
    found: tuple[int, int] | None
    reached: bool


async def find(
    fetch: Callable[[Request], Awaitable[Reply]], adapter: Adapter, instrument: Instrument, window: Window
) -> tuple[Found, int]:
    """The ids of a window by time, and the venue's time as of which that holds."""

    async def ask(first: int) -> list[tuple[int, int]]:
        reply = await fetch(adapter.trades_request(instrument, start=first, end=None, limit=adapter.limits.trades_page))
        trades, _ = adapter.decode_trades(reply.body, window.instrument_id, reply.received_ns)
        return sorted((int(trade.trade_id), trade.time_ns) for trade in trades)

    request = adapter.latest_trade_request(instrument)
    if request is None:
        raise Rejected(f"{adapter.exchange} does not tell the id of its latest trade")
    reply = await fetch(request)
    latest = adapter.decode_latest_trade(reply.body)
    found = await locate(window.first, window.last, -1 if latest is None else latest, ask)
    return found, reply.venue_ns or reply.received_ns


async def locate(from_ns: int, to_ns: int, latest: int, ask: Ask) -> Found:
    """The trades from one time to another (inclusive), where `latest` is the highest id that the venue names."""
    start = await _edge(from_ns, 0, latest, ask)
    if start.found is None:
        begins_ns = None if start.reached or latest < 0 else to_ns + 1
        return Found(start.low, max(latest, start.low - 1), begins_ns, followed=False)
    first, begins_ns = start.low, None
    if not start.reached:
        first = start.found[0]
        begins_ns = None if first <= 1 or start.found[1] == from_ns else start.found[1]
    end = await _edge(to_ns + 1, first, latest, ask)
    last = max(latest, end.low - 1) if end.found is None else end.found[0] - 1
    return Found(first, last, begins_ns, followed=end.found is not None)


async def _edge(time_ns: int, low: int, latest: int, ask: Ask) -> _Edge:
    """The edge at a time, among the ids from `low` on."""
    high, found, reached = latest + 1, None, False
    while low < high:
        middle = (low + high) // 2
        page = await ask(middle)
        earlier = sum(at_ns < time_ns for _, at_ns in page)
        if earlier:
            reached, low = True, page[earlier - 1][0] + 1
        if earlier < len(page):
            found = page[earlier]
        if earlier < len(page) or not page:
            high = low if earlier else middle
    return _Edge(low, found, reached)
