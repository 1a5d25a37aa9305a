"""Candles as exact integers: how they are built from trades and from each other, and the grid of every interval."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import mul

from msgspec import Struct

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
_MONDAY_US = 4 * DAY_US  # 1970-01-05, the first Monday

INTERVALS: dict[str, int] = {
    "1s": SECOND_US,
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": HOUR_US,
    "2h": 2 * HOUR_US,
    "4h": 4 * HOUR_US,
    "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US,
    "12h": 12 * HOUR_US,
    "1d": DAY_US,
    "3d": 3 * DAY_US,
    "1w": WEEK_US,
    "1M": 0,
}
"""Length in microseconds; a month is not a length and says 0."""


class Candle(Struct, frozen=True, gc=False):
    """Prices in ticks, volumes in lots, quote volumes in ticks times lots. Ids are -1 without trades, as at Binance."""

    open_us: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    quote: int = 0
    trades: int = 0
    buy_lots: int = 0
    buy_quote: int = 0
    first_id: int = -1
    last_id: int = -1


def opening(interval: str, time_us: int) -> int:
    """When the candle that holds `time_us` opens. Weeks open on Monday, months on the first, UTC."""
    length = INTERVALS[interval]
    if interval == "1w":
        return time_us - (time_us - _MONDAY_US) % length
    if length:
        return time_us - time_us % length
    at = datetime.fromtimestamp(time_us // SECOND_US, UTC)
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * SECOND_US


def following(interval: str, open_us: int) -> int:
    """When the next candle opens."""
    length = INTERVALS[interval]
    return open_us + length if length else opening(interval, open_us + 32 * DAY_US)


def of_trades(
    open_us: int,
    first_id: int,
    prices: Sequence[int],
    lots: Sequence[int],
    makers: Sequence[int],
) -> Candle:
    """One candle of at least one trade, in order, with contiguous ids from `first_id`."""
    quotes = list(map(mul, prices, lots))
    sold_lots = sum(map(mul, lots, makers))  # the buyer was the maker: the taker sold
    sold_quote = sum(map(mul, quotes, makers))
    volume, quote = sum(lots), sum(quotes)
    count = len(prices)
    return Candle(
        open_us,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        volume,
        quote,
        count,
        volume - sold_lots,
        quote - sold_quote,
        first_id,
        first_id + count - 1,
    )


def flat(open_us: int, close: int) -> Candle:
    """An interval without trades: the last close again, and no volume."""
    return Candle(open_us, close, close, close, close)


def fold(open_us: int, parts: Iterable[Candle], close: int) -> Candle:
    """One candle of several, in order. Parts without trades add nothing; with none at all it is flat at `close`."""
    traded = [part for part in parts if part.trades]
    if not traded:
        return flat(open_us, close)
    return Candle(
        open_us,
        traded[0].open,
        max(part.high for part in traded),
        min(part.low for part in traded),
        traded[-1].close,
        sum(part.lots for part in traded),
        sum(part.quote for part in traded),
        sum(part.trades for part in traded),
        sum(part.buy_lots for part in traded),
        sum(part.buy_quote for part in traded),
        traded[0].first_id,
        traded[-1].last_id,
    )
