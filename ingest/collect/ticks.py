"""When books are sampled: the ticks of a wall clock's grid, each once. Pure: it is given the time."""

from ingest.clock import SECOND

_MISSED_MAX = 60
"""Ticks that are made up for at most, when nothing ran for a while; and how far the clock may be set back."""


class Ticks:
    """`due` names each tick once. `next_ns` is the one that comes next."""

    def __init__(self, cadence_ns: int) -> None:
        self.next_ns = 0
        self._cadence_ns = cadence_ns

    def due(self, now_ns: int, *, latest_only: bool = False) -> range:
        """The ticks up to now that were not named yet.

        A clock that is set back names none again. One that goes back further than the ticks that are made up for was
        wrong before, and its grid begins anew: the table keeps the first row of a tick.
        """
        cadence_ns = self._cadence_ns
        last = now_ns // cadence_ns * cadence_ns
        if self.next_ns - last > _MISSED_MAX * cadence_ns:
            self.next_ns = 0
        oldest = last if latest_only or not self.next_ns else last - _MISSED_MAX * cadence_ns
        first = max(self.next_ns, oldest)
        self.next_ns = max(self.next_ns, last + cadence_ns)
        return range(first, last + 1, cadence_ns)


def tick_after(now_ns: int, cadence_ns: int) -> float:
    """Seconds from `now_ns` to the next tick of the cadence."""
    return (cadence_ns - now_ns % cadence_ns) / SECOND
