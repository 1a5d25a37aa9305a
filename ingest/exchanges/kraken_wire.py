"""Kraken spot's wire: its shapes as typed structs, and the records that they become. Pure.

Names of fields are the wire's, and so is their order, in which msgspec finds them fastest. The websocket writes
prices and amounts as JSON numbers at the instrument's full precision, and the checksum of a book is made of these
very digits, trailing zeros included: such a field is `Any`, for which the decoder's `float_hook` keeps the text.
Pages are named in `kraken`.
"""

import re
from binascii import crc32
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ingest import digits
from ingest.clock import MICROSECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.records import Candle, CandleSource, Levels, Quote, Side, Ticker, Trade

EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: before the first trade of any of this
LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_INFINITY = float("inf")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_datetime = datetime.fromisoformat
_ONE_MICROSECOND, _ONE_MILLISECOND = timedelta(microseconds=1), timedelta(milliseconds=1)
_EXPONENT = re.compile(r"\d{1,40}(\.\d{1,40})?[eE][+-]?\d{1,2}")
_TOKENS_KEPT = 65_536
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Crc = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Kind = Literal["snapshot", "update"]
Number = Any
"""A JSON number, by `float_hook` as its text (an integer as `int`): `decimals` makes digits of it, or refuses."""


class Level(Struct, gc=False):
    price: Number
    qty: Number


class BookEntry(Struct, gc=False):
    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: Crc
    timestamp: str = ""


class BookFrame(Struct, tag_field="channel", tag="book", gc=False):
    type: Kind
    data: list[BookEntry]


class TradeEntry(Struct, gc=False):
    """`side` is the taker's."""

    symbol: str
    side: Side
    price: Number
    qty: Number
    trade_id: Id
    timestamp: str


class TradeFrame(Struct, tag_field="channel", tag="trade", gc=False):
    data: list[TradeEntry]


class OhlcEntry(Struct, gc=False):
    """A minute as it stands: every row holds all of it so far."""

    symbol: str
    open: Number
    high: Number
    low: Number
    close: Number
    trades: Annotated[int, Meta(ge=0)]
    volume: Number
    interval_begin: str
    interval: int


class OhlcFrame(Struct, tag_field="channel", tag="ohlc", gc=False):
    type: Kind
    data: list[OhlcEntry]
    timestamp: str = ""


class TickerEntry(Struct, gc=False):
    """Of a market without trades of late, or with an empty side, numbers are null, zero or left out."""

    symbol: str
    bid: Number = None
    bid_qty: Number = None
    ask: Number = None
    ask_qty: Number = None
    last: Number = None
    volume: Number = None
    low: Number = None
    high: Number = None
    timestamp: str = ""


class TickerFrame(Struct, tag_field="channel", tag="ticker", gc=False):
    data: list[TickerEntry]


class Heartbeat(Struct, tag_field="channel", tag="heartbeat", gc=False):
    """Each second; it tells no time."""


class Status(Struct, tag_field="channel", tag="status", gc=False):
    """Of the engine."""


class Instruments(Struct, tag_field="channel", tag="instrument", gc=False):
    """Not subscribed."""


class Answer(Struct, gc=False):
    """To a request, one for each symbol of it; or an error that no request is named with; or of another channel."""

    channel: str = ""
    method: str = ""
    req_id: int | None = None
    success: bool | None = None
    error: str = ""
    Error: str = ""
    time_out: str = ""


Frame = BookFrame | TradeFrame | OhlcFrame | TickerFrame | Heartbeat | Status | Instruments

decode_frame = msgspec.json.Decoder(Frame, float_hook=str).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def decimal_text(value: object) -> str:
    """The digits of a JSON number, an exponent written out: 1e-8 is 0.00000001. Raises Rejected for what is none."""
    try:
        text = str(value)
        if digits.plain(text):
            return text
        if _EXPONENT.fullmatch(text):
            return format(Decimal(text), "f")
    except ValueError:  # an integer of thousands of digits, half a character
        text = "one that cannot be written"
    raise Rejected(f"not a decimal number: {text[:40]!r}")


def decimals(*values: Number) -> Sequence[str]:
    """The same for several, of which nearly always all are text already."""
    try:
        if digits.plain("".join(values)):
            return values
    except (TypeError, ValueError):
        pass
    return [decimal_text(value) for value in values]


def time_ns(text: str, received_ns: int) -> int:
    """Of `2023-10-06T17:35:55.440295Z`: what lies below a microsecond is cut."""
    try:
        found_ns = (_datetime(text) - _EPOCH) // _ONE_MICROSECOND * 1_000
    except (ValueError, TypeError):  # TypeError: no time zone
        found_ns = 0
    if not EARLIEST_NS <= found_ns <= received_ns + LATE_NS:
        raise Rejected(f"absurd time: {text[:40]!r}")
    return found_ns


def trade(instrument_id: int, data: TradeEntry, received_ns: int) -> Trade:
    """Its time is cut to milliseconds: REST gives times as floats, which are off by up to 0.12 µs, and a trade must
    have one time whether it comes from there or from the stream.
    """
    price, amount = data.price, data.qty
    try:  # as in `binance_wire.trade`: of two plain decimals the product is positive and finite when each is
        plain = (price + amount).encode().replace(b".", b"0").isdigit()
        good = plain and 0.0 < float(price) * float(amount) < _INFINITY
    except (TypeError, AttributeError, ValueError):  # an integer, or no number at all
        good = False
    if not good:
        price, amount = decimal_text(price), decimal_text(amount)
        if not digits.positive(price, amount):
            raise Rejected(f"trade: price {price!r}, amount {amount!r}")
    try:
        at_ns = (_datetime(data.timestamp) - _EPOCH) // _ONE_MILLISECOND * 1_000_000
    except (ValueError, TypeError):
        at_ns = 0
    if not EARLIEST_NS <= at_ns <= received_ns + LATE_NS:
        raise Rejected(f"absurd time: {data.timestamp[:40]!r}")
    return Trade(instrument_id, at_ns, str(data.trade_id), data.side, price, amount, received_ns)


def candle(instrument_id: int, data: OhlcEntry, received_ns: int) -> Candle:
    numbers = decimals(data.open, data.high, data.low, data.close, data.volume)
    open_ns = time_ns(data.interval_begin, received_ns)
    return candle_of(instrument_id, open_ns, numbers, data.trades, CandleSource.STREAM, received_ns)


def candle_of(
    instrument_id: int, open_ns: int, numbers: Sequence[str], trades: int, source: CandleSource, received_ns: int
) -> Candle:
    """Volume in quote currency is not told; the average price times the volume would be a rounded one."""
    opened, high, low, closed, volume = numbers
    o, h, l, c, v = map(float, numbers)  # noqa: E741 - a candle's letters
    # Rounding keeps order, so float never refuses a candle that can be; the table's CHECK is exact.
    if not (0.0 < l <= o <= h < _INFINITY and l <= c <= h and v < _INFINITY):
        raise Rejected(f"candle: open {opened}, high {high}, low {low}, close {closed}, volume {volume} cannot be")
    if open_ns % MINUTE:
        raise Rejected(f"candle: {open_ns} is not the start of a minute")
    nothing = (None, trades, None, None)
    return Candle(instrument_id, open_ns, opened, high, low, closed, volume, *nothing, source, received_ns)


def quote(instrument_id: int, data: TickerEntry, received_ns: int) -> Quote | None:
    """None where a side of the book is empty. It is numbered by its time in microseconds: the venue has no ids."""
    if data.bid is None or data.ask is None:
        return None
    bid, bid_amount, ask, ask_amount = numbers = decimals(data.bid, data.bid_qty, data.ask, data.ask_qty)
    if not max(map(float, numbers)) < _INFINITY:
        raise Rejected(f"ticker: bid {bid!r} {bid_amount!r}, ask {ask!r} {ask_amount!r}")
    if not (float(bid) and float(ask)):
        return None
    at_ns = _time_or_receipt(data.timestamp, received_ns)
    return Quote(instrument_id, at_ns, at_ns // MICROSECOND, bid, bid_amount, ask, ask_amount, received_ns)


def ticker(instrument_id: int, data: TickerEntry, received_ns: int) -> Ticker:
    """The price of 24 hours ago is not told, only the change."""
    values = (data.last, data.bid, data.bid_qty, data.ask, data.ask_qty, data.high, data.low, data.volume)
    numbers = decimals(*(value for value in values if value is not None))
    if not max(map(float, numbers), default=0.0) < _INFINITY:
        raise Rejected(f"ticker: {numbers}")
    left = iter(numbers)
    last, bid, bid_amount, ask, ask_amount, high, low, volume = [
        None if value is None else next(left) for value in values
    ]
    at_ns = _time_or_receipt(data.timestamp, received_ns)
    now = (last, bid, bid_amount, ask, ask_amount)
    return Ticker(instrument_id, at_ns, *now, None, high, low, volume, None, received_ns)


def _time_or_receipt(text: str, received_ns: int) -> int:
    return time_ns(text, received_ns) if text else received_ns - received_ns % MICROSECOND


def levels(rows: Sequence[Level]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for row in rows:
        price, amount = row.price, row.qty
        try:  # `digits.plain`, written out
            good = (price + amount).encode().replace(b".", b"0").isdigit()
        except (TypeError, AttributeError, ValueError):  # an integer, or no number at all
            good = False
        found.append((price, amount) if good else (decimal_text(price), decimal_text(amount)))
    return found


class _Tokens(dict[tuple[str, str], str]):
    """What a level is in the text of a checksum: kept, since most levels stay from one message to the next."""

    def __missing__(self, level: tuple[str, str]) -> str:
        if len(self) >= _TOKENS_KEPT:
            self.clear()
        price, amount = level
        token = self[level] = price.replace(".", "").lstrip("0") + amount.replace(".", "").lstrip("0")
        return token


_tokens = _Tokens()


def checksum(bids: Levels, asks: Levels) -> int:
    """CRC32 of the digits of the best ten asks, then bids, each without its point and leading zeros."""
    token = _tokens.__getitem__
    return crc32("".join([*map(token, asks), *map(token, bids)]).encode())
