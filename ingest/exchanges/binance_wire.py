"""Binance's wire, spot's and what futures share with it: shapes as typed structs, and the records they become. Pure.

Names of fields are the wire's, and so is their order, in which msgspec finds them fastest. It checks presence, types
and bounds while it decodes and names the field that is wrong; only what is used is declared, so that the venue may
add fields. Pages are named in `binance`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Protocol

import msgspec
import orjson
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ingest import digits
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Ignored, Subscription
from ingest.records import Candle, CandleSource, Quote, Side, Stream, Ticker, Trade

_EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: before the first trade of any of this
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_MICROSECONDS_FROM = _EARLIEST_NS // MICROSECOND  # as milliseconds it would be the year 40971
_INFINITY = float("inf")
BIGINT_MAX = 2**63 - 1
_STREAMS_PER_MESSAGE = 200
STREAM_NAME_MAX = 64  # bytes of a combined frame within which its stream is named
_STREAM_NAME = re.compile(rb'"stream":\s*"([^"@]+)@([A-Za-z0-9_@]+)"')

OTHER_INTERVAL = Ignored("candle: not 1m")
_NOT_OURS = Ignored("answer: to no request of ours")

Id = Annotated[int, Meta(ge=0, le=BIGINT_MAX)]


class TradeFrame(Struct, tag_field="e", tag="trade", gc=False):
    """`<symbol>@trade`."""

    s: str
    id: Id = field(name="t")
    p: str
    q: str
    T: int
    m: bool


class AggTradeFrame(Struct, tag_field="e", tag="aggTrade", gc=False):
    s: str
    id: Id = field(name="a")
    p: str
    q: str
    T: int
    m: bool


class DepthFrame(Struct, tag_field="e", tag="depthUpdate", gc=False):
    """`<symbol>@depth@100ms`: U and u are the first and last update id, b and a the changed bids and asks."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class KlineBody(Struct, gc=False):
    """The `k` of `<symbol>@kline_1m`: times t, interval i, closed x, volumes v q (all) and V Q (taker bought)."""

    t: int
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    n: int
    x: bool
    q: str
    V: str
    Q: str


class KlineFrame(Struct, tag_field="e", tag="kline", gc=False):
    s: str
    k: KlineBody


class TickerFrame(Struct, tag_field="e", tag="24hrTicker", gc=False):
    """`<symbol>@ticker`: last c, bid b B, ask a A, and of 24 hours open o, high h, low l, volumes v q."""

    E: int
    s: str
    c: str
    b: str
    B: str
    a: str
    A: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str


class QuoteFrame(Struct, gc=False):
    """`<symbol>@bookTicker`, with neither an event type nor a time: u is the update id, b B the bid, a A the ask."""

    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class Answer(Struct, gc=False):
    """To a request: `result` is null when it was accepted. Errors come flat or in `error`, mostly without id."""

    id: int | str | None = None  # any text may be one: ours are integers
    result: list[str] | bool | UnsetType | None = UNSET
    code: int | None = None
    msg: str | None = None
    error: "AnswerError | None" = None


class AnswerError(Struct, gc=False):
    code: int | None = None
    msg: str | None = None


Frame = TradeFrame | AggTradeFrame | DepthFrame | KlineFrame | TickerFrame
TAGS = ("trade", "aggTrade", "depthUpdate", "kline", "24hrTicker")


class Combined(Struct, gc=False):
    data: Frame


class CombinedQuote(Struct, gc=False):
    data: QuoteFrame


class TradeReply(Struct, gc=False):
    """One of `GET /api/v3/historicalTrades`."""

    id: Id
    p: str = field(name="price")
    q: str = field(name="qty")
    T: int = field(name="time")
    m: bool = field(name="isBuyerMaker")


class AggTradeReply(Struct, gc=False):
    """One of `GET /api/v3/aggTrades`."""

    id: Id = field(name="a")
    p: str
    q: str
    T: int
    m: bool


class KlineReply(Struct, array_like=True, gc=False):
    """One of `GET /api/v3/klines`."""

    t: int
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    close_time: int
    q: str
    n: int
    V: str
    Q: str


decode_combined = msgspec.json.Decoder(Combined).decode
decode_combined_quote = msgspec.json.Decoder(CombinedQuote).decode


def time_ns(value: int, received_ns: int) -> int:
    """Microseconds, or the milliseconds that older recordings and some replies hold; told apart by size."""
    found_ns = value * MICROSECOND if value >= _MICROSECONDS_FROM else value * MILLISECOND
    if not _EARLIEST_NS <= found_ns <= received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {value}")
    return found_ns


def trade(instrument_id: int, data: TradeFrame | AggTradeFrame | TradeReply | AggTradeReply, received_ns: int) -> Trade:
    price, amount, time = data.p, data.q, data.T
    # `digits.positive` and `time_ns` written out: this is the hottest code of the program. Of two plain decimals that
    # are no bigger or smaller than a market's, the product is positive and finite when each is.
    if not ((price + amount).encode().replace(b".", b"0").isdigit() and 0.0 < float(price) * float(amount) < _INFINITY):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}")
    time = time * 1_000 if time >= _MICROSECONDS_FROM else time_ns(time, received_ns)
    if time > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {data.T}")
    # The buyer was the maker when m is true, so the taker sold.
    side: Side = "sell" if data.m else "buy"
    return Trade(instrument_id, time, str(data.id), side, price, amount, received_ns)


def candle(instrument_id: int, kline: KlineBody | KlineReply, source: CandleSource, received_ns: int) -> Candle:
    opened, high, low, closed = kline.o, kline.h, kline.l, kline.c
    volume, quote_volume, buy_volume, buy_quote_volume = kline.v, kline.q, kline.V, kline.Q
    texts = (opened, high, low, closed, volume, quote_volume, buy_volume, buy_quote_volume)
    try:
        o, h, l, c, v, q, bv, bq = map(float, texts)  # noqa: E741 - a candle's letters
        plain = digits.plain("".join(texts))
    except ValueError:
        plain = False
    if not plain:
        raise Rejected(f"candle: not decimal text: {texts}")
    # Rounding keeps order, so float never refuses a candle that can be; the table's CHECK is exact.
    if not (0.0 < l <= o <= h < _INFINITY and l <= c <= h):
        raise Rejected(f"candle: open {opened!r}, high {high!r}, low {low!r}, close {closed!r} cannot be")
    if not v + q + bv + bq < _INFINITY or kline.n < 0:
        raise Rejected(f"candle: volumes {texts[4:]}, trades {kline.n}")
    open_ns = kline.t * 1_000 if kline.t >= _MICROSECONDS_FROM else time_ns(kline.t, received_ns)
    if open_ns > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {kline.t}")
    if open_ns % MINUTE:
        raise Rejected(f"candle: {kline.t} is not the start of a minute")
    return Candle(
        instrument_id,
        open_ns,
        opened,
        high,
        low,
        closed,
        volume,
        quote_volume,
        kline.n,
        buy_volume,
        buy_quote_volume,
        source,
        received_ns,
    )


class Best(Protocol):
    """What a `bookTicker` says, of spot and of futures."""

    u: int
    b: str
    B: str
    a: str
    A: str


def quote(instrument_id: int, data: Best, at_ns: int, received_ns: int) -> Quote | None:
    """None where a side of the book is empty: the venue then says zero."""
    bid, bid_amount, ask, ask_amount = data.b, data.B, data.a, data.A
    try:  # `digits` written out, as in `trade`: best prices change more often than there are trades
        best_bid, best_ask = float(bid), float(ask)
        can_be = (
            best_bid + best_ask + float(bid_amount) + float(ask_amount) < _INFINITY
            and (bid + bid_amount + ask + ask_amount).encode().replace(b".", b"0").isdigit()
        )
    except ValueError:
        can_be = False
    if not can_be or not 0 <= data.u <= BIGINT_MAX:
        raise Rejected(f"bookTicker: bid {bid!r} {bid_amount!r}, ask {ask!r} {ask_amount!r}, id {data.u}")
    if not best_bid or not best_ask:
        return None
    return Quote(instrument_id, at_ns, data.u, bid, bid_amount, ask, ask_amount, received_ns)


def ticker(instrument_id: int, data: TickerFrame, received_ns: int) -> Ticker:
    texts = (data.c, data.b, data.B, data.a, data.A, data.o, data.h, data.l, data.v, data.q)
    if not digits.not_negative(*texts):
        raise Rejected(f"24hrTicker: {texts}")
    return Ticker(instrument_id, time_ns(data.E, received_ns), *texts, received_ns)


def ack(answer: Answer) -> Ack | Ignored:
    """An answer without an id cannot be told apart from others: it is the connection's, id 0."""
    error, request_id = answer.error or answer, answer.id or 0
    failed = error.code is not None or error.msg is not None
    if answer.result is UNSET and not failed:
        raise Rejected("malformed frame: an answer that says nothing")
    if isinstance(request_id, str):
        return _NOT_OURS
    return Ack(request_id, f"{error.code}: {error.msg}" if failed else None)


def of_all_markets(rows: Sequence[object], events: Collection[str]) -> Ignored:
    """What streams such as `!ticker@arr` bring: a list of events of many markets, of these kinds."""
    found = {str(row.get("e")) if isinstance(row, dict) else "" for row in rows}
    if len(found) != 1 or not found <= {*events}:
        raise Rejected("the frame is not an object")
    return Ignored(f"{found.pop()} of all markets: channel not collected")


def subscriptions(topics: Mapping[str, Sequence[Stream]], first_request_id: int) -> list[Subscription]:
    """`topics` as the wire calls them, with the streams that each one brings."""
    names, found = list(topics), list[Subscription]()
    for start in range(0, len(names), _STREAMS_PER_MESSAGE):
        part, request_id = names[start : start + _STREAMS_PER_MESSAGE], first_request_id + len(found)
        message = orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": request_id}).decode()
        found.append(Subscription(request_id, message, tuple(stream for name in part for stream in topics[name])))
    return found


def named(frame: bytes) -> tuple[str, str] | None:
    """(native symbol, topic) of a combined frame, as far as it tells."""
    found = _STREAM_NAME.search(frame, 0, STREAM_NAME_MAX)
    return None if found is None else (found[1].decode(errors="replace").upper(), found[2].decode())
