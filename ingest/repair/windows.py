"""A range of history cut into windows that one request each can fetch. Pure; for repair and backfill alike."""

from collections.abc import Callable, Iterator

from msgspec import structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.exchanges.adapter import Adapter, Limits
from ingest.store.window import Window, opening, place

_HOUR = 60 * MINUTE


def plan(span: Window, limits: Limits) -> list[Window]:
    """The windows of a gap or of a range, oldest first: they cover it exactly, and none overlaps another.

    Ids go before times; a range that ends before it starts has no windows.
    """
    if span.from_id is not None:
        return list(by_id(span, limits.trades_page))
    if span.channel == "candles":
        return list(by_candle(span, limits.candles_page))
    return list(by_time(span, _HOUR))


def plan_with(adapter: Adapter) -> Callable[[Window], list[Window]]:
    """The plan for gaps of a venue. Trades stay in one piece where their ids are not known yet, or of no use."""

    def windows(span: Window) -> list[Window]:
        by = adapter.history.by
        if span.channel == "trades" and (by == "recent" or (by == "id") == (span.from_id is None)):
            return [span] if span.first <= span.last else []
        return plan(span, adapter.limits)

    return windows


def by_id(span: Window, page: int) -> Iterator[Window]:
    """Windows of `page` ids. Of the times within only the range's own bounds are known."""
    for first in range(span.first, span.last + 1, page):
        yield structs.replace(span, from_id=first, to_id=min(first + page - 1, span.last))


def by_candle(span: Window, page: int) -> Iterator[Window]:
    """Windows of `page` candles; ends within a minute mean that minute."""
    frame = span.timeframe
    first, last = place(span.first, frame), place(span.last, frame)
    for number in range(first, last + 1, page):
        ends = opening(number, frame), opening(min(number + page - 1, last), frame)
        yield structs.replace(span, from_ns=ends[0], to_ns=ends[1])


def by_time(span: Window, length_ns: int) -> Iterator[Window]:
    """Windows of `length_ns`, in whole microseconds."""
    for start_ns in range(span.first, span.last + 1, length_ns):
        yield structs.replace(span, from_ns=start_ns, to_ns=min(start_ns + length_ns - MICROSECOND, span.last))
