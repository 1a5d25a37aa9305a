"""The local order book: a delta taken in and the best levels read out."""

import random
from collections.abc import Iterator
from statistics import median

from ingest.collect.book import Book, Follows
from ingest.exchanges.adapter import Options
from ingest.exchanges.binance import Binance
from ingest.records import BookDelta, BookState
from tests.bench.harness import Bench, Figure, Group, number, repeated

GROUP = Group("book")

LEVELS = 1_000
DEPTH = 20
CHANGES = 4
"""Levels a delta changes, two a side: the recorded `@depth@100ms` frames of small coins have 2.4."""
DELTAS = 1_000
_MIDDLE = 6_400_000  # cents


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}000000"


def full_book(follows: Follows) -> Book:
    """In sync, with 1,000 levels on each side, their digits those of a liquid market."""
    book = Book(1, DEPTH, follows)
    book.apply(BookDelta(1, 1, 1, None, [], [], 1, 1))  # asks for a snapshot: none is taken before
    book.join(_state())
    assert book.in_sync
    return book


def _state() -> BookState:
    bids = [(_price(_MIDDLE - 1 - i), "1.50000000") for i in range(LEVELS)]
    asks = [(_price(_MIDDLE + i), "2.50000000") for i in range(LEVELS)]
    return BookState(1, 0, bids, asks, 5_000, 0)


def deltas() -> list[BookDelta]:
    """A half of the changes sets an amount, a quarter removes a level and a quarter brings one back.

    Most are near the best price, as in a market. In the last fifth what is away comes back, so that the book is as
    deep after each round as before.
    """
    chance = random.Random(7)  # noqa: S311 - the same deltas each time
    away: list[set[int]] = [set(), set()]
    made = []
    for update in range(1, DELTAS + 1):
        closing = update > DELTAS * 4 // 5
        sides: list[list[tuple[str, str]]] = [[], []]
        for side, changes in enumerate(sides):
            for kind in chance.choices(("set", "remove", "restore"), (2, 1, 1), k=CHANGES // 2):
                offset = min(int(chance.expovariate(1 / 40)), LEVELS - 1)
                if (kind == "restore" or closing) and away[side]:
                    offset = away[side].pop()
                elif kind == "remove" and not closing and offset not in away[side]:
                    away[side].add(offset)
                    changes.append((_price(_at(side, offset)), "0.00000000"))
                    continue
                changes.append((_price(_at(side, offset)), f"{chance.randrange(1, 900)}.50000000"))
                away[side].discard(offset)
        made.append(BookDelta(1, update, update, None, sides[0], sides[1], 1, 1))
    return made


def _at(side: int, offset: int) -> int:
    return _MIDDLE + offset if side else _MIDDLE - 1 - offset


@GROUP.measures("book_us")
def book_us(bench: Bench) -> Iterator[Figure]:
    """One delta applied and the top 20 of both sides taken, on 2 × 1,000 levels: the mean over a thousand deltas."""
    follows = Binance({}, Options()).follows
    given = deltas()
    book = full_book(follows)

    def work() -> None:
        book.sequence = 0
        for delta in given:
            book.apply(delta)
            book.top()

    side = repeated(work, bench.scale.loop_seconds)
    times = sorted(1e6 * side() / DELTAS for _ in range(bench.scale.loop_pairs))
    bids, asks = book.top()
    assert book.in_sync
    assert len(bids) == len(asks) == DEPTH
    note = f"{CHANGES} levels a delta; {len(times)} rounds, {number(times[0])} to {number(times[-1])}"
    yield Figure("book_us", median(times), "µs", at_most=10.0, note=note)
