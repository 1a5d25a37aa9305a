"""Which trades a range of time holds, where history is asked by id alone.

A search that guesses by the pace of the trades it has seen, and by halves too when that takes long, so that no market
can mislead it.

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

_GUESSES = 6


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
        limit = adapter.limits.trades_page
        reply = await fetch(adapter.trades_request(instrument, start=first, end=first + limit - 1, limit=limit))
        trades, _ = adapter.decode_trades(reply.body, window.instrument_id, reply.received_ns)
        found = sorted((int(trade.trade_id), trade.time_ns) for trade in trades)
        return [each for each in found if each[0] >= first]  # a page that runs downwards may begin before it

    request = adapter.latest_trade_request(instrument)
    if request is None:
        raise Rejected(f"{adapter.exchange} does not tell the id of its latest trade")
    reply = await fetch(request)
    latest = adapter.decode_latest_trade(reply.body)
    found = await locate(window.first, window.last, -1 if latest is None else latest, ask)
    return found, reply.venue_ns or reply.received_ns


class _Seen:
    """The ends of the pages that were shown, for the next guess."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._page = 1

    def keep(self, page: Sequence[tuple[int, int]]) -> None:
        self._times.update([page[0], page[-1]] if page else [])
        self._page = max(self._page, len(page))

    def beyond(self, number: int) -> bool:
        """Whether a later trade was shown: then history does not trail this one, but has forgotten it."""
        return any(id_ > number for id_ in self._times)

    def guess(self, time_ns: int, low: int, high: int, *, missed: int, asked: int) -> int:
        """Where a page may hold both sides of a time: after the newest and the oldest by the pace between them.

        `missed` guesses in a row (negative: behind it) lay on one side: then it goes further, twice as far each time.
        """
        before = max((id_ for id_, at_ns in self._times.items() if at_ns < time_ns), default=None)
        behind = min((id_ for id_, at_ns in self._times.items() if at_ns >= time_ns), default=None)
        if asked > _GUESSES and asked % 2:
            return (low + high) // 2
        if before is None or behind is None:
            return (low if self._times else high - 1) if asked < 2 else (low + high) // 2
        passed, length = time_ns - self._times[before], self._times[behind] - self._times[before]
        aim = before + (behind - before) * passed // max(length, 1) - self._page // 2
        further = self._page * ((1 << abs(missed)) - 1)
        return min(max(aim + (further if missed > 0 else -further), low), high - 1)


async def locate(from_ns: int, to_ns: int, latest: int, ask: Ask) -> Found:
    """The trades from one time to another (inclusive), where `latest` is the highest id that the venue names."""
    seen = _Seen()
    start = await _edge(from_ns, 0, latest, ask, seen)
    if start.found is None:
        begins_ns = None if start.reached or latest < 0 else to_ns + 1
        return Found(start.low, max(latest, start.low - 1), begins_ns, followed=False)
    first, begins_ns = start.low, None
    if not start.reached:
        first = start.found[0]
        begins_ns = None if first <= 1 or start.found[1] == from_ns else start.found[1]
    end = await _edge(to_ns + 1, first, latest, ask, seen)
    last = max(latest, end.low - 1) if end.found is None else end.found[0] - 1
    return Found(first, last, begins_ns, followed=end.found is not None)


async def _edge(time_ns: int, low: int, latest: int, ask: Ask, seen: _Seen) -> _Edge:
    """The edge at a time, among the ids from `low` on."""
    high, found, reached, asked, missed = latest + 1, None, False, 0, 0
    while low < high:
        middle = seen.guess(time_ns, low, high, missed=missed, asked=asked)
        page, asked = await ask(middle), asked + 1
        seen.keep(page)
        earlier = sum(at_ns < time_ns for _, at_ns in page)
        if earlier:
            reached, low = True, page[earlier - 1][0] + 1
        if earlier < len(page):
            found = page[earlier]
        if not page and seen.beyond(middle):
            low = middle + 1
        elif earlier < len(page) or not page:
            high = low if earlier else middle
        side = 1 if earlier else -1
        missed = 0 if asked <= 2 else missed + side if missed * side >= 0 else side
    return _Edge(low, found, reached)
