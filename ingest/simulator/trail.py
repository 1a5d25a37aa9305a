"""The truth of one instrument's book: how it was at the start, and every change since, by update id.

It shares no code with the daemon's book, so that the two can be compared.
"""

from array import array
from collections.abc import Mapping
from heapq import nlargest, nsmallest

from msgspec import Struct

from ingest.simulator.market import Batch

Level = tuple[int, int]
"""(price in ticks, lots)."""


class State(Struct, frozen=True):
    """The best levels of a book at one update id, best first."""

    sequence: int
    bids: list[Level]
    asks: list[Level]


class Trail:
    """Sixteen bytes a change. The update id of change `n` is `first + n`."""

    def __init__(self, sequence: int, levels: Mapping[int, int]) -> None:
        self.base = sequence
        self._keys, self._amounts = array("q"), array("q")
        self._initial = dict(levels)
        self._replayed: dict[int, int] = dict(levels)
        self._replayed_to = 0

    @property
    def sequence(self) -> int:
        """The id of the last change."""
        return self.base + len(self._keys)

    def record(self, batch: Batch) -> None:
        self._keys.extend(batch.changed)
        self._amounts.extend(batch.amounts)

    def changes(self, after: int, upto: int) -> tuple[list[Level], list[Level]]:
        """What changed in (after, upto], as absolute amounts at `upto`, best first; 0 for a level that went."""
        begin, end = after - self.base, upto - self.base
        last = dict(zip(self._keys[begin:end], self._amounts[begin:end], strict=True))
        keys = sorted(last, reverse=True)
        bids = [(key, last[key]) for key in keys if key > 0]
        return bids, [(-key, last[key]) for key in keys if key < 0]

    def states(self, sequences: list[int], depth: int) -> list[State]:
        """The best `depth` levels a side at each update id, in the order asked.

        Raises `ValueError` for an id before the start or not reached yet.
        """
        for sequence in sequences:
            if not self.base <= sequence <= self.sequence:
                raise ValueError(f"sequence {sequence} is outside {self.base}..{self.sequence}")
        found: dict[int, State] = {}
        for sequence in sorted(set(sequences)):
            self._replay(sequence - self.base)
            bids = nlargest(depth, (key for key in self._replayed if key > 0))
            asks = nsmallest(depth, (-key for key in self._replayed if key < 0))
            found[sequence] = State(
                sequence, [(key, self._replayed[key]) for key in bids], [(key, self._replayed[-key]) for key in asks]
            )
        return [found[sequence] for sequence in sequences]

    def _replay(self, count: int) -> None:
        """Bring the replayed book to the state after `count` changes; going back starts over."""
        if count < self._replayed_to:
            self._replayed, self._replayed_to = dict(self._initial), 0
        levels = self._replayed
        for key, amount in zip(
            self._keys[self._replayed_to : count], self._amounts[self._replayed_to : count], strict=True
        ):
            if amount:
                levels[key] = amount
            else:
                levels.pop(key, None)
        self._replayed_to = count
