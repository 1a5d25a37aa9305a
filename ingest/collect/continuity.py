"""Contiguous numbers (trade ids, or minutes of candles) watched for holes. Pure: times are given.

A hole is not reported at once: while a connection is replaced, two lines deliver the same trades out of step, and
what one has skipped the other brings a moment later.
"""

from msgspec import Struct

from ingest.clock import SECOND
from ingest.errors import Rejected

PATIENCE_NS = 3 * SECOND
_JUMP_MAX = 300_000_000
"""More numbers than a busy market makes in two months: who skips so many has said something else."""


class Hole(Struct):
    """Numbers that were skipped, both ends inclusive, with the times of the records around them."""

    first: int
    last: int
    after_ns: int
    before_ns: int
    noticed_ns: int


class Run:
    """The numbers of one stream. Give it every one (`see`); ask for holes that nothing filled in time (`overdue`)."""

    __slots__ = ("_holes", "_patience_ns", "last", "last_ns")

    def __init__(self, last: int | None = None, last_ns: int = 0, *, patience_ns: int = PATIENCE_NS) -> None:
        """Starts behind the number `last` at `last_ns`, or at the first one that is seen."""
        self.last = last
        self.last_ns = last_ns
        self._patience_ns = patience_ns
        self._holes: list[Hole] = []

    def see(self, number: int, time_ns: int, now_ns: int) -> None:
        """Raises Rejected for a number that lies too far ahead to be one."""
        last = self.last
        if last is None or number > last:
            if last is not None and number > last + 1:
                if number - last > _JUMP_MAX:
                    raise Rejected(f"absurd id: {number} behind {last}")
                self._holes.append(Hole(last + 1, number - 1, self.last_ns, time_ns, now_ns))
            self.last, self.last_ns = number, time_ns
        elif self._holes:
            self.fill(number, number)

    def fill(self, first: int, last: int) -> None:
        """These numbers are accounted for, seen or shown not to exist."""
        left = [Hole(h.first, min(h.last, first - 1), h.after_ns, h.before_ns, h.noticed_ns) for h in self._holes]
        right = [Hole(max(h.first, last + 1), h.last, h.after_ns, h.before_ns, h.noticed_ns) for h in self._holes]
        parts = {(part.first, part.last): part for part in left + right if part.first <= part.last}
        self._holes = [parts[key] for key in sorted(parts)]

    def expect(self, number: int, now_ns: int) -> None:
        """The venue says that `number` is its latest: what was not seen up to it should come in a moment.

        When that one was is not told, and the venue may know of later ones: nothing is shown of the time before now.
        Raises Rejected as `see` does.
        """
        last = self.last
        if last is None:
            self.last, self.last_ns = number, now_ns
            return
        if number - last > _JUMP_MAX:
            raise Rejected(f"absurd id: {number} behind {last}")
        if number > last:
            self._holes.append(Hole(last + 1, number, self.last_ns, now_ns, now_ns))
            self.last = number

    def overdue(self, now_ns: int) -> list[Hole]:
        """Holes noticed longer ago than the patience, lowest first; each is returned once."""
        if not self._holes:
            return []
        edge_ns = now_ns - self._patience_ns
        ripe = [hole for hole in self._holes if hole.noticed_ns <= edge_ns]
        self._holes = [hole for hole in self._holes if hole.noticed_ns > edge_ns]
        return ripe

    def pending(self, number: int) -> bool:
        """True while it is not known whether `number` is missing."""
        return any(hole.first <= number <= hole.last for hole in self._holes)

    def contiguous(self) -> tuple[int | None, int]:
        """The last number, with its time, up to which every one was seen, or reported as overdue."""
        if self._holes:
            return self._holes[0].first - 1, self._holes[0].after_ns
        return self.last, self.last_ns
