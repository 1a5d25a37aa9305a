"""Whether rows follow each other: by their ids, or the minutes of candles. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct


class Hole(Struct, frozen=True):
    """Places that are not there, both ends inclusive, and the times (microseconds) of the rows around them."""

    first: int
    last: int
    from_us: int
    to_us: int


class Run(Struct, frozen=True):
    """A stretch of rows: its outermost places with their times, and what is missing inside.

    `ordered` is False where a place did not rise: then nothing is said of holes.
    """

    first: int
    last: int
    first_us: int
    last_us: int
    holes: tuple[Hole, ...] = ()
    ordered: bool = True

    def then(self, other: "Run") -> "Run":
        """Both, one behind the other."""
        between = () if other.first == self.last + 1 else (_hole(self, other),)
        if not (self.ordered and other.ordered and other.first > self.last):
            return Run(self.first, other.last, self.first_us, other.last_us, (), ordered=False)
        return Run(self.first, other.last, self.first_us, other.last_us, (*self.holes, *between, *other.holes))


def _hole(before: Run, after: Run) -> Hole:
    return Hole(before.last + 1, after.first - 1, before.last_us, after.first_us)


def of_list(places: Sequence[int], times: Sequence[int]) -> Run | None:
    """None of no rows."""
    if not places:
        return None
    pairs = list(zip(places, places[1:], times, times[1:], strict=False))
    ordered = all(left < right for left, right, _, _ in pairs)
    holes = [Hole(left + 1, right - 1, *at) for left, right, *at in pairs if right > left + 1] if ordered else []
    return Run(places[0], places[-1], times[0], times[-1], tuple(holes), ordered=ordered)


def of_columns(places: Any, times: Any) -> Run:
    """The same of Arrow's arrays, of a row at least."""
    from pyarrow import compute as pc  # noqa: PLC0415 - an optional dependency, which made the arrays

    steps = pc.pairwise_diff(places).drop_null()
    least, most = pc.min_max(steps).as_py().values()
    ordered = least is None or least > 0
    holes = []
    if ordered and most is not None and most > 1:
        for at in pc.indices_nonzero(pc.greater(steps, 1)).to_pylist():
            left, right = places[at].as_py(), places[at + 1].as_py()
            holes.append(Hole(left + 1, right - 1, times[at].as_py(), times[at + 1].as_py()))
    ends = places[0].as_py(), places[-1].as_py(), times[0].as_py(), times[-1].as_py()
    return Run(*ends, tuple(holes), ordered=ordered)
