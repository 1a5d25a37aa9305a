"""Trades between two times, page by page, where history is asked by time or shows its latest trades alone.

Pages overlap by the instant at which the one before ended, so that trades of one moment that lie on two pages are not
passed over; a trade that comes twice counts once.
"""

from collections.abc import Awaitable, Callable

from msgspec import Struct, field, structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.exchanges.adapter import Adapter, Bad, Request
from ingest.exchanges.rest import Reply
from ingest.records import Instrument, Trade
from ingest.repair.page import Absent, Page, of_trades
from ingest.store.window import Window

_PAGES_MAX = 50
"""As many are held in memory; what lies behind them is asked for when they are stored."""
_END_TRIES = 3
_OLD_NS = 60 * MINUTE

Fetch = Callable[[Request], Awaitable[Reply]]


class Gathered(Struct):
    """All that history shows from the window's start up to `until_ns` (inclusive), by trade id.

    `begins_ns` is set where it does not reach back before the start: from then on it has every trade. `as_of_ns` is the
    venue's time of the first reply: what was traded later may be missing.
    """

    until_ns: int
    trades: dict[str, Trade] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    begins_ns: int | None = None
    as_of_ns: int = 0

    def goes_on_behind(self, time_ns: int) -> bool:
        """Whether history shows a trade at this time or later: then it does not trail it."""
        return any(trade.time_ns >= time_ns for trade in self.trades.values())

    def keep(self, trades: list[Trade], bad: list[Bad], reply: Reply) -> None:
        """Take a page in."""
        self.trades |= {trade.trade_id: trade for trade in trades}
        self.bad += bad
        self.as_of_ns = self.as_of_ns or reply.venue_ns or reply.received_ns


async def gather(fetch: Fetch, adapter: Adapter, instrument: Instrument, window: Window) -> Gathered:
    """The trades of a window whose times are known."""
    assert window.from_ns is not None  # noqa: S101 - the caller looked
    assert window.to_ns is not None  # noqa: S101
    first_ns, last_ns = window.from_ns, window.to_ns

    async def ask(start_ns: int, end_ns: int) -> tuple[list[Trade], list[Bad], Reply]:
        limit = adapter.limits.trades_page
        reply = await fetch(adapter.trades_request(instrument, start=start_ns, end=end_ns, limit=limit))
        return *adapter.decode_trades(reply.body, window.instrument_id, reply.received_ns), reply

    if adapter.history.by == "recent":
        found = Gathered(last_ns)
        found.keep(*await ask(first_ns, last_ns))
        oldest_ns = min((trade.time_ns for trade in found.trades.values()), default=0)
        if oldest_ns >= first_ns:  # of its first moment there may have been more
            found.begins_ns = oldest_ns + MICROSECOND
        return found
    return await _up(ask, first_ns, last_ns)


Ask = Callable[[int, int], Awaitable[tuple[list[Trade], list[Bad], Reply]]]


async def _up(ask: Ask, first_ns: int, last_ns: int) -> Gathered:
    """From the start on, until a page goes beyond the end, or shows nothing new.

    Such venues know no end: of a time long over a page that nothing follows may be cut short, and is asked for again.
    """
    found, at_ns, pages, still = Gathered(last_ns), first_ns, 0, 0
    while pages < _PAGES_MAX:
        trades, bad, reply = await ask(at_ns, last_ns)
        known = len(found.trades)
        found.keep(trades, bad, reply)
        newest_ns = max((trade.time_ns for trade in trades), default=at_ns)
        if newest_ns > last_ns:
            return found
        if len(found.trades) == known:
            still += 1
            if bad or still == _END_TRIES or found.as_of_ns < last_ns + _OLD_NS:
                return found
            continue
        pages, still = pages + 1, 0
        at_ns = newest_ns if newest_ns > at_ns else at_ns + MICROSECOND
    found.until_ns = at_ns - MICROSECOND
    return found


def page_of(window: Window, found: Gathered) -> Page:
    """What the trades say about their window. Where it goes by ids, those show whether any is missing."""
    if window.from_id is not None:
        page = of_trades(window, list(found.trades.values()), found.bad)
        if page.rest is None or found.until_ns >= (window.to_ns or 0):
            return page
        # Up to `until` all is seen: what is left came later, also where no id of the window was met on the way.
        later = structs.replace(page.rest, from_ns=max(found.until_ns + MICROSECOND, page.rest.from_ns or 0))
        return structs.replace(page, rest=later, open_seconds=0.0)
    first, until = window.first, min(found.until_ns, window.last)
    rows = sorted((t for t in found.trades.values() if first <= t.time_ns <= until), key=lambda trade: trade.time_ns)
    absent: list[Absent] = []
    if found.begins_ns is not None:
        end_ns = min(found.begins_ns - MICROSECOND, window.last)
        absent.append(Absent(structs.replace(window, to_ns=end_ns), "forgotten"))
    elif found.bad:
        absent.append(Absent(structs.replace(window, to_ns=until), "unreadable"))
    left = structs.replace(window, from_ns=until + window.step) if until < window.last else None
    return Page(rows, tuple(absent), left, 0.0 if left is not None else None)
