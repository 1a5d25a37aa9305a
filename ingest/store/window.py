"""An interval of one stream's history: what a gap misses, and what one request is to fetch."""

from collections.abc import Callable

from msgspec import Struct, structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.records import Channel


class Window(Struct, frozen=True):
    """Both ends are inclusive. It goes by id where it has ids, and then its times only bound those of its rows.

    Without ids it goes by time: of candles the opens of its first and last minute, of other rows microseconds.
    """

    instrument_id: int
    channel: Channel
    from_ns: int | None
    to_ns: int | None
    from_id: int | None = None
    to_id: int | None = None

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
        return MINUTE if self.channel == "candles" else MICROSECOND

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


def _known(choose: Callable[[int, int], int], left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return choose(left, right)
