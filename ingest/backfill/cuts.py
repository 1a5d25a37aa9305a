"""Missing parts of a range cut into windows, lazily: memory does not grow with their number. Pure."""

from collections.abc import Iterable, Iterator

from ingest.clock import MICROSECOND
from ingest.repair.windows import by_time
from ingest.store.backfill import Cut
from ingest.store.window import Range, Window, opening, place

_HOUR = 3_600_000_000_000


def cut_of(asked: Range, page: int, *, by_id: bool) -> Cut:
    """How a range is cut: candles by the page; trades by the hour, or where ids are yet to be found not at all."""
    if asked.channel == "candles":
        return lambda parts: candles(asked, parts, page)
    return lambda parts: trades(asked, parts, by_id=by_id)


def candles(asked: Range, parts: Iterable[tuple[int, int]], page: int) -> Iterator[Window]:
    """Windows of `page` candles at most, each as full as can be: one may reach over several parts that lie near."""
    frame, start, end = asked.timeframe, 0, -1
    for from_ns, to_ns in parts:
        first, last = _ceiling(from_ns, frame_of=asked), place(to_ns - 1, frame)
        while first <= last:
            if end < start or first > start + page - 1:
                if start <= end:
                    yield _window(asked, opening(start, frame), opening(end, frame))
                start = first
            end = min(last, start + page - 1)
            first = end + 1
    if start <= end:
        yield _window(asked, opening(start, frame), opening(end, frame))


def trades(asked: Range, parts: Iterable[tuple[int, int]], *, by_id: bool) -> Iterator[Window]:
    for from_ns, to_ns in parts:
        whole = _window(asked, from_ns, to_ns - MICROSECOND)
        if by_id:
            yield whole
        else:
            yield from by_time(whole, _HOUR)


def size(window: Window) -> int:
    """How many candles it may hold."""
    return (window.last - window.first) // window.step + 1


def _ceiling(time_ns: int, *, frame_of: Range) -> int:
    """The first candle that does not open before a time."""
    return place(time_ns - 1, frame_of.timeframe) + 1


def _window(asked: Range, from_ns: int, to_ns: int) -> Window:
    return Window(asked.instrument_id, asked.channel, from_ns, to_ns, timeframe=asked.timeframe)
