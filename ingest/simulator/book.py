"""The market's own order book: levels that trades consume and makers add, with an id for every change."""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

Key = int
"""A level's price in ticks: positive for a bid, negative for an ask. The greater key is the better on either side."""


class Book:
    """Both sides of one instrument. Every change is kept in `changed` and `amounts` until `drain` takes them.

    `bids` and `asks` are sorted keys, best last. It is never crossed: whoever places a level sees to that.
    """

    __slots__ = ("amounts", "asks", "bids", "changed", "levels", "sequence")

    def __init__(self, sequence: int, levels: dict[Key, int]) -> None:
        self.levels = levels
        self.bids = sorted(key for key in levels if key > 0)
        self.asks = sorted(key for key in levels if key < 0)
        self.sequence = sequence
        self.changed: list[Key] = []
        self.amounts: list[int] = []

    @property
    def best_bid(self) -> int:
        return self.bids[-1]

    @property
    def best_ask(self) -> int:
        return -self.asks[-1]

    def put(self, key: Key, lots: int) -> None:
        """Set a level's absolute amount; 0 removes it. Removing what is not there changes nothing."""
        side = self.bids if key > 0 else self.asks
        if lots:
            if key not in self.levels:
                insort(side, key)
            self.levels[key] = lots
        elif key in self.levels:
            del self.levels[key]
            if side[-1] == key:
                side.pop()
            else:
                del side[bisect_left(side, key)]
        else:
            return
        self.changed.append(key)
        self.amounts.append(lots)

    def drain(self) -> tuple[list[Key], list[int]]:
        """The changes since the last call; `sequence` becomes the id of the last of them."""
        changed, amounts = self.changed, self.amounts
        self.changed, self.amounts = [], []
        self.sequence += len(changed)
        return changed, amounts


def top(side: Sequence[Key], levels: dict[Key, int], depth: int) -> list[tuple[int, int]]:
    """The best `depth` (price in ticks, lots) of one side, best first."""
    return [(abs(key), levels[key]) for key in reversed(side[-depth:])]


def opening_levels(rng: random.Random, mid: int, count: int, width: int, lots: int) -> dict[Key, int]:
    """A whole book around `mid`: `count` levels a side within about `width` ticks, dense at the touch."""
    levels: dict[Key, int] = {}
    draw = rng.random
    for sign in (1, -1):
        wanted = min(count, mid - 2) if sign > 0 else count
        prices: set[int] = set()
        near = 1
        while len(prices) < wanted:
            distance = 1 + int(width * draw() ** 3)
            while distance in prices or (sign > 0 and distance >= mid):
                near += 1
                distance = near
            prices.add(distance)
        for distance in sorted(prices):
            levels[sign * (mid - sign * distance)] = 1 + int(draw() * 2 * lots)
    return levels
