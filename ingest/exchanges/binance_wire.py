"""Binance spot's wire: its shapes as typed structs, and the records that they become. Pure.

Names of fields are the wire's, and so is their order, in which msgspec finds them fastest. It checks presence, types
and bounds while it decodes and names the field that is wrong; only what is used is declared, so that the venue may
add fields. Pages are named in `binance`.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ingest import digits
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Bad
from ingest.records import BookState, Candle, CandleSource, Quote, Side, Ticker, Trade

_EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: before the first trade of any of this
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_MICROSECONDS_FROM = _EARLIEST_NS // MICROSECOND  # as milliseconds it would be the year 40971
_INFINITY = float("inf")
_BIGINT_MAX = 2**63 - 1

Id = Annotated[int, Meta(ge=0, le=_BIGINT_MAX)]


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

    id: int | None = None
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


class DepthReply(Struct, gc=False):
    """`GET /api/v3/depth`."""

    lastUpdateId: int  # noqa: N815 - the wire's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


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


class LatestReply(Struct, gc=False):
    """`GET /api/v3/ticker/24hr` names the last trade, -1 where there is none; `GET /api/v3/aggTrades` is a list."""

    lastId: Annotated[int, Meta(ge=-1, le=_BIGINT_MAX)]  # noqa: N815 - the wire's name


decode_combined = msgspec.json.Decoder(Combined).decode
decode_combined_quote = msgspec.json.Decoder(CombinedQuote).decode
decode_depth = msgspec.json.Decoder(DepthReply).decode
decode_kline = msgspec.json.Decoder(KlineReply).decode
decode_trade = msgspec.json.Decoder(TradeReply).decode
decode_agg_trade = msgspec.json.Decoder(AggTradeReply).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

Shape = TypeVar("Shape")
Made = TypeVar("Made")


def rows(
    body: bytes, decode: Callable[[msgspec.Raw], Shape], make: Callable[[Shape], Made]
) -> tuple[list[Made], list[Bad]]:
    """The rows of a REST reply, each by itself, so that an odd one costs only itself. Raises Rejected for no list."""
    made: list[Made] = []
    bad: list[Bad] = []
    try:
        raw_rows = _decode_rows(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    for raw in raw_rows:
        try:
            made.append(make(decode(raw)))
        except (Rejected, ValueError) as error:
            bad.append(Bad(f"row of a reply: {error}", bytes(raw)))
    return made, bad


def book_state(body: bytes, instrument_id: int, levels: int, received_ns: int) -> BookState:
    try:
        reply = decode_depth(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return BookState(instrument_id, reply.lastUpdateId, reply.bids, reply.asks, levels, received_ns)


def latest_trade(body: bytes) -> int | None:
    """The id of the latest trade, from a 24-hour ticker or a list of aggregate trades. Raises Rejected for others."""
    try:
        if body.lstrip().startswith(b"["):
            ids = [reply.id for reply in msgspec.json.decode(body, type=list[AggTradeReply])]
            return max(ids, default=None)
        number = msgspec.json.decode(body, type=LatestReply).lastId
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return number if number >= 0 else None


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


def quote(instrument_id: int, data: QuoteFrame, received_ns: int) -> Quote:
    """The wire gives no time, so it is the time of receipt, cut to microseconds."""
    if not digits.positive(data.b, data.a) or not digits.not_negative(data.B, data.A) or not 0 <= data.u <= _BIGINT_MAX:
        raise Rejected(f"bookTicker: bid {data.b!r} {data.B!r}, ask {data.a!r} {data.A!r}, id {data.u}")
    at_ns = received_ns - received_ns % MICROSECOND
    return Quote(instrument_id, at_ns, data.u, data.b, data.B, data.a, data.A, received_ns)


def ticker(instrument_id: int, data: TickerFrame, received_ns: int) -> Ticker:
    texts = (data.c, data.b, data.B, data.a, data.A, data.o, data.h, data.l, data.v, data.q)
    if not digits.not_negative(*texts):
        raise Rejected(f"24hrTicker: {texts}")
    return Ticker(instrument_id, time_ns(data.E, received_ns), *texts, received_ns)
