"""An interval of one stream's history: what a gap misses, and what one request is to fetch."""

from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.records import Channel, Timeframe

_HOUR = 60 * MINUTE
LENGTHS: Mapping[Timeframe, int] = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": _HOUR,
    "4h": 4 * _HOUR,
    "1d": 24 * _HOUR,
    "1w": 7 * 24 * _HOUR,
}
"""Of a candle, in nanoseconds."""
_MONDAY = 4 * 24 * _HOUR  # the epoch was a Thursday


def place(time_ns: int, timeframe: Timeframe) -> int:
    """Which candle of its timeframe holds a moment: neighbours have neighbouring numbers. Weeks begin on Monday."""
    return (time_ns - (_MONDAY if timeframe == "1w" else 0)) // LENGTHS[timeframe]


def opening(number: int, timeframe: Timeframe) -> int:
    """When the candle of that place opens."""
    return number * LENGTHS[timeframe] + (_MONDAY if timeframe == "1w" else 0)


class Window(Struct, frozen=True):
    """Both ends are inclusive. It goes by id where it has ids, and then its times only bound those of its rows.

    Without ids it goes by time: of candles the opens of its first and last one, of other rows microseconds.
    """

    instrument_id: int
    channel: Channel
    from_ns: int | None
    to_ns: int | None
    from_id: int | None = None
    to_id: int | None = None
    timeframe: Timeframe = "1m"

    @property
    def first(self) -> int:
        """The first place of what it goes by: an id, or a time in nanoseconds."""
        first = self.from_ns if self.from_id is None else self.from_id
        assert first is not None  # noqa: S101 - the table's CHECK
        return first

    @property
    def last(self) -> int:
        last = self.to_ns if self.from_id is None else self.to_id
        assert last is not None  # noqa: S101 - only bounded ones are planned
        return last

    @property
    def step(self) -> int:
        """From one place to the next."""
        if self.from_id is not None:
            return 1
        return LENGTHS[self.timeframe] if self.channel == "candles" else MICROSECOND

    def within(self, other: "Window") -> "Window | None":
        """The part of it that lies in `other`, None where there is none."""
        if self.from_id is None:
            first, last = max(self.first, other.first), min(self.last, other.last)
            return structs.replace(self, from_ns=first, to_ns=last) if first <= last else None
        from_id, to_id = max(self.first, other.first), min(self.last, other.last)
        if from_id > to_id:
            return None
        from_ns, to_ns = _known(max, self.from_ns, other.from_ns), _known(min, self.to_ns, other.to_ns)
        return structs.replace(self, from_id=from_id, to_id=to_id, from_ns=from_ns, to_ns=to_ns)

    def before(self, part: "Window") -> "Window | None":
        """What precedes `part`, which lies in it; its rows are not later than the start of `part`."""
        if part.first <= self.first:
            return None
        if self.from_id is None:
            return structs.replace(self, to_ns=part.first - self.step)
        return structs.replace(self, to_id=part.first - 1, to_ns=part.from_ns)

    def after(self, part: "Window") -> "Window | None":
        """What follows `part`, which lies in it; its rows are not earlier than the end of `part`."""
        if part.last >= self.last:
            return None
        if self.from_id is None:
            return structs.replace(self, from_ns=part.last + self.step)
        return structs.replace(self, from_id=part.last + 1, from_ns=part.to_ns)


class Range(Struct, frozen=True):
    """What is asked for of one stream: from a time (inclusive) to a time (exclusive); candles that open there."""

    instrument_id: int
    channel: Channel
    from_ns: int
    to_ns: int
    timeframe: Timeframe = "1m"

    @property
    def stored_timeframe(self) -> Timeframe | None:
        """As the queue's table has it: None for one-minute candles, and for what is no candle."""
        return None if self.timeframe == "1m" else self.timeframe


def _known(choose: Callable[[int, int], int], left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return choose(left, right)
