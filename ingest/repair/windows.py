"""A range of history cut into windows that one request each can fetch. Pure; for repair and backfill alike."""

from collections.abc import Iterator

from msgspec import structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.exchanges.adapter import Limits
from ingest.store.window import Window

_HOUR = 60 * MINUTE


def plan(span: Window, limits: Limits) -> list[Window]:
    """The windows of a gap or of a range, oldest first: they cover it exactly, and none overlaps another.

    Ids go before times; a range that ends before it starts has no windows.
    """
    if span.from_id is not None:
        return list(by_id(span, limits.trades_page))
    if span.channel == "candles":
        return list(by_minute(span, limits.candles_page))
    return list(by_time(span, _HOUR))


def by_id(span: Window, page: int) -> Iterator[Window]:
    """Windows of `page` ids. Of the times within only the range's own bounds are known."""
    for first in range(span.first, span.last + 1, page):
        yield structs.replace(span, from_id=first, to_id=min(first + page - 1, span.last))


def by_minute(span: Window, page: int) -> Iterator[Window]:
    """Windows of `page` candles of a minute; ends within a minute mean that minute."""
    first, last = span.first // MINUTE, span.last // MINUTE
    for minute in range(first, last + 1, page):
        yield structs.replace(span, from_ns=minute * MINUTE, to_ns=min(minute + page - 1, last) * MINUTE)


def by_time(span: Window, length_ns: int) -> Iterator[Window]:
    """Windows of `length_ns`, in whole microseconds."""
    for start_ns in range(span.first, span.last + 1, length_ns):
        yield structs.replace(span, from_ns=start_ns, to_ns=min(start_ns + length_ns - MICROSECOND, span.last))
