"""Coinbase's wire: its shapes as typed structs, and the records that they become. Pure.

Names of fields are the wire's. msgspec checks presence and types while it decodes and names the field that is wrong;
only what is used is declared, so that the venue may add fields. Pages are named in `coinbase`.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta, Struct

from ingest import digits
from ingest.clock import MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Bad, Ignored
from ingest.records import BookState, Candle, CandleSource, Quote, Side, Ticker, Trade

_EARLIEST = "2009-01-01T00:00:00"  # before the first trade of any of this
_EARLIEST_NS = 1_230_768_000 * SECOND
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_INFINITY = float("inf")
_BIGINT_MAX = 2**63 - 1
_TO_THE_POINT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.", re.ASCII)

Id = Annotated[int, Meta(ge=0, le=_BIGINT_MAX)]

# The side of a trade is its maker's, so the taker's is the other one.
_TAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy", "buy": "sell", "sell": "buy"}


class L2Update(Struct, gc=False):
    """A level: `new_quantity` is what rests there now, zero removes it."""

    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class L2Event(Struct, gc=False):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[L2Update] | None = None


class L2Frame(Struct, tag_field="channel", tag="l2_data", gc=False):
    """Of the channel that is subscribed as `level2`."""

    timestamp: str
    sequence_num: Id
    events: list[L2Event]


class TradeEntry(Struct, gc=False):
    trade_id: Id
    product_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class TradesEvent(Struct, gc=False):
    trades: list[TradeEntry] | None = None


class TradesFrame(Struct, tag_field="channel", tag="market_trades", gc=False):
    """`snapshot` events hold the latest trades before the subscription, `update` events those since."""

    sequence_num: Id
    events: list[TradesEvent]


class TickerEntry(Struct, gc=False):
    """What the venue does not know is empty."""

    product_id: str
    price: str = ""
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    best_bid: str = ""
    best_bid_quantity: str = ""
    best_ask: str = ""
    best_ask_quantity: str = ""


class TickerEvent(Struct, gc=False):
    tickers: list[TickerEntry] | None = None


class TickerFrame(Struct, tag_field="channel", tag="ticker", gc=False):
    timestamp: str
    sequence_num: Id
    events: list[TickerEvent]


class HeartbeatsFrame(Struct, tag_field="channel", tag="heartbeats", gc=False):
    sequence_num: Id


class SubscriptionsEvent(Struct, gc=False):
    """All that the connection is subscribed to: products by channel."""

    subscriptions: dict[str, list[str]]


class SubscriptionsFrame(Struct, tag_field="channel", tag="subscriptions", gc=False):
    sequence_num: Id
    events: list[SubscriptionsEvent]


class Other(Struct, gc=False):
    """A frame of a channel that is not collected, or, without a channel, an error."""

    channel: str = ""
    sequence_num: Id | None = None
    type: str = ""
    message: str = ""
    reason: str = ""


Frame = L2Frame | TradesFrame | TickerFrame | HeartbeatsFrame | SubscriptionsFrame
TAGS = ("l2_data", "market_trades", "ticker", "heartbeats", "subscriptions")


class TradeReply(Struct, gc=False):
    """One of `GET /products/{id}/trades` of Coinbase Exchange."""

    trade_id: Id
    price: str
    size: str
    time: str
    side: Literal["buy", "sell"]


class CandleReply(Struct, gc=False):
    """One of `candles` of `GET /market/products/{id}/candles`."""

    start: int
    low: str
    high: str
    open: str
    close: str
    volume: str


class CandlesReply(Struct, gc=False):
    candles: list[msgspec.Raw]


class LatestReply(Struct, gc=False):
    """`GET /market/products/{id}/ticker`."""

    trades: list[msgspec.Raw]


class LevelReply(Struct, gc=False):
    price: str
    size: str


class PriceBook(Struct, gc=False):
    bids: list[LevelReply]
    asks: list[LevelReply]
    time: str


class BookReply(Struct, gc=False):
    """`GET /market/product_book`."""

    pricebook: PriceBook


# Numbers come as text or as numbers, by endpoint: not strict means both, for those that are declared as numbers.
decode_frame = msgspec.json.Decoder(Frame, strict=False).decode
decode_other = msgspec.json.Decoder(Other, strict=False).decode
_decode_trade_entry = msgspec.json.Decoder(TradeEntry, strict=False).decode
_decode_trade = msgspec.json.Decoder(TradeReply, strict=False).decode
_decode_candle = msgspec.json.Decoder(CandleReply, strict=False).decode
_decode_trades = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_latest = msgspec.json.Decoder(LatestReply).decode
_decode_candles = msgspec.json.Decoder(CandlesReply).decode
_decode_book = msgspec.json.Decoder(BookReply).decode

Shape = TypeVar("Shape")
Made = TypeVar("Made", Trade, Candle)


def trades(body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
    """Those of Coinbase Exchange, which does not say of what product they are."""
    return _rows(_reply(_decode_trades, body), _decode_trade, lambda row: trade(instrument_id, row, received_ns))


def latest_trades(body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
    found = _reply(_decode_latest, body).trades
    return _rows(found, _decode_trade_entry, lambda row: trade(instrument_id, row, received_ns))


def latest_trade(body: bytes) -> int | None:
    """The id of the latest trade."""
    found = _reply(_decode_latest, body).trades
    return max((_reply(_decode_trade_entry, row).trade_id for row in found), default=None)


def candles(body: bytes, instrument_id: int, source: CandleSource, received_ns: int) -> tuple[list[Candle], list[Bad]]:
    found = _reply(_decode_candles, body).candles
    return _rows(found, _decode_candle, lambda row: candle(instrument_id, row, source, received_ns))


def book_state(body: bytes, instrument_id: int, limit: int, received_ns: int) -> BookState:
    """What REST shows; it names no sequence, so that no change is known to follow it."""
    book = _reply(_decode_book, body).pricebook
    bids, asks = ([(level.price, level.size) for level in side] for side in (book.bids, book.asks))
    event_ns = time_ns(book.time, received_ns)
    return BookState(instrument_id, 0, bids, asks, limit, received_ns, event_ns=event_ns)


def _reply(decode: Callable[[bytes | msgspec.Raw], Shape], body: bytes | msgspec.Raw) -> Shape:
    try:
        return decode(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error


def _rows(
    raw_rows: list[msgspec.Raw], decode: Callable[[msgspec.Raw], Shape], make: Callable[[Shape], Made]
) -> tuple[list[Made], list[Bad]]:
    """The rows of a REST reply, oldest first, each by itself, so that an odd one costs only itself."""
    made: list[Made] = []
    bad: list[Bad] = []
    for raw in raw_rows:
        try:
            made.append(make(decode(raw)))
        except (Rejected, ValueError) as error:
            bad.append(Bad(f"row of a reply: {error}", bytes(raw)))
    return sorted(made, key=_place), bad  # the venue sends the newest first


def _place(row: Trade | Candle) -> tuple[int, int]:
    return row.time_ns, int(row.trade_id) if isinstance(row, Trade) else 0


def time_ns(text: str, received_ns: int) -> int:
    """RFC 3339 in UTC, of any number of digits, cut to microseconds."""
    second, fraction = text[:20], text[20:-1]
    if len(text) == 20:
        second, fraction = f"{text[:19]}.", "0"
    if not (text[-1:] == "Z" and fraction.isdecimal() and fraction.isascii()):
        raise Rejected(f"absurd time: {text!r}")
    found_ns = _second_ns(second) + int(fraction[:6].ljust(6, "0")) * 1_000
    if found_ns > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {text!r}")
    return found_ns


@lru_cache(maxsize=256)  # a frame's times lie within the same second, mostly that of the frame before
def _second_ns(text: str) -> int:
    """Up to the point, which is part of it."""
    if _TO_THE_POINT.fullmatch(text) is None or text < _EARLIEST:
        raise Rejected(f"absurd time: {text!r}")
    return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()) * SECOND


def trade(instrument_id: int, data: TradeEntry | TradeReply, received_ns: int) -> Trade:
    price, amount, time = data.price, data.size, data.time
    # `digits.positive` and `time_ns` written out: this is hot. Of two plain decimals that are no bigger or smaller than
    # a market's, the product is positive and finite when each is.
    whole = time[26:] == "Z"  # six digits
    fraction = time[20:26] if whole else ""
    plain = (price + amount + fraction).encode().replace(b".", b"0").isdigit()
    if not (plain and 0.0 < float(price) * float(amount) < _INFINITY):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}, time {time!r}")
    at_ns = _second_ns(time[:20]) + int(fraction) * 1_000 if whole else time_ns(time, received_ns)
    if at_ns > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {time!r}")
    return Trade(instrument_id, at_ns, str(data.trade_id), _TAKER[data.side], price, amount, received_ns)


def candle(instrument_id: int, data: CandleReply, source: CandleSource, received_ns: int) -> Candle:
    opened, high, low, closed, volume = texts = (data.open, data.high, data.low, data.close, data.volume)
    if not (digits.positive(*texts[:4]) and digits.not_negative(volume)):
        raise Rejected(f"candle: {texts}")
    # Rounding keeps order, so float never refuses a candle that can be; the table's CHECK is exact.
    o, h, l, c = map(float, texts[:4])  # noqa: E741 - a candle's letters
    if not (l <= o <= h and l <= c <= h):
        raise Rejected(f"candle: open {opened!r}, high {high!r}, low {low!r}, close {closed!r} cannot be")
    open_ns = data.start * SECOND
    if not _EARLIEST_NS <= open_ns <= received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {data.start}")
    if open_ns % MINUTE:
        raise Rejected(f"candle: {data.start} is not the start of a minute")
    prices = (opened, high, low, closed)
    return Candle(instrument_id, open_ns, *prices, volume, None, None, None, None, source, received_ns)


def quote(instrument_id: int, number: int, data: TickerEntry, at_ns: int, received_ns: int) -> Quote | None:
    """None where a side of the book is empty. The venue has no id of a quote: `number` is ours."""
    bid, bid_amount, ask, ask_amount = texts = (
        data.best_bid, data.best_bid_quantity, data.best_ask, data.best_ask_quantity,
    )  # fmt: skip
    if not all(texts):
        return None
    # `digits.not_negative` written out, as in `trade`
    plain = "".join(texts).encode().replace(b".", b"0").isdigit()
    prices = float(bid) * float(ask) if plain else _INFINITY
    if not (prices < _INFINITY and float(bid_amount) + float(ask_amount) < _INFINITY):
        raise Rejected(f"quote: bid {bid!r} {bid_amount!r}, ask {ask!r} {ask_amount!r}")
    if not prices:
        return None
    return Quote(instrument_id, at_ns, number, bid, bid_amount, ask, ask_amount, received_ns)


def ticker(instrument_id: int, data: TickerEntry, at_ns: int, received_ns: int) -> Ticker:
    last, high, low, volume = data.price, data.high_24_h, data.low_24_h, data.volume_24_h
    bid, bid_amount, ask, ask_amount = data.best_bid, data.best_bid_quantity, data.best_ask, data.best_ask_quantity
    texts = (last, bid, bid_amount, ask, ask_amount, high, low, volume)
    if not digits.not_negative(*(texts if all(texts) else [text or "0" for text in texts])):
        raise Rejected(f"ticker: {texts}")
    best = (bid or None, bid_amount or None, ask or None, ask_amount or None)
    day = (None, high or None, low or None, volume or None, None)  # neither where it opened, nor the quote's volume
    return Ticker(instrument_id, at_ns, last or None, *best, *day, received_ns)


def asked(url: str, market: str) -> tuple[str, str] | Ignored:
    """What a recorded reply answers: (the last part of its path, a product). Raises Rejected for no URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Rejected(f"malformed URL: {error}") from error
    product, _, path = parts.path.removeprefix(market).removeprefix("/products/").rpartition("/")
    if path not in ("candles", "ticker", "trades"):
        return Ignored(f"REST {path}: not collected")
    if path == "candles" and "ONE_MINUTE" not in parse_qs(parts.query).get("granularity", ()):
        return Ignored("candle: not 1m")
    return path, product
