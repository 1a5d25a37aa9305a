"""The years before the venue started: trades and candles of any hour, made when asked, the same each time.

Memory does not grow with the length of the history: an hour is a function of (seed, symbol, hour). Every whole hour
holds the same number of trades, so ids and hours are found from each other by arithmetic; within the hour minutes
differ, and some hold none. The last price of an hour is the first of the next.
"""

import random
from bisect import bisect_left
from collections import OrderedDict
from hashlib import blake2b
from itertools import accumulate
from typing import Final

from msgspec import Struct

from ingest.simulator.candles import HOUR_US, MINUTE_US, Candle, flat, fold, of_trades
from ingest.simulator.listing import Listing

_OCTAVES: Final = 8
_KEPT_HOURS: Final = 8
_SWING: Final = 3_000  # the finest octave moves by 1/3000 of the price


class Hour(Struct, frozen=True):
    """One hour's trades as columns, ids contiguous from `first_id`. `makers` is 1 where the buyer was the maker."""

    start_us: int
    open: int
    first_id: int
    times: list[int]
    prices: list[int]
    lots: list[int]
    makers: list[int]


class History:
    """Everything of one instrument before `end_us`, from the first whole hour that covers `minutes` minutes.

    Trade ids begin at 1 with the first hour. Aggregates hold one trade each here, so both ids are equal.
    """

    def __init__(self, listing: Listing, seed: int, end_us: int, minutes: int, trades_per_minute: int) -> None:
        self.listing = listing
        self.seed = seed
        self.end_us = end_us
        begin_us = end_us - minutes * MINUTE_US
        self.start_us = begin_us - begin_us % HOUR_US
        self._per_hour = 60 * trades_per_minute
        self._hours: OrderedDict[int, Hour] = OrderedDict()
        self._candles: dict[int, Candle] = {}
        last = self.hour(end_us - 1)
        self.next_id = last.first_id + len(last.times)
        self.close = last.prices[-1] if last.prices else last.open

    def hour(self, time_us: int) -> Hour:
        """The hour that holds `time_us`, up to the history's end."""
        start_us = time_us - time_us % HOUR_US
        found = self._hours.get(start_us)
        if found is None:
            found = self._hours[start_us] = self._make(start_us)
            if len(self._hours) > _KEPT_HOURS:
                self._hours.popitem(last=False)
        else:
            self._hours.move_to_end(start_us)
        return found

    def hour_of_id(self, trade_id: int) -> Hour:
        """The hour that holds a trade of this history."""
        return self.hour(self.start_us + (trade_id - 1) // self._per_hour * HOUR_US)

    def first_id_at(self, time_us: int) -> int:
        """The id of the first trade at or after `time_us`; `next_id` when there is none."""
        if time_us <= self.start_us:
            return 1
        if time_us >= self.end_us:
            return self.next_id
        hour = self.hour(time_us)
        return hour.first_id + bisect_left(hour.times, time_us)

    def minute(self, open_us: int) -> Candle:
        """The candle of one minute; the last minute holds what was traded before the end."""
        hour = self.hour(open_us)
        begin, end = bisect_left(hour.times, open_us), bisect_left(hour.times, open_us + MINUTE_US)
        if begin == end:
            return flat(open_us, hour.prices[begin - 1] if begin else hour.open)
        part = slice(begin, end)
        return of_trades(open_us, hour.first_id + begin, hour.prices[part], hour.lots[part], hour.makers[part])

    def hour_candle(self, open_us: int) -> Candle:
        found = self._candles.get(open_us)
        if found is None:
            hour = self.hour(open_us)
            whole = of_trades(open_us, hour.first_id, hour.prices, hour.lots, hour.makers) if hour.times else None
            found = self._candles[open_us] = fold(open_us, [whole] if whole else [], hour.open)
        return found

    def _make(self, start_us: int) -> Hour:
        number = start_us // HOUR_US
        first, last, count = self._level(number), self._level(number + 1), self._per_hour
        rng = random.Random(f"{self.seed}:{self.listing.native}:{number}")  # noqa: S311 - a market, not a secret
        draw = rng.random
        weights = [0.0 if draw() < 0.04 else 0.3 + draw() for _ in range(60)]
        minutes = rng.choices(range(60), weights, k=count)
        times = sorted(start_us + minute * MINUTE_US + int(draw() * MINUTE_US) for minute in minutes)
        reach = max(2, first // 8_000)
        walk = list(accumulate(int((draw() - 0.5) * reach) for _ in range(count)))
        miss = last - first - walk[-1]
        prices = [max(1, first + step + miss * (place + 1) // count) for place, step in enumerate(walk)]
        scale = 2 * self.listing.trade_lots
        lots = [1 + int(draw() * draw() * scale) for _ in range(count)]
        makers = [int(draw() < 0.5) for _ in range(count)]
        if start_us + HOUR_US > self.end_us:
            count = bisect_left(times, self.end_us)
        first_id = 1 + (start_us - self.start_us) // HOUR_US * self._per_hour
        return Hour(start_us, first, first_id, times[:count], prices[:count], lots[:count], makers[:count])

    def _level(self, number: int) -> int:
        """The price at the start of an hour: smooth noise of several octaves, so that any hour is found at once."""
        base = self.listing.price_ticks
        total = 0
        for octave in range(_OCTAVES):
            place, within = divmod(number, 1 << octave)
            here, there = self._noise(octave, place), self._noise(octave, place + 1)
            level = here + (there - here) * within // (1 << octave)
            total += level * (1_000 << octave) // (1_000 + 350 * octave)
        return base + base * total // (1_000 * _SWING)

    def _noise(self, octave: int, place: int) -> int:
        key = f"{self.seed}:{self.listing.native}:{octave}:{place}".encode()
        return int.from_bytes(blake2b(key, digest_size=4).digest(), "big") % 2_001 - 1_000
