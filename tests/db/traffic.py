"""Rows with the digits, the sizes and the order of real traffic: to measure what they take on disk.

Twenty instruments from 64,000 down to 0.00002 of their quote currency, written as Binance writes numbers, with
eight decimals; rows come in the order of their times, so that a table's instruments are mixed as they are live.
"""

import random
from collections.abc import Callable, Iterator

from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.records import (
    Candle,
    CandleSource,
    Funding,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Row,
    Side,
    Trade,
)

START_NS = 1_795_219_200 * SECOND
"""2026-11-21 00:00:00 UTC, the start of a chunk."""

INSTRUMENTS = 20
_UNIT = 100_000_000


class Market:
    """The walk of twenty prices, the same each time."""

    def __init__(self) -> None:
        self.chance = random.Random(7)  # noqa: S311 - the same rows each time
        self._ticks: list[int] = []
        self._tick_e8: list[int] = []
        for index in range(INSTRUMENTS):
            price_e8 = int(64_000 * _UNIT / 3.2**index)
            tick_e8 = 10 ** max(len(str(price_e8)) - 6, 0)  # six digits, as venues choose their ticks
            self._ticks.append(price_e8 // tick_e8)
            self._tick_e8.append(tick_e8)

    def price(self, index: int, ticks_away: int = 0) -> str:
        return _text((self._ticks[index] + ticks_away) * self._tick_e8[index])

    def step(self, index: int) -> None:
        self._ticks[index] = max(60_000, self._ticks[index] + self.chance.randrange(-5, 6))

    def amount(self, index: int) -> str:
        """Worth some 1 to 1,000 of the quote currency, in lots of five digits."""
        amount_e8 = int(10 ** self.chance.uniform(0, 3) * _UNIT * _UNIT / (self._ticks[index] * self._tick_e8[index]))
        lot_e8 = 10 ** max(len(str(amount_e8)) - 5, 0)
        return _text(max(amount_e8 // lot_e8, 1) * lot_e8)

    def levels(self, index: int, side: int, depth: int) -> Levels:
        away, levels = 0, []
        for _ in range(depth):
            away += side * self.chance.randrange(1, 4)
            levels.append((self.price(index, away), self.amount(index)))
        return tuple(levels)


def trades(rows: int) -> Iterator[Trade]:
    market, numbers = Market(), [3_000_000_000 + 100_000_000 * index for index in range(INSTRUMENTS)]
    for position in range(rows):
        index = market.chance.randrange(INSTRUMENTS)
        market.step(index)
        numbers[index] += 1
        time_ns = START_NS + position * 5 * MILLISECOND + market.chance.randrange(1_000) * MICROSECOND
        side: Side = "buy" if market.chance.randrange(2) else "sell"
        price, amount = market.price(index), market.amount(index)
        yield Trade(index + 1, time_ns, str(numbers[index]), side, price, amount, time_ns + _delay_ns(market))


def candles(rows: int) -> Iterator[Candle]:
    market = Market()
    for position in range(rows):
        minute, index = divmod(position, INSTRUMENTS)
        market.step(index)
        time_ns = START_NS + minute * MINUTE
        prices = market.price(index), market.price(index, 40), market.price(index, -40), market.price(index, 7)
        volume, taker = f"{market.amount(index)[:-3]}123", market.amount(index)
        value = f"{market.chance.randrange(1_000, 9_000_000)}.{market.chance.randrange(_UNIT):08}"
        taker_value = f"{market.chance.randrange(1_000, 9_000_000)}.{market.chance.randrange(_UNIT):08}"
        count, received_ns = market.chance.randrange(5_000), time_ns + MINUTE + _delay_ns(market)
        yield Candle(
            index + 1, time_ns, *prices, volume, value, count, taker, taker_value, CandleSource.STREAM, received_ns
        )


def order_books(rows: int, depth: int) -> Iterator[OrderBook]:
    market = Market()
    for position in range(rows):
        second, index = divmod(position, INSTRUMENTS)
        market.step(index)
        tick_ns = START_NS + second * SECOND
        event_ns = tick_ns - market.chance.randrange(1, 100) * MILLISECOND
        bids, asks = market.levels(index, -1, depth), market.levels(index, 1, depth)
        sequence = 50_000_000_000 + 400 * position
        yield OrderBook(index + 1, tick_ns, event_ns, sequence, bids, asks, True, event_ns + _delay_ns(market))


def quotes(rows: int) -> Iterator[Quote]:
    market = Market()
    for position in range(rows):
        index = market.chance.randrange(INSTRUMENTS)
        market.step(index)
        time_ns = START_NS + position * 3 * MILLISECOND + market.chance.randrange(1_000) * MICROSECOND
        bid, ask = market.price(index), market.price(index, 1)
        amounts = market.amount(index), market.amount(index)
        yield Quote(index + 1, time_ns, 50_000_000_000 + 20 * position, bid, amounts[0], ask, amounts[1], time_ns)


def funding(rows: int) -> Iterator[Funding]:
    market = Market()
    for position in range(rows):
        minute, index = divmod(position, INSTRUMENTS)
        time_ns = START_NS + minute * MINUTE + market.chance.randrange(1_000) * MILLISECOND
        paid_ns = START_NS + (time_ns - START_NS) // (480 * MINUTE) * 480 * MINUTE + 480 * MINUTE
        yield Funding(index + 1, time_ns, _text(market.chance.randrange(30_000)), paid_ns, time_ns + _delay_ns(market))


def open_interest(rows: int) -> Iterator[OpenInterest]:
    market = Market()
    for position in range(rows):
        turn, index = divmod(position, INSTRUMENTS)
        time_ns = START_NS + turn * 3 * SECOND + market.chance.randrange(1_000) * MILLISECOND
        amount, value = (f"{market.chance.randrange(10**6, 10**8)}.{market.chance.randrange(1000):03}" for _ in "av")
        yield OpenInterest(index + 1, time_ns, amount, value, time_ns + _delay_ns(market))


def mark_prices(rows: int) -> Iterator[MarkPrice]:
    market = Market()
    for position in range(rows):
        second, index = divmod(position, INSTRUMENTS)
        market.step(index)
        time_ns = START_NS + second * SECOND
        mark, below = (f"{market.price(index, away)[:-2]}{market.chance.randrange(100):02}" for away in (0, -1))
        yield MarkPrice(index + 1, time_ns, mark, below, time_ns + _delay_ns(market))


def liquidations(rows: int) -> Iterator[Liquidation]:
    market = Market()
    for position in range(rows):
        index = market.chance.randrange(INSTRUMENTS)
        market.step(index)
        time_ns = START_NS + position * 200 * MILLISECOND + market.chance.randrange(200) * MILLISECOND
        side: Side = "buy" if market.chance.randrange(2) else "sell"
        price, amount = market.price(index), market.amount(index)
        yield Liquidation(index + 1, time_ns, side, price, amount, time_ns + _delay_ns(market))


def _delay_ns(market: Market) -> int:
    return market.chance.randrange(20_000, 50_000) * MICROSECOND


def _text(value_e8: int) -> str:
    return f"{value_e8 // _UNIT}.{value_e8 % _UNIT:08}"


TRAFFIC: dict[str, Callable[[int], Iterator[Row]]] = {
    "trades": trades,
    "candles": candles,
    "quotes": quotes,
    "funding": funding,
    "open_interest": open_interest,
    "mark_price": mark_prices,
    "liquidations": liquidations,
}
