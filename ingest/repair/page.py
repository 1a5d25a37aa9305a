"""What a REST reply says about the window that was asked for. Pure.

Three things are told apart: what came, what the venue passes over although it goes on behind it, and how far the
reply answers for the window at all: history can trail the stream, and then the rest is to be asked for again.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from ingest.clock import SECOND
from ingest.exchanges.adapter import Bad
from ingest.records import Candle, Trade
from ingest.store.window import Window, opening
from ingest.store.window import place as place_of

Why = Literal["forgotten", "skipped", "unreadable"]


class Absent(Struct, frozen=True):
    """What the reply passes over. A window that reaches beyond the one asked for names what others would find, too."""

    window: Window
    why: Why


class Page(Struct, frozen=True):
    """`rows` are those of the window, in order; `rest` is the end of it that the reply does not answer for.

    `open_seconds` is set where the rest is not trailing: its minutes are not over by the venue's clock.
    """

    rows: Sequence[Trade] | Sequence[Candle]
    absent: tuple[Absent, ...] = ()
    rest: Window | None = None
    open_seconds: float | None = None


def of_trades(window: Window, trades: Sequence[Trade], bad: Sequence[Bad]) -> Page:
    """A reply of trades upwards from the window's first id, where ids are contiguous.

    A row that cannot be read stands for one id that is missing among the others, or follows them.
    """
    first, last = window.first, window.last
    times = {number: trade.time_ns for trade in trades if (number := int(trade.trade_id)) >= first}
    top = max(times, default=first - 1)
    reach = min(_reach(first, top, len(times), len(bad)), last)
    rows = sorted((t for t in trades if first <= int(t.trade_id) <= last), key=lambda trade: int(trade.trade_id))
    absent = []
    for start, end in _runs([number for number in sorted(times) if number <= last], first, reach):
        following = min((number for number in times if number > end), default=end + 1)
        why: Why = "skipped"
        if following - start <= len(bad):
            why = "unreadable"
        elif start == first:
            why, end = "forgotten", following - 1  # noqa: PLW2901 - beyond the window, others would find the same
        span = structs.replace(
            window,
            from_id=start,
            to_id=end,
            from_ns=times.get(start - 1, window.from_ns),
            to_ns=times.get(following, window.to_ns),
        )
        absent.append(Absent(span, why))
    rest = None
    if reach < last:
        rest = structs.replace(window, from_id=reach + 1, from_ns=times.get(reach, window.from_ns))
    return Page(rows, tuple(absent), rest)


def of_candles(window: Window, candles: Sequence[Candle], bad: Sequence[Bad], *, as_of_ns: int) -> Page:
    """A reply of candles upwards from the window's first one, open ones too; `as_of_ns` is the venue's time.

    A candle that is not there although its neighbours are had no trades: nothing is missing, unless a row cannot be
    read. Where the reply begins later than it was asked to, history may not reach back so far.
    """
    frame = window.timeframe
    first, last = place_of(window.first, frame), place_of(window.last, frame)
    known = {place_of(candle.time_ns, frame): candle for candle in candles if candle.time_ns >= window.first}
    top = max(known, default=first - 1)
    closed = max(place_of(as_of_ns, frame) - 1, first - 1)
    reach = min(_reach(first, top, len(known), len(bad)), closed, last)
    rows = [candle for number, candle in sorted(known.items()) if number <= reach]

    def part(start: int, end: int) -> Window:
        return structs.replace(window, from_ns=opening(start, frame), to_ns=opening(end, frame))

    runs = _runs(sorted(known), first, reach) if bad else []
    absent = tuple(Absent(part(start, end), "unreadable") for start, end in runs)
    start = min(known, default=first)
    if start > first and not bad:
        absent = (Absent(part(first, min(start - 1, reach)), "forgotten"),)
    rest, open_seconds = None, None
    if reach < last:
        rest = structs.replace(window, from_ns=opening(reach + 1, frame))
        if closed < last:
            open_seconds = (opening(last + 1, frame) - as_of_ns) / SECOND
    return Page(rows, absent, rest, open_seconds)


def _reach(first: int, top: int, seen: int, bad: int) -> int:
    """Up to where a reply answers that has `seen` places of those from `first` to `top`, and `bad` unreadable rows."""
    return top + max(0, bad - (top - first + 1 - seen))


def _runs(seen: Sequence[int], first: int, last: int) -> list[tuple[int, int]]:
    """The runs of places from `first` to `last` that are not among `seen`, which is in order."""
    runs, expected = [], first
    for place in seen:
        if place > last:
            break
        if place > expected:
            runs.append((expected, place - 1))
        expected = place + 1
    if expected <= last:
        runs.append((expected, last))
    return runs
