"""One-minute candles made from trades, where a venue's REST has no candle any more and still has the trades.

They rank below every candle of the venue (`CandleSource.TRADES`). Every figure is exact: prices are the trades' own
digits, volumes their sums to the last digit. A minute without trades has no candle, as in the venues' own.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from msgspec import structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.digits import places, scaled, sum_of_products
from ingest.errors import Rejected
from ingest.exchanges.adapter import Adapter, Bad
from ingest.records import Candle, CandleSource, Instrument, Trade
from ingest.repair.gather import Fetch, gather
from ingest.repair.page import Absent, Page, Why
from ingest.store.window import Window


def folds(adapter: Adapter) -> bool:
    """Whether a venue's trades reach further back than its candles, and can be asked for by the minute."""
    return adapter.limits.candles_kept is not None and adapter.history.by == "time"


def fold(trades: Iterable[Trade]) -> list[Candle]:
    """The candles of trades of one instrument, which are in the venue's order: the first of a minute opens it.

    What takers bought is None where the side of any trade of the minute is not known.
    """
    return [_candle(minute * MINUTE, list(some)) for minute, some in groupby(trades, key=_minute)]


async def made(fetch: Fetch, adapter: Adapter, instrument: Instrument, window: Window) -> tuple[Page, Sequence[Bad]]:
    """What the trades say of a window of one-minute candles, which are long over; and rows that cannot be read.

    Where ids show that a trade is missing, its minutes are absent; of a row that cannot be read and leaves no such
    trace, all are. Raises Retryable and Rejected, as `fetch` does.
    """
    span = Window(window.instrument_id, "trades", window.first, window.last + MINUTE - MICROSECOND)
    found = await gather(fetch, adapter, instrument, span)
    counted = adapter.promises["trades"] == "ids"
    if found.bad and not (counted and _missing(found.trades) >= len(found.bad)):
        return Page((), (Absent(window, "unreadable"),)), found.bad
    seen_ns = (min(found.until_ns, span.last) + MICROSECOND) // MINUTE * MINUTE
    if seen_ns <= window.first:
        raise Rejected("there are more trades in one minute than are held at a time")
    trades = sorted(found.trades.values(), key=lambda trade: trade.time_ns)
    holes = _holes(trades, window, seen_ns) if counted else []
    candles = fold(trade for trade in trades if window.first <= trade.time_ns < seen_ns)
    whole = [c for c in candles if not any(hole.first <= c.time_ns <= hole.last for hole in holes)]
    why: Why = "unreadable" if found.bad else "skipped"
    rest = structs.replace(window, from_ns=seen_ns) if seen_ns <= window.last else None
    page = Page(whole, tuple(Absent(hole, why) for hole in holes), rest, None if rest is None else 0.0)
    return page, found.bad


def _missing(ids: Iterable[str]) -> int:
    """How many numbers lack between the lowest and the highest."""
    numbers = [*map(int, ids)]
    return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0


def _holes(trades: Iterable[Trade], window: Window, end_ns: int) -> list[Window]:
    """The minutes that an id is missing of, each once: from those of the trade before it to those of the one behind."""
    holes: list[Window] = []
    by_id = sorted(trades, key=lambda trade: int(trade.trade_id))
    for before, behind in pairwise(by_id):
        first_ns = max(_minute(before) * MINUTE, window.first)
        last_ns = min(_minute(behind) * MINUTE, end_ns - MINUTE)
        if int(behind.trade_id) == int(before.trade_id) + 1 or first_ns > last_ns:
            continue
        if holes and first_ns <= holes[-1].last:
            first_ns = holes.pop().first
        holes.append(structs.replace(window, from_ns=first_ns, to_ns=last_ns))
    return holes


def _minute(trade: Trade) -> int:
    return trade.time_ns // MINUTE


def _candle(open_ns: int, trades: Sequence[Trade]) -> Candle:
    prices = [trade.price for trade in trades]
    behind = max(map(places, prices))
    ordered = sorted(prices, key=lambda price: scaled(price, behind))
    bought = [trade for trade in trades if trade.side == "buy"]
    sided = all(trade.side is not None for trade in trades)
    return Candle(
        trades[0].instrument_id,
        open_ns,
        prices[0],
        ordered[-1],
        ordered[0],
        prices[-1],
        sum_of_products((trade.amount,) for trade in trades),
        sum_of_products((trade.price, trade.amount) for trade in trades),
        len(trades),
        sum_of_products((trade.amount,) for trade in bought) if sided else None,
        sum_of_products((trade.price, trade.amount) for trade in bought) if sided else None,
        CandleSource.TRADES,
        max(trade.received_ns for trade in trades),
    )
