"""The market's dynamics: a pure state machine that is given the time and returns what happened.

The same listings, seed, start and schedule of steps give the same events. A fair price walks at random; makers follow
it, takers trade against the book, and the chance of a buy leans towards it. Each instrument has its own generator, so
that what one does never depends on the others.
"""

import random
from heapq import heapify, heappop, heappush
from math import log, sqrt
from typing import Final

from msgspec import Struct

from ingest.simulator.book import Book, opening_levels
from ingest.simulator.listing import Listing

_MILLI: Final = 1_000  # the fair price counts thousandths of a tick
_VOLATILITY: Final = 4e-5  # of the price, for the square root of a second
_FLOOR: Final = 20  # a side is never emptied below this many levels
_QUIET_WAKES: Final = 20.0  # makers of a quiet instrument act in groups, at most so often a second
_FIRST_SEQUENCE: Final = 1_000_000
_FIRST_ORDER: Final = 5_000_000


class Dynamics(Struct, frozen=True, kw_only=True):
    """`trades_per_second` is the total over all instruments, outside bursts, split by the listings' weights.

    `burst` multiplies it for moments of 0.1 to 1 s that come about every 20 s; 1 makes none.
    `book_changes_per_second` counts each instrument's changes by makers, beside those that trades make.
    """

    trades_per_second: float = 100.0
    burst: float = 5.0
    book_changes_per_second: float = 40.0
    book_levels: int = 1_200
    tick_us: int = 10_000


class Batch(Struct, gc=False):
    """What one instrument did in one step: trades as columns, ids contiguous; then the book's changes.

    Times lie in the step, do not decrease, and never cross a whole second. `makers` is 1 where the buyer was the maker.
    `aggregates` holds the offset of the first trade of each run of one taker's fills at one price. `sequence` is the
    id of the last change of the book.
    """

    index: int
    time_us: int
    first_id: int
    first_aggregate: int
    times: list[int]
    prices: list[int]
    lots: list[int]
    makers: list[int]
    buyers: list[int]
    sellers: list[int]
    aggregates: list[int]
    changed: list[int]
    amounts: list[int]
    sequence: int


class Pit:
    """One instrument's market: its fair price, its book and its traders."""

    def __init__(
        self, index: int, listing: Listing, seed: int, *, share: float, setting: Dynamics, next_id: int
    ) -> None:
        self.listing = listing
        self.next_id = next_id
        self.next_aggregate = next_id
        self._index = index
        self._rng = random.Random(f"{seed}:{listing.native}:live")  # noqa: S311 - a market, not a secret
        self._rate = setting.trades_per_second * share
        self._setting = setting
        self._order = _FIRST_ORDER
        self._owed = 0.0
        self._owed_changes = 0.0
        self._burst_until_us = 0

    def open(self, time_us: int, mid: int) -> None:
        """Fill the book around `mid`."""
        count = self._setting.book_levels
        self._width = min(max(mid // 250, count * 13 // 10), mid * 8 // 10)
        self._half = max(1, mid // 200_000)
        self._fair = mid * _MILLI
        self._last_us = time_us
        levels = opening_levels(self._rng, mid, count, self._width, 3 * self.listing.trade_lots)
        self.book = Book(_FIRST_SEQUENCE, levels)

    def owe(self, trades: int) -> None:
        """Make `trades` more trades in the next step: a burst on command."""
        self._owed += trades

    def next_due(self, time_us: int) -> int:
        """When to run again: at every step when busy, else after a random while."""
        wakes = self._rate + min(self._setting.book_changes_per_second, _QUIET_WAKES)
        if wakes <= 0:
            return time_us + 1_000_000
        if wakes * self._setting.tick_us >= 1_000_000:
            return time_us + 1
        return time_us + 1 + int(self._rng.expovariate(wakes) * 1_000_000)

    def run(self, from_us: int, to_us: int) -> Batch:
        """Act for the time since the last run; trades happen in [from_us, to_us)."""
        seconds = (to_us - self._last_us) / 1_000_000
        self._last_us = to_us
        rng = self._rng
        spread = self._fair * _VOLATILITY * sqrt(min(seconds, 60.0))
        self._fair = max(self._fair + int(rng.gauss(0.0, 1.0) * spread), (self._width + 2) * _MILLI)
        self._follow(self._fair // _MILLI)
        batch = Batch(
            self._index,
            to_us,
            self.next_id,
            self.next_aggregate,
            [],
            [],
            [],
            [],
            [],
            [],
            [],
            [],
            [],
            self.book.sequence,
        )
        self._owed += self._rate * min(seconds, 1.0) * self._intensity(to_us, seconds)
        if self._owed >= 1:
            self._trade(batch, from_us, to_us - from_us)
        self._owed_changes += self._setting.book_changes_per_second * min(seconds, 1.0) + len(batch.times) / 20
        if self._owed_changes >= 1:
            self._quote(int(self._owed_changes))
            self._owed_changes %= 1
        batch.changed, batch.amounts = self.book.drain()
        batch.sequence = self.book.sequence
        self.next_id += len(batch.times)
        self.next_aggregate += len(batch.aggregates)
        return batch

    def _intensity(self, time_us: int, seconds: float) -> float:
        burst = self._setting.burst
        if burst == 1:
            return 1.0
        if time_us < self._burst_until_us:
            return burst
        if self._rng.random() < min(seconds, 1.0) / 20:
            self._burst_until_us = time_us + 100_000 + int(self._rng.random() * 900_000)
        return 1.0

    def _follow(self, fair: int) -> None:
        """Makers withdraw what the fair price has passed, and quote around it."""
        book, half, usual = self.book, self._half, self.listing.trade_lots
        while book.asks[-1] >= -fair and len(book.asks) > _FLOOR:
            book.put(book.asks[-1], 0)
        while book.bids[-1] >= fair and len(book.bids) > _FLOOR:
            book.put(book.bids[-1], 0)
        draw = self._rng.random
        ask, bid = -max(fair + half, book.best_bid + 1), min(fair - half, book.best_ask - 1)
        if book.asks[-1] < ask:
            book.put(ask, 1 + int(draw() * 4 * usual))
        if book.bids[-1] < bid:
            book.put(bid, 1 + int(draw() * 4 * usual))

    def _trade(self, batch: Batch, from_us: int, span_us: int) -> None:
        """Takers until no trade is owed. The loop is the hot path: everything it touches is local."""
        book, draw, usual = self.book, self._rng.random, self.listing.trade_lots
        levels, bids, asks, changed, amounts = book.levels, book.bids, book.asks, book.changed, book.amounts
        times, prices, lots, makers = batch.times, batch.prices, batch.lots, batch.makers
        buyers, sellers, aggregates = batch.buyers, batch.sellers, batch.aggregates
        fair, half, order = self._fair // _MILLI, self._half, self._order
        owed = int(self._owed)
        pace = span_us / (owed + 1)
        done = 0
        while done < owed:
            time_us = from_us + int(pace * (done + draw()))
            lean = (2 * fair - bids[-1] + asks[-1]) / (16 * half)
            buy = draw() < min(max(0.5 + lean, 0.1), 0.9)
            side, wall = (asks, -fair - half) if buy else (bids, fair - half)
            wanted = left = 1 - int(log(1.0 - draw()) * usual)
            order += 3
            last_key = 0
            while left > 0 and done < owed and len(side) > _FLOOR:
                key = side[-1]
                have = levels[key]
                fill = 1 - int(log(1.0 - draw()) * usual)  # one maker's order
                fill = min(fill, have, left)
                left -= fill
                have -= fill
                if have:
                    levels[key] = have
                else:
                    del levels[key]
                    side.pop()
                changed.append(key)
                amounts.append(have)
                if key != last_key:
                    aggregates.append(done)
                    last_key = key
                times.append(time_us)
                lots.append(fill)
                maker = order - 4 - int(draw() * 4_000)
                if buy:
                    prices.append(-key)
                    makers.append(0)
                    buyers.append(order)
                    sellers.append(maker)
                else:
                    prices.append(key)
                    makers.append(1)
                    buyers.append(maker)
                    sellers.append(order)
                done += 1
            if left == wanted:  # the side is too thin to trade against
                break
            key = side[-1]
            if key < wall and draw() < 0.5:  # makers come back, nearer to the fair price
                key += 1 + int(draw() * (wall - key))
                side.append(key)
                levels[key] = wanted - left
            else:
                levels[key] += wanted - left
            changed.append(key)
            amounts.append(levels[key])
        self._order = order
        self._owed -= done

    def _quote(self, count: int) -> None:
        """Makers add, change and cancel, so that each side keeps about its number of levels."""
        book, draw, usual, width = self.book, self._rng.random, self.listing.trade_lots, self._width
        wanted = self._setting.book_levels
        for _ in range(count):
            side, worst = (book.bids, 1) if draw() < 0.5 else (book.asks, -(1 << 62))
            choice, size = draw(), len(side)
            if size < wanted or choice < 0.25:
                key = max(worst, side[-1] - int(width * draw() ** 3))
                book.put(key, 1 + int(draw() * 6 * usual))
            elif choice < 0.5 and size > _FLOOR:
                book.put(side[0 if size > wanted else int(draw() * size)], 0)
            else:
                book.put(side[size - 1 - int(size * draw() ** 3)], 1 + int(draw() * 6 * usual))


class Market:
    """All instruments under one clock. `step` is given times on the grid of `tick_us`, each later than the last.

    `mids` and `first_ids` say where each instrument's history ended.
    """

    def __init__(
        self,
        listings: tuple[Listing, ...],
        seed: int,
        start_us: int,
        setting: Dynamics,
        *,
        mids: tuple[int, ...],
        first_ids: tuple[int, ...],
    ) -> None:
        if 1_000_000 % setting.tick_us or start_us % setting.tick_us:
            raise ValueError("a step must divide a second, and the start must lie on the grid of steps")
        self.time_us = start_us
        self.tick_us = setting.tick_us
        total = sum(listing.weight for listing in listings)
        self.pits = tuple(
            Pit(index, listing, seed, share=listing.weight / total, setting=setting, next_id=first_ids[index])
            for index, listing in enumerate(listings)
        )
        for pit, mid in zip(self.pits, mids, strict=True):
            pit.open(start_us, mid)
        self._due = [(pit.next_due(start_us), index) for index, pit in enumerate(self.pits)]
        heapify(self._due)

    def step(self, time_us: int) -> list[Batch]:
        """What happened in the step that ends at `time_us`; instruments that did nothing are left out."""
        if time_us <= self.time_us or time_us % self.tick_us:
            raise ValueError(f"a step to {time_us} after {self.time_us} is not on the grid of {self.tick_us} us")
        self.time_us = time_us
        batches = []
        due = self._due
        while due[0][0] <= time_us:
            index = heappop(due)[1]
            pit = self.pits[index]
            batch = pit.run(time_us - self.tick_us, time_us)
            heappush(due, (pit.next_due(time_us), index))
            if batch.changed:
                batches.append(batch)
        return batches

    def burst(self, index: int, trades: int) -> None:
        """Let one instrument make `trades` more trades in its next step."""
        self.pits[index].owe(trades)
        self._due = [(0 if place == index else due, place) for due, place in self._due]
        heapify(self._due)
