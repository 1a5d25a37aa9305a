"""Bybit v5's wire: its shapes as typed structs, and the records that they become. Pure.

Names of fields are the wire's, and so is their order, in which msgspec finds them fastest. It checks presence, types
and bounds while it decodes and names the field that is wrong; only what is used is declared, so that the venue may
add fields. Pages are named in `bybit`. Every time is in milliseconds.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field, structs

from ingest import digits
from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Bad, Ignored
from ingest.exchanges.pieces import Made, Shape, each
from ingest.records import (
    BookState,
    Candle,
    CandleSource,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Ticker,
    Trade,
)

_EARLIEST_MS = 1_230_768_000_000  # 2009: before the first trade of any of this
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_FUNDED_WITHIN_NS = 366 * 86_400 * SECOND
_INFINITY = float("inf")
_OUR_ID = re.compile(r"[0-9]{1,18}")
_NOT_OURS = Ignored("answer: to no request of ours")
_PASSING = (429, 10000, 10006, 10016, 10018, 10429)
"""Codes of what may pass by itself: timeouts, restarts, too many calls (https://bybit-exchange.github.io/docs/v5/error)."""

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TradeId = Annotated[str, Meta(min_length=1, max_length=64)]
TradeSide = Literal["Buy", "Sell"]
Form = Literal["snapshot", "delta"]


class TradeRow(Struct, gc=False):
    """One of `publicTrade`: `S` is the taker's side."""

    T: int
    s: str
    S: TradeSide
    v: str
    p: str
    i: TradeId


class Trades(Struct, gc=False):
    data: list[TradeRow]


class BookBody(Struct, gc=False):
    """`u` counts the messages of one topic, `seq` is the matching engine's state and the same in all of them."""

    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: Id
    seq: Id


class Book(Struct, gc=False):
    """`orderbook`: `cts` is when the matching engine made this state, `ts` when it was published."""

    topic: str
    type: Form
    ts: int
    data: BookBody
    cts: int | None = None


class TickerBody(Struct, gc=False):
    """`tickers`: None is what a delta does not speak of, "" what the venue has no value for.

    What may be signed or is a time comes first, then plain decimals: `said` looks at those.
    """

    symbol: str
    fundingRate: str | None = None  # noqa: N815 - the wire's names
    nextFundingTime: str | None = None  # noqa: N815
    lastPrice: str | None = None  # noqa: N815
    bid1Price: str | None = None  # noqa: N815
    bid1Size: str | None = None  # noqa: N815
    ask1Price: str | None = None  # noqa: N815
    ask1Size: str | None = None  # noqa: N815
    prevPrice24h: str | None = None  # noqa: N815
    highPrice24h: str | None = None  # noqa: N815
    lowPrice24h: str | None = None  # noqa: N815
    volume24h: str | None = None
    turnover24h: str | None = None
    markPrice: str | None = None  # noqa: N815
    indexPrice: str | None = None  # noqa: N815
    openInterest: str | None = None  # noqa: N815
    openInterestValue: str | None = None  # noqa: N815


class Tickers(Struct, gc=False):
    type: Form
    data: TickerBody
    ts: int


class KlineRow(Struct, gc=False):
    start: int
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


class Klines(Struct, gc=False):
    """`kline`, which names its symbol in the topic alone."""

    topic: str
    data: list[KlineRow]


class LiquidationRow(Struct, gc=False):
    """One of `allLiquidation`: `S` is the side of the position, `p` its bankruptcy price."""

    T: int
    s: str
    S: TradeSide
    v: str
    p: str


class Liquidations(Struct, gc=False):
    data: list[LiquidationRow]


class Other(Struct, gc=False):
    """A message of any topic, or an answer to a request."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | None = None


class Reply(Struct, gc=False):
    """Any REST reply."""

    retCode: int  # noqa: N815 - the wire's names
    retMsg: str  # noqa: N815
    result: Raw = Raw(b"{}")


class Listed(Struct, gc=False):
    list: list[Raw]


class TradeReply(Struct, gc=False):
    """One of `GET /v5/market/recent-trade`."""

    i: TradeId = field(name="execId")
    p: str = field(name="price")
    v: str = field(name="size")
    S: TradeSide = field(name="side")
    T: int = field(name="time")


class KlineReply(Struct, array_like=True, gc=False):
    """One of `GET /v5/market/kline`."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


decode_trades = msgspec.json.Decoder(Trades).decode
decode_book = msgspec.json.Decoder(Book).decode
decode_tickers = msgspec.json.Decoder(Tickers).decode
decode_klines = msgspec.json.Decoder(Klines).decode
decode_liquidations = msgspec.json.Decoder(Liquidations).decode
decode_other = msgspec.json.Decoder(Other).decode
decode_trade_reply = msgspec.json.Decoder(TradeReply, strict=False).decode  # times are text there
decode_kline_reply = msgspec.json.Decoder(KlineReply, strict=False).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_listed = msgspec.json.Decoder(Listed).decode
_decode_book_reply = msgspec.json.Decoder(BookBody).decode

_DECIMALS_FROM = TickerBody.__struct_fields__.index("lastPrice")
_OF_TICKER = slice(_DECIMALS_FROM, TickerBody.__struct_fields__.index("markPrice"))


def _result(body: bytes) -> Raw:
    reply = _decode_reply(body)
    if reply.retCode in _PASSING:
        raise Retryable(f"bybit: {reply.retCode}: {reply.retMsg}")
    if reply.retCode:
        raise Rejected(f"refused: {reply.retCode}: {reply.retMsg}")
    return reply.result


def rows(body: bytes, decode: Callable[[Raw], Shape], make: Callable[[Shape], Made]) -> tuple[list[Made], list[Bad]]:
    """The rows of a reply, which has the newest first, oldest first; each by itself, so that an odd one costs only
    itself. Raises Rejected for no list or a refusal, Retryable for one that may pass.
    """
    try:
        listed = _decode_listed(_result(body)).list
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return each(reversed(listed), decode, make)


def book_state(body: bytes, instrument_id: int, levels: int, received_ns: int) -> BookState:
    try:
        data = _decode_book_reply(_result(body))
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return BookState(instrument_id, data.seq, data.b, data.a, levels, received_ns)


# Values


def whole(text: str) -> int:
    """A time as text. Raises Rejected for anything but digits."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Rejected(f"absurd time: {text!r}")
    return int(text)


def time_ns(value: int, received_ns: int) -> int:
    found_ns = value * MILLISECOND
    if value < _EARLIEST_MS or found_ns > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {value}")
    return found_ns


# Records


def trade(instrument_id: int, row: TradeRow | TradeReply, received_ns: int) -> Trade:
    price, amount, time, trade_id = row.p, row.v, row.T, row.i
    # `digits.positive` and `time_ns` written out, as this is hot. Of two plain decimals that are no bigger or smaller
    # than a market's, the product is positive and finite when each is.
    if not ((price + amount).encode().replace(b".", b"0").isdigit() and 0.0 < float(price) * float(amount) < _INFINITY):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}")
    at_ns = time * MILLISECOND
    if time < _EARLIEST_MS or at_ns > received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {time}")
    if not trade_id.encode().replace(b"-", b"0").isalnum():  # of ASCII; many times as fast as of text
        raise Rejected(f"trade: id {trade_id!r}")
    return Trade(instrument_id, at_ns, trade_id, "buy" if row.S == "Buy" else "sell", price, amount, received_ns)


def candle(instrument_id: int, row: KlineRow | KlineReply, source: CandleSource, received_ns: int) -> Candle:
    """The venue tells neither the number of trades nor what takers bought."""
    texts = (row.open, row.high, row.low, row.close, row.volume, row.turnover)
    try:
        o, h, l, c, volume, turnover = map(float, texts)  # noqa: E741 - a candle's letters
        plain = digits.plain("".join(texts))
    except ValueError:
        plain = False
    if not plain:
        raise Rejected(f"candle: not decimal text: {texts}")
    # Rounding keeps order, so float never refuses a candle that can be; the table's CHECK is exact.
    if not (0.0 < l <= o <= h < _INFINITY and l <= c <= h):
        raise Rejected(f"candle: open, high, low, close {texts[:4]} cannot be")
    if not volume + turnover < _INFINITY:
        raise Rejected(f"candle: volumes {texts[4:]}")
    open_ns = time_ns(row.start, received_ns)
    if open_ns % MINUTE:
        raise Rejected(f"candle: {row.start} is not the start of a minute")
    return Candle(instrument_id, open_ns, *texts, None, None, None, source, received_ns)


def quote(instrument_id: int, book: BookBody, at_ns: int, received_ns: int) -> Quote:
    (bid, bid_amount), (ask, ask_amount) = book.b[0], book.a[0]
    try:
        value = float(bid) * float(bid_amount) * float(ask) * float(ask_amount)
        can_be = 0.0 < value < _INFINITY and digits.plain(bid + bid_amount + ask + ask_amount)
    except ValueError:
        can_be = False
    if not can_be:
        raise Rejected(f"quote: bid {bid!r} {bid_amount!r}, ask {ask!r} {ask_amount!r}")
    return Quote(instrument_id, at_ns, book.seq, bid, bid_amount, ask, ask_amount, received_ns)


def said(data: TickerBody) -> TickerBody:
    """The same. Raises Rejected where a price or an amount is no plain decimal."""
    texts = [*filter(None, structs.astuple(data)[_DECIMALS_FROM:])]
    if texts and not digits.not_negative(*texts):
        raise Rejected(f"ticker: {texts}")
    return data


def merged(old: TickerBody, new: TickerBody) -> TickerBody:
    """What a delta leaves: "If a response param is not found in the message, then its value has not changed"."""
    return TickerBody(
        new.symbol,
        old.fundingRate if new.fundingRate is None else new.fundingRate,
        old.nextFundingTime if new.nextFundingTime is None else new.nextFundingTime,
        old.lastPrice if new.lastPrice is None else new.lastPrice,
        old.bid1Price if new.bid1Price is None else new.bid1Price,
        old.bid1Size if new.bid1Size is None else new.bid1Size,
        old.ask1Price if new.ask1Price is None else new.ask1Price,
        old.ask1Size if new.ask1Size is None else new.ask1Size,
        old.prevPrice24h if new.prevPrice24h is None else new.prevPrice24h,
        old.highPrice24h if new.highPrice24h is None else new.highPrice24h,
        old.lowPrice24h if new.lowPrice24h is None else new.lowPrice24h,
        old.volume24h if new.volume24h is None else new.volume24h,
        old.turnover24h if new.turnover24h is None else new.turnover24h,
        old.markPrice if new.markPrice is None else new.markPrice,
        old.indexPrice if new.indexPrice is None else new.indexPrice,
        old.openInterest if new.openInterest is None else new.openInterest,
        old.openInterestValue if new.openInterestValue is None else new.openInterestValue,
    )


def ticker(instrument_id: int, data: TickerBody, at_ns: int, received_ns: int) -> Ticker:
    """The decimals of `TickerBody` begin with those of `Ticker`, in its order."""
    texts = structs.astuple(data)[_OF_TICKER]
    if "" in texts:
        texts = tuple([text or None for text in texts])
    last, bid, bid_amount, ask, ask_amount, opened, high, low, volume, turnover = texts
    best = bid, bid_amount, ask, ask_amount
    return Ticker(instrument_id, at_ns, last, *best, opened, high, low, volume, turnover, received_ns)


def funding(instrument_id: int, data: TickerBody, at_ns: int, received_ns: int) -> Funding | None:
    """None where the venue states no rate. It may be negative."""
    rate, due = data.fundingRate, data.nextFundingTime
    if not rate:
        return None
    if not digits.not_negative(rate.removeprefix("-")):
        raise Rejected(f"funding: {rate!r}")
    due_ns = time_ns(whole(due), received_ns + _FUNDED_WITHIN_NS) if due and due != "0" else None
    return Funding(instrument_id, at_ns, rate, due_ns, received_ns)


def open_interest(instrument_id: int, data: TickerBody, at_ns: int, received_ns: int) -> OpenInterest | None:
    """Of both sides, in base currency, as the venue's own history has it."""
    if not data.openInterest:
        return None
    return OpenInterest(instrument_id, at_ns, data.openInterest, data.openInterestValue or None, received_ns)


def mark_price(instrument_id: int, data: TickerBody, at_ns: int, received_ns: int) -> MarkPrice | None:
    """None before a market opens: it is zero then."""
    mark, index = data.markPrice, data.indexPrice
    if not mark or not float(mark):
        return None
    return MarkPrice(instrument_id, at_ns, mark, index if index and float(index) else None, received_ns)


def liquidation(instrument_id: int, row: LiquidationRow, received_ns: int) -> Liquidation:
    """By the page a `Buy` "means that a long position has been liquidated", so that is sold."""
    if not digits.positive(row.p, row.v):
        raise Rejected(f"liquidation: price {row.p!r}, amount {row.v!r}")
    at_ns = time_ns(row.T, received_ns)
    return Liquidation(instrument_id, at_ns, "sell" if row.S == "Buy" else "buy", row.p, row.v, received_ns)


# Answers


def ack(answer: Other) -> Ack | Ignored:
    """A request is accepted or refused as a whole. What bears no id is the connection's: 0; any text may be one."""
    if answer.success is None:
        raise Rejected("malformed frame: neither a topic nor an answer")
    if answer.req_id and not _OUR_ID.fullmatch(answer.req_id):
        return _NOT_OURS
    return Ack(int(answer.req_id or 0), None if answer.success else answer.ret_msg or "refused without a word")
