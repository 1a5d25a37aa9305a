"""Binance USDⓈ-M futures' wire where it is not spot's: shapes as typed structs, and the records they become. Pure.

Names and order of fields are the wire's, as in `binance_wire`, which has what both share. Pages are named in
`binanceusdm`.
"""

import re
from typing import Literal

import msgspec
from msgspec import Struct

from ingest import digits
from ingest.clock import SECOND
from ingest.errors import Rejected
from ingest.exchanges.binance_wire import STREAM_NAME_MAX, AggTradeFrame, Id, KlineFrame, time_ns
from ingest.records import BookDelta, Funding, Liquidation, MarkPrice, OpenInterest, Side, Ticker

_INFINITY = float("inf")
_FUNDING_AHEAD_NS = 30 * 86_400 * SECOND  # hours as a rule; of a contract that is about to be listed, days
_OTHER_DEPTH = re.compile(rb'"stream":\s*"[^"@]+@(depth\d|rpiDepth)')
_SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}


class DepthFrame(Struct, tag_field="e", tag="depthUpdate", gc=False):
    """`<symbol>@depth@100ms`: T is the time of the change, U and u its first and last update id, pu the last frame's u.

    Ids are not this book's alone, so that U is seldom pu + 1.
    """

    T: int
    s: str
    U: Id
    u: Id
    pu: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class QuoteFrame(Struct, tag_field="e", tag="bookTicker", gc=False):
    """`<symbol>@bookTicker`: u is the update id, b B the bid, a A the ask, T the time of the change."""

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    T: int


class TickerFrame(Struct, tag_field="e", tag="24hrTicker", gc=False):
    """`<symbol>@ticker`: last c, and of 24 hours open o, high h, low l, volumes v q. Best prices are spot's alone."""

    E: int
    s: str
    c: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str


class MarkPriceFrame(Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """`<symbol>@markPrice@1s`: mark p, index i, and the funding rate r that will be paid at T."""

    E: int
    s: str
    p: str
    i: str
    r: str
    T: int


class ForceOrder(Struct, gc=False):
    """The `o` of `<symbol>@forceOrder`: side S, the order's price p, and z, what of it is filled by now."""

    s: str
    S: Literal["BUY", "SELL"]
    p: str
    z: str
    T: int


class ForceOrderFrame(Struct, tag_field="e", tag="forceOrder", gc=False):
    o: ForceOrder


Frame = AggTradeFrame | DepthFrame | QuoteFrame | KlineFrame | TickerFrame | MarkPriceFrame | ForceOrderFrame
TAGS = ("aggTrade", "depthUpdate", "bookTicker", "kline", "24hrTicker", "markPriceUpdate", "forceOrder")


class Combined(Struct, gc=False):
    data: Frame


class OpenInterestReply(Struct, gc=False):
    """`GET /fapi/v1/openInterest`, in units of the base currency."""

    symbol: str
    openInterest: str  # noqa: N815 - the wire's name
    time: int


decode_combined = msgspec.json.Decoder(Combined).decode
_decode_open_interest = msgspec.json.Decoder(OpenInterestReply).decode


def other_depth(frame: bytes) -> bool:
    """Whether a frame that looks like changes of the whole book is none: of its best 5, 10 or 20 levels (stream
    `@depth5` and so on), or with orders that others do not see (`@rpiDepth`). We subscribe none; recordings hold them.

    …/websocket-market-streams/Partial-Book-Depth-Streams, …/Diff-Book-Depth-Streams-RPI
    """
    return _OTHER_DEPTH.search(frame, 0, STREAM_NAME_MAX) is not None


def delta(instrument_id: int, data: DepthFrame, received_ns: int) -> BookDelta:
    if data.U > data.u or data.pu > data.u:
        raise Rejected(f"depthUpdate: ids U={data.U}, u={data.u}, pu={data.pu}")
    at_ns = time_ns(data.T, received_ns)
    return BookDelta(instrument_id, data.U, data.u, data.pu, data.b, data.a, at_ns, received_ns)


def ticker(instrument_id: int, data: TickerFrame, received_ns: int) -> Ticker:
    texts = (data.o, data.h, data.l, data.v, data.q)
    if not digits.not_negative(data.c, *texts):
        raise Rejected(f"24hrTicker: {(data.c, *texts)}")
    at_ns = time_ns(data.E, received_ns)
    return Ticker(instrument_id, at_ns, data.c, None, None, None, None, *texts, received_ns)


def mark_price(instrument_id: int, data: MarkPriceFrame, at_ns: int, received_ns: int) -> MarkPrice:
    """Without an index where the venue has none: it then says zero, or nothing."""
    mark, index = data.p, data.i or "0"
    try:  # `digits` in one go, as each contract has a frame a second
        value, behind = float(mark), float(index)
        can_be = 0.0 < value and value + behind < _INFINITY and digits.plain(mark + index)
    except ValueError:
        can_be = False
    if not can_be:
        raise Rejected(f"markPriceUpdate: mark {mark!r}, index {data.i!r}")
    return MarkPrice(instrument_id, at_ns, mark, index if behind else None, received_ns)


def funding(instrument_id: int, data: MarkPriceFrame, at_ns: int, received_ns: int) -> Funding | None:
    """None where no funding is paid: of a contract that is delivered, the venue says "" and 0."""
    if not data.r:
        return None
    if not digits.not_negative(data.r.removeprefix("-")):
        raise Rejected(f"markPriceUpdate: rate {data.r!r}")
    funding_ns = time_ns(data.T, received_ns + _FUNDING_AHEAD_NS) if data.T else None
    return Funding(instrument_id, at_ns, data.r, funding_ns, received_ns)


def liquidation(instrument_id: int, data: ForceOrder, received_ns: int) -> Liquidation | None:
    """None while nothing of the order is filled. Its price is where the position is bankrupt, not what it got."""
    if not digits.positive(data.p) or not digits.not_negative(data.z):
        raise Rejected(f"forceOrder: price {data.p!r}, filled {data.z!r}")
    if not float(data.z):
        return None
    return Liquidation(instrument_id, time_ns(data.T, received_ns), _SIDES[data.S], data.p, data.z, received_ns)


def open_interest(instrument_id: int, symbol: str, body: bytes, received_ns: int) -> OpenInterest:
    """The venue counts in base currency and names no value. Raises Rejected, also for another symbol than `symbol`."""
    try:
        reply = _decode_open_interest(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    if reply.symbol != symbol or not digits.not_negative(reply.openInterest):
        raise Rejected(f"openInterest: {reply.openInterest!r} of {reply.symbol!r}, asked for {symbol!r}")
    return OpenInterest(instrument_id, time_ns(reply.time, received_ns), reply.openInterest, None, received_ns)
