"""Records of the rows in a ccxt exchange's frames: checked, with times in nanoseconds and an id for every trade."""

from collections.abc import Sequence

from ingest import digits
from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges import ccxt_frames as frames
from ingest.exchanges.adapter import Event, Ignored
from ingest.records import (
    Candle,
    CandleSource,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Ticker,
    Trade,
)

_EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: there was no market before
_LATE_NS = MINUTE  # a clock may be so much behind the venue's
_KEPT_NS = 10 * SECOND
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}

Likeness = tuple[int, str, str, str]


class Counter:
    """How many trades that say the same came before; those of other times are soon forgotten."""

    def __init__(self) -> None:
        self._seen: dict[Likeness, int] = {}
        self._newest_ns = 0

    def next(self, likeness: Likeness) -> int:
        time_ns = likeness[0]
        if time_ns > self._newest_ns + _KEPT_NS:
            self._seen = {known: count for known, count in self._seen.items() if known[0] > time_ns - _KEPT_NS}
            self._newest_ns = time_ns
        ordinal = self._seen.get(likeness, 0)
        self._seen[likeness] = ordinal + 1
        return ordinal


def trade(instrument_id: int, row: frames.TradeRow, counter: Counter, received_ns: int) -> Trade:
    """Raises Rejected for what is no trade."""
    trade_id, time_ms, side, price, amount = row
    if not digits.positive(price, amount):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}")
    time_ns, known_side = time_of(time_ms, received_ns), _SIDES.get(side or "")
    if not trade_id:
        trade_id = _made_id(time_ns, known_side, price, amount, counter)
    return Trade(instrument_id, time_ns, trade_id, known_side, price, amount, received_ns)


def _made_id(time_ns: int, side: Side | None, price: str, amount: str, counter: Counter) -> str:
    """The same for stream and REST, which may write a number with more zeros or fewer."""
    likeness = (time_ns, side or "?", _shortest(price), _shortest(amount))
    return "-".join((str(time_ns // MILLISECOND), *likeness[1:], str(counter.next(likeness))))


def is_made(trade: Trade) -> bool:
    """Whether the exchange gave it no id."""
    return trade.trade_id.startswith(f"{trade.time_ns // MILLISECOND}-")


def _shortest(number: str) -> str:
    short = number.lstrip("0").rstrip("0").rstrip(".") if "." in number else number.lstrip("0")
    return f"0{short}" if short.startswith(".") or not short else short


def candle(instrument_id: int, row: frames.CandleRow, source: CandleSource, received_ns: int) -> Candle:
    """Raises Rejected for what is no minute."""
    time_ms, opened, highest, lowest, closed, volume = row
    if not (digits.positive(opened, highest, lowest, closed) and digits.not_negative(volume)):
        raise Rejected(f"candle: {row}")
    time_ns = time_of(time_ms, received_ns)
    if time_ns % MINUTE:
        raise Rejected(f"candle: opens within a minute: {time_ms}")
    prices = (opened, highest, lowest, closed, volume)
    return Candle(instrument_id, time_ns, *prices, None, None, None, None, source, received_ns)


def event_of(instrument_id: int, found: frames.AnyFrame, received_ns: int) -> Sequence[Event]:
    """Of what there is one in a frame, or few. Where the exchange gives no time, it is the time of receipt."""
    if isinstance(found, frames.Liquidations):
        return [_liquidation(instrument_id, row, received_ns) for row in found.rows]
    time = getattr(found, "time", None)
    receipt_ns = received_ns - received_ns % MILLISECOND
    time_ns = receipt_ns if time is None else time_of(time, received_ns)
    if isinstance(found, frames.Quote):
        return (_quote(instrument_id, found, time_ns, received_ns),)
    if isinstance(found, frames.Ticker):
        return (_ticker(instrument_id, found, time_ns, received_ns),)
    if isinstance(found, frames.Funding):
        if not digits.not_negative(found.rate.removeprefix("-")):
            raise Rejected(f"funding: rate {found.rate!r}")
        due_ns = None if found.due is None else found.due * MILLISECOND
        return (Funding(instrument_id, time_ns, found.rate, due_ns, received_ns),)
    if isinstance(found, frames.MarkPrice):
        if not digits.positive(found.mark, *filter(None, (found.index,))):
            raise Rejected(f"mark price: {found.mark!r}, index {found.index!r}")
        return (MarkPrice(instrument_id, time_ns, found.mark, found.index, received_ns),)
    if isinstance(found, frames.OpenInterest):
        if not digits.not_negative(found.amount, *filter(None, (found.value,))):
            raise Rejected(f"open interest: {found.amount!r}, value {found.value!r}")
        return (OpenInterest(instrument_id, time_ns, found.amount, found.value, received_ns),)
    raise Rejected(f"unknown frame: {type(found).__name__}")


def time_of(time_ms: int, received_ns: int) -> int:
    """Raises Rejected for a time that cannot be."""
    time_ns = time_ms * MILLISECOND
    if not _EARLIEST_NS <= time_ns <= received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {time_ms}")
    return time_ns


def _quote(instrument_id: int, found: frames.Quote, time_ns: int, received_ns: int) -> Quote | Ignored:
    """There is no id of the state: the time of receipt orders them."""
    bid, bid_amount, ask, ask_amount = found.bid, found.bid_amount, found.ask, found.ask_amount
    if bid is None or bid_amount is None or ask is None or ask_amount is None:
        return Ignored("quote: a side or its amount is missing")
    if not (digits.positive(bid, ask) and digits.not_negative(bid_amount, ask_amount)):
        raise Rejected(f"quote: {found}")
    return Quote(instrument_id, time_ns, received_ns // 1_000, bid, bid_amount, ask, ask_amount, received_ns)


def _ticker(instrument_id: int, found: frames.Ticker, time_ns: int, received_ns: int) -> Ticker:
    values = (found.last, found.bid, found.bid_amount, found.ask, found.ask_amount)
    daily = (found.open, found.high, found.low, found.volume, found.quote_volume)
    texts = [text for text in (*values, *daily) if text is not None]
    if not texts or not digits.not_negative(*texts):
        raise Rejected(f"ticker: {found}")
    return Ticker(instrument_id, time_ns, *values, *daily, received_ns)


def _liquidation(instrument_id: int, row: frames.LiquidationRow, received_ns: int) -> Liquidation:
    time_ms, side, price, amount = row
    if side not in _SIDES or not digits.positive(price, amount):
        raise Rejected(f"liquidation: {row}")
    return Liquidation(instrument_id, time_of(time_ms, received_ns), _SIDES[side], price, amount, received_ns)
