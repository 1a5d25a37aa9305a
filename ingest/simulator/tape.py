"""The truth of one instrument's trades and candles, its made history included. Compact: 25 bytes a live trade."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator

from msgspec import Struct

from ingest.simulator.candles import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    Candle,
    flat,
    fold,
    following,
    of_trades,
    opening,
)
from ingest.simulator.history import History
from ingest.simulator.listing import Listing
from ingest.simulator.market import Batch


class Trade(Struct, frozen=True, gc=False):
    """Price in ticks, amount in lots. `maker` is 1 where the buyer was the maker: the taker sold."""

    id: int
    time_us: int
    price: int
    lots: int
    maker: int


class Aggregate(Struct, frozen=True, gc=False):
    """Consecutive fills of one taker at one price."""

    id: int
    time_us: int
    price: int
    lots: int
    maker: int
    first_id: int
    last_id: int


class Tape:
    """Every trade since the start in columns, the history before it, and the candles of both."""

    def __init__(self, listing: Listing, history: History) -> None:
        self.listing = listing
        self.history = history
        self.first_live_id = history.next_id
        self.close = history.close
        self.start_us = history.end_us
        self._times, self._prices, self._lots, self._makers = array("q"), array("q"), array("q"), array("b")
        self._runs = array("q")  # the first trade id of each live aggregate
        self._open_us = history.end_us - history.end_us % MINUTE_US
        self._first_open_us = self._open_us
        begun = history.minute(self._open_us) if history.end_us > self._open_us else flat(self._open_us, self.close)
        self._parts: list[Candle] = [begun]
        self._open_close = begun.open
        self._minutes: list[Candle] = []
        self._hours: dict[int, Candle] = {}

    # what happens

    def record(self, batch: Batch) -> None:
        """Keep a batch's trades; its times lie in the open minute."""
        if not batch.times:
            return
        self._times.extend(batch.times)
        self._prices.extend(batch.prices)
        self._lots.extend(batch.lots)
        self._makers.extend(batch.makers)
        self._runs.extend([batch.first_id + offset for offset in batch.aggregates])
        self._parts.append(of_trades(self._open_us, batch.first_id, batch.prices, batch.lots, batch.makers))
        if len(self._parts) > 50:
            self._parts = [self.open_minute()]
        self.close = batch.prices[-1]

    def advance(self, time_us: int) -> None:
        """Close the minutes that end at or before `time_us`."""
        while time_us >= self._open_us + MINUTE_US:
            closed = self.open_minute()
            self._minutes.append(closed)
            self._open_us += MINUTE_US
            self._open_close = closed.close
            self._parts = []

    # trades

    @property
    def next_id(self) -> int:
        return self.first_live_id + len(self._times)

    def trades(self, first_id: int, end_id: int) -> Iterator[Trade]:
        """Trades by id, `first_id` inclusive, `end_id` exclusive, as far as there are any."""
        first_id, end_id = max(first_id, 1), min(end_id, self.next_id)
        while first_id < min(end_id, self.first_live_id):
            hour = self.history.hour_of_id(first_id)
            begin = first_id - hour.first_id
            stop = min(end_id - hour.first_id, len(hour.times))
            for at in range(begin, stop):
                yield Trade(hour.first_id + at, hour.times[at], hour.prices[at], hour.lots[at], hour.makers[at])
            first_id = hour.first_id + stop
        base = self.first_live_id
        for at in range(first_id - base, end_id - base):
            yield Trade(base + at, self._times[at], self._prices[at], self._lots[at], self._makers[at])

    def first_id_at(self, time_us: int) -> int:
        """The id of the first trade at or after a time; `next_id` when there is none yet."""
        if time_us < self.start_us:
            return self.history.first_id_at(time_us)
        return self.first_live_id + bisect_left(self._times, time_us)

    # aggregates

    @property
    def next_aggregate(self) -> int:
        return self.first_live_id + len(self._runs)

    def aggregates(self, first: int, end: int) -> Iterator[Aggregate]:
        """Aggregates by their own id, `first` inclusive, `end` exclusive. In the history each holds one trade."""
        first, end = max(first, 1), min(end, self.next_aggregate)
        for trade in self.trades(first, min(end, self.first_live_id)):
            yield Aggregate(trade.id, trade.time_us, trade.price, trade.lots, trade.maker, trade.id, trade.id)
        base, runs = self.first_live_id, self._runs
        for at in range(max(first - base, 0), end - base):
            begin = runs[at] - base
            stop = runs[at + 1] - base if at + 1 < len(runs) else len(self._times)
            lots = sum(self._lots[begin:stop])
            yield Aggregate(
                base + at,
                self._times[begin],
                self._prices[begin],
                lots,
                self._makers[begin],
                base + begin,
                base + stop - 1,
            )

    def aggregate_of(self, trade_id: int) -> int:
        """The id of the first aggregate that starts at or after a trade."""
        if trade_id < self.first_live_id:
            return trade_id
        return self.first_live_id + bisect_left(self._runs, trade_id)

    # candles

    def open_minute(self) -> Candle:
        return fold(self._open_us, self._parts, self._open_close)

    def minute(self, open_us: int) -> Candle:
        """The one-minute candle that opens then: of the history, closed, or open."""
        if open_us < self._first_open_us:
            return self.history.minute(open_us)
        place = (open_us - self._first_open_us) // MINUTE_US
        return self._minutes[place] if place < len(self._minutes) else self.open_minute()

    def candle(self, interval: str, open_us: int) -> Candle:
        """The candle of any interval that opens at `open_us`, as far as it has come. Built from the same trades."""
        if interval == "1m":
            return self.minute(open_us)
        end_us = following(interval, open_us)
        if interval == "1s":
            return self._second(open_us)
        step, part = (HOUR_US, self._hour) if end_us - open_us >= HOUR_US else (MINUTE_US, self.minute)
        begin_us = max(open_us, self.history.start_us)
        return self._folded(open_us, begin_us, min(end_us, self._open_us + MINUTE_US), step, part)

    def candles(self, interval: str, first_us: int, last_us: int, limit: int) -> list[Candle]:
        """Candles that open in [first_us, last_us], upwards, at most `limit`. `last_us` is not in the future."""
        found: list[Candle] = []
        open_us = opening(interval, max(first_us, self.history.start_us))
        if open_us < first_us and first_us > self.history.start_us:
            open_us = following(interval, open_us)
        while open_us <= last_us and len(found) < limit:
            found.append(self.candle(interval, open_us))
            open_us = following(interval, open_us)
        return found

    def day(self) -> Candle:
        """The rolling 24 hours up to now, to the minute."""
        end_us = self._open_us + MINUTE_US
        begin_us = max(end_us - DAY_US, self.history.start_us)
        first_hour = min(begin_us + -begin_us % HOUR_US, end_us)
        last_hour = max(end_us - end_us % HOUR_US, first_hour)
        parts = [self.minute(at) for at in range(begin_us, first_hour, MINUTE_US)]
        parts += [self._hour(at) for at in range(first_hour, last_hour, HOUR_US)]
        parts += [self.minute(at) for at in range(last_hour, end_us, MINUTE_US)]
        return fold(begin_us, parts, self.close)

    def _second(self, open_us: int) -> Candle:
        first, end = self.first_id_at(open_us), self.first_id_at(open_us + SECOND_US)
        if first == end:
            return flat(open_us, self._price_before(first))
        trades = list(self.trades(first, end))
        prices, lots = [trade.price for trade in trades], [trade.lots for trade in trades]
        return of_trades(open_us, first, prices, lots, [trade.maker for trade in trades])

    def _price_before(self, trade_id: int) -> int:
        if trade_id <= 1:
            return self.history.hour(self.history.start_us).open
        return next(self.trades(trade_id - 1, trade_id)).price

    def _hour(self, open_us: int) -> Candle:
        if open_us + HOUR_US <= self.start_us:
            return self.history.hour_candle(open_us)
        found = self._hours.get(open_us)
        if found is None:
            end_us = open_us + HOUR_US
            found = self._folded(open_us, open_us, min(end_us, self._open_us + MINUTE_US), MINUTE_US, self.minute)
            if end_us <= self._open_us:
                self._hours[open_us] = found
        return found

    def _folded(self, open_us: int, begin_us: int, end_us: int, step_us: int, part: Callable[[int], Candle]) -> Candle:
        parts = [part(at) for at in range(begin_us, end_us, step_us)]
        return fold(open_us, parts, parts[-1].close if parts else self.close)

    @property
    def last_lots(self) -> int:
        """The amount of the last trade; 0 while there was none."""
        return next((trade.lots for trade in self.trades(self.next_id - 1, self.next_id)), 0)
