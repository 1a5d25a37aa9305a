"""Contiguous trade ids watched for holes. Pure: times are given.

A hole is not reported at once: while a connection is replaced, two lines deliver the same trades out of step, and
what one has skipped the other brings a moment later.
"""

from msgspec import Struct

from ingest.clock import SECOND

PATIENCE_NS = 3 * SECOND


class Hole(Struct):
    """Ids that were skipped, both ends inclusive, with the times of the trades around them."""

    first: int
    last: int
    after_ns: int
    before_ns: int
    noticed_ns: int


class TradeRun:
    """The ids of one stream. Give it every id (`see`); ask for holes that nothing filled in time (`overdue`)."""

    __slots__ = ("_holes", "_last", "_last_ns")

    def __init__(self, last: int | None = None, last_ns: int = 0) -> None:
        """Starts behind the id `last` at `last_ns`, or at the first one that is seen."""
        self._last = last
        self._last_ns = last_ns
        self._holes: list[Hole] = []

    def see(self, number: int, time_ns: int, now_ns: int) -> None:
        last = self._last
        if last is None or number > last:
            if last is not None and number > last + 1:
                self._holes.append(Hole(last + 1, number - 1, self._last_ns, time_ns, now_ns))
            self._last, self._last_ns = number, time_ns
        elif self._holes:
            self._fill(number)

    def overdue(self, now_ns: int) -> list[Hole]:
        """Holes noticed more than `PATIENCE_NS` ago, oldest first; each is returned once."""
        if not self._holes:
            return []
        ripe = [hole for hole in self._holes if now_ns - hole.noticed_ns >= PATIENCE_NS]
        self._holes = [hole for hole in self._holes if now_ns - hole.noticed_ns < PATIENCE_NS]
        return ripe

    def _fill(self, number: int) -> None:
        for position, hole in enumerate(self._holes):
            if hole.first <= number <= hole.last:
                left = Hole(hole.first, number - 1, hole.after_ns, hole.before_ns, hole.noticed_ns)
                right = Hole(number + 1, hole.last, hole.after_ns, hole.before_ns, hole.noticed_ns)
                self._holes[position : position + 1] = [part for part in (left, right) if part.first <= part.last]
                return
