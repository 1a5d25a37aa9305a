"""OKX v5's wire: its shapes as typed structs, and the records that they become. Pure.

Names of fields are the wire's; only what is used is declared, so that the venue may add fields. Prices and amounts
stay text, and so do ids of trades; times, which the venue sends as text too, are read as integers (`strict=False` lets
msgspec do so). Pages are named in `okx`.
"""

import re
import zlib
from itertools import chain
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from ingest import digits
from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Funding,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Ticker,
    Trade,
)

_EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: before the first trade of any of this
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_FUNDING_LATE_NS = 31 * _LATE_NS  # the next payment is hours away
_INFINITY = float("inf")
_ID_DIGITS = 18  # so that it fits into a bigint

_CHANNEL = re.compile(rb'"channel":\s*"([^"]{1,32})"')
_INSTRUMENT = re.compile(rb'"instId":\s*"([^"]{1,64})"')
_NAMED_WITHIN = 160  # bytes of a frame within which its subscription is named

CHECKSUM_LEVELS = 25
_CHECKSUM_MIN, _CHECKSUM_MAX = -(2**31), 2**31 - 1

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=1)]


class Arg(Struct, gc=False):
    """Which subscription a frame belongs to."""

    instId: str  # noqa: N815 - the wire's name


class TradeRow(Struct, gc=False):
    """Of `trades-all` and of REST, one trade; of `trades` as many as `count` says, `tradeId` being the last of them."""

    instId: str  # noqa: N815
    tradeId: str  # noqa: N815
    px: str
    sz: str
    side: Side
    ts: int
    count: Count = 1


class CandleRow(Struct, array_like=True, gc=False):
    """Of `candle1m` and of REST. Of derivatives `vol` counts contracts; `confirm` is "1" when the minute is over."""

    ts: int
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    vol: str
    volCcy: str  # noqa: N815
    volCcyQuote: str  # noqa: N815
    confirm: Literal["0", "1"]


class Level(Struct, array_like=True, gc=False):
    """Price and amount; a deprecated zero and the number of orders follow."""

    px: str
    sz: str


class BookRow(Struct, gc=False):
    """Of `books`, of `bbo-tbt` (a level a side at most) and of REST.

    `prevSeqId` is that of `books` alone, -1 in a snapshot. Until 2023 there were no ids.
    """

    asks: list[Level]
    bids: list[Level]
    ts: int
    checksum: Annotated[int, Meta(ge=_CHECKSUM_MIN, le=_CHECKSUM_MAX)] = 0
    prevSeqId: Annotated[int, Meta(ge=-1, le=2**63 - 1)] | None = None  # noqa: N815
    seqId: Id | None = None  # noqa: N815


class TickerRow(Struct, gc=False):
    """Text is empty where there is nothing to say: no trade yet, or an empty side. `vol24h` as `vol` of a candle."""

    instId: str  # noqa: N815
    last: str
    askPx: str  # noqa: N815
    askSz: str  # noqa: N815
    bidPx: str  # noqa: N815
    bidSz: str  # noqa: N815
    open24h: str
    high24h: str
    low24h: str
    volCcy24h: str  # noqa: N815
    vol24h: str
    ts: int


class FundingRow(Struct, gc=False):
    instId: str  # noqa: N815
    fundingRate: str  # noqa: N815
    fundingTime: int  # noqa: N815
    ts: int


class OpenInterestRow(Struct, gc=False):
    """`oi` in contracts, `oiUsd` in US dollars."""

    instId: str  # noqa: N815
    oi: str
    ts: int
    oiUsd: str = ""  # noqa: N815


class MarkPriceRow(Struct, gc=False):
    instId: str  # noqa: N815
    markPx: str  # noqa: N815
    ts: int


class LiquidationDetail(Struct, gc=False):
    """`side` of the order, at the position's bankruptcy price, in contracts."""

    side: Side
    bkPx: str  # noqa: N815
    sz: str
    ts: int


class LiquidationRow(Struct, gc=False):
    instId: str  # noqa: N815
    details: list[LiquidationDetail]


Row = TypeVar("Row")


class Frame(Struct, Generic[Row], gc=False):
    """Rows that name their instruments themselves."""

    data: list[Row]


class FrameOf(Struct, Generic[Row], gc=False):
    """Rows of the instrument that was subscribed."""

    arg: Arg
    data: list[Row]


class BookFrame(Struct, gc=False):
    arg: Arg
    action: Literal["snapshot", "update"]
    data: list[BookRow]


class Argument(Struct, frozen=True, omit_defaults=True):
    channel: str
    instId: str = ""  # noqa: N815
    instType: str = ""  # noqa: N815


class Answer(Struct, gc=False):
    """To a request, one for each of its arguments, or a word of the venue itself."""

    event: str
    id: str = ""
    code: str = ""
    msg: str = ""
    arg: Argument | None = None


decode_trades = msgspec.json.Decoder(Frame[TradeRow], strict=False).decode
decode_candles = msgspec.json.Decoder(FrameOf[CandleRow], strict=False).decode
decode_books = msgspec.json.Decoder(BookFrame, strict=False).decode
decode_quotes = msgspec.json.Decoder(FrameOf[BookRow], strict=False).decode
decode_tickers = msgspec.json.Decoder(Frame[TickerRow], strict=False).decode
decode_funding = msgspec.json.Decoder(Frame[FundingRow], strict=False).decode
decode_open_interest = msgspec.json.Decoder(Frame[OpenInterestRow], strict=False).decode
decode_mark_price = msgspec.json.Decoder(Frame[MarkPriceRow], strict=False).decode
decode_liquidations = msgspec.json.Decoder(Frame[LiquidationRow], strict=False).decode
decode_answer = msgspec.json.Decoder(Answer, strict=False).decode


def named(frame: bytes) -> tuple[str, str]:
    """The channel and the instrument of a frame, as far as it tells them: also of one that cannot be decoded."""
    channel = _CHANNEL.search(frame, 0, _NAMED_WITHIN)
    topic = "" if channel is None else channel[1].decode(errors="replace")
    end = len(frame) if topic == "liquidation-orders" else _NAMED_WITHIN  # whose subscription names no instrument
    native = _INSTRUMENT.search(frame, 0, end)
    return topic, "" if native is None else native[1].decode(errors="replace")


def request_of(answer: Answer) -> int | None:
    """Our number of the request, 0 where none is named; None where the id is another's, which may be any text."""
    if not answer.id:
        return 0
    return int(answer.id) if answer.id.isascii() and answer.id.isdigit() and len(answer.id) <= _ID_DIGITS else None


def is_spot(native: str) -> bool:
    """BTC-USDT; a swap is BTC-USDT-SWAP, a future BTC-USDT-261225."""
    return native.count("-") == 1


def time_ns(ms: int, received_ns: int, late_ns: int = _LATE_NS) -> int:
    at_ns = ms * MILLISECOND
    if not _EARLIEST_NS <= at_ns <= received_ns + late_ns:
        raise Rejected(f"absurd time: {ms}")
    return at_ns


def trade(instrument_id: int, row: TradeRow, received_ns: int) -> Trade:
    trade_id, price, amount, at_ns = row.tradeId, row.px, row.sz, row.ts * 1_000_000
    # `digits.positive` and `time_ns` written out: this is the hottest code of the venue. Of two plain decimals that
    # are no bigger or smaller than a market's, the product is positive and finite when each is.
    plain = (price + amount + trade_id).encode().replace(b".", b"0").isdigit()
    if not (plain and 0.0 < float(price) * float(amount) < _INFINITY):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}, id {trade_id!r}")
    if not 0 < len(trade_id) <= _ID_DIGITS or "." in trade_id:
        raise Rejected(f"trade: id {trade_id!r}")
    if not _EARLIEST_NS <= at_ns <= received_ns + _LATE_NS:
        raise Rejected(f"absurd time: {row.ts}")
    return Trade(instrument_id, at_ns, trade_id, row.side, price, amount, received_ns)


def candle(instrument_id: int, row: CandleRow, source: CandleSource, received_ns: int, *, spot: bool) -> Candle:
    """Volumes in base and quote currency: of derivatives `vol` counts contracts, and `volCcy` is the base."""
    texts = (row.o, row.h, row.l, row.c, row.vol if spot else row.volCcy, row.volCcyQuote)
    try:
        o, h, l, c, v, q = map(float, texts)  # noqa: E741 - a candle's letters
        plain = digits.plain("".join(texts))
    except ValueError:
        plain = False
    if not plain:
        raise Rejected(f"candle: not decimal text: {texts}")
    # Rounding keeps order, so float never refuses a candle that can be; the table's CHECK is exact.
    if not (0.0 < l <= o <= h < _INFINITY and l <= c <= h):
        raise Rejected(f"candle: open, high, low, close {texts[:4]} cannot be")
    if not v + q < _INFINITY:
        raise Rejected(f"candle: volumes {texts[4:]}")
    open_ns = time_ns(row.ts, received_ns)
    if open_ns % MINUTE:
        raise Rejected(f"candle: {row.ts} is not the start of a minute")
    # It tells neither the number of trades nor what takers bought.
    return Candle(instrument_id, open_ns, *texts, None, None, None, source, received_ns)


def levels(side: list[Level]) -> list[tuple[str, str]]:
    return [(level.px, level.sz) for level in side]


def checksum(bids: Levels, asks: Levels) -> int:
    """CRC32 of the best 25 levels, bid and ask in turn, as `price:amount` with the venue's digits; 32 bits, signed."""
    both = min(len(bids), len(asks))
    turns = chain.from_iterable(zip(bids[:both], asks[:both], strict=True))
    text = ":".join(f"{price}:{amount}" for price, amount in (*turns, *bids[both:], *asks[both:]))
    found = zlib.crc32(text.encode())
    return found - 2**32 if found > _CHECKSUM_MAX else found


def book(
    instrument_id: int, row: BookRow, sequence: int, previous: int | None, received_ns: int, *, whole: bool
) -> BookState | BookDelta:
    """What `books` says. A checksum of 0 is none."""
    at_ns, bids, asks, found = time_ns(row.ts, received_ns), levels(row.bids), levels(row.asks), row.checksum or None
    if whole:
        state = (instrument_id, sequence, bids, asks, None, received_ns)
        return BookState(*state, streamed=True, event_ns=at_ns, checksum=found)
    return BookDelta(instrument_id, sequence, sequence, previous, bids, asks, at_ns, received_ns, found)


def quote(instrument_id: int, row: BookRow, sequence: int, received_ns: int) -> Quote:
    bid, ask = row.bids[0], row.asks[0]
    texts = bid.px, bid.sz, ask.px, ask.sz
    try:  # `digits` in one go, as best prices change more often than there are trades
        b, bid_amount, a, ask_amount = map(float, texts)
        can_be = 0.0 < b * a and b + a + bid_amount + ask_amount < _INFINITY and digits.plain("".join(texts))
    except ValueError:
        can_be = False
    if not can_be:
        raise Rejected(f"bbo-tbt: bid {bid.px!r} {bid.sz!r}, ask {ask.px!r} {ask.sz!r}")
    return Quote(instrument_id, time_ns(row.ts, received_ns), sequence, *texts, received_ns)


def ticker(instrument_id: int, row: TickerRow, received_ns: int) -> Ticker:
    volumes = (row.vol24h, row.volCcy24h) if is_spot(row.instId) else (row.volCcy24h, "")  # as a candle's
    prices = (row.last, row.bidPx, row.bidSz, row.askPx, row.askSz, row.open24h, row.high24h, row.low24h)
    texts = (*prices, *volumes)
    if not digits.not_negative(*filter(None, texts), "0"):
        raise Rejected(f"tickers: {texts}")
    last, bid, bid_amount, ask, ask_amount, opened, high, low, volume, quote_volume = (text or None for text in texts)
    figures = (last, bid, bid_amount, ask, ask_amount, opened, high, low, volume, quote_volume)
    return Ticker(instrument_id, time_ns(row.ts, received_ns), *figures, received_ns)


def funding(instrument_id: int, row: FundingRow, received_ns: int) -> Funding:
    """The rate is below zero when the short side pays."""
    if not digits.not_negative(row.fundingRate.removeprefix("-")):
        raise Rejected(f"funding-rate: {row.fundingRate!r}")
    paid_ns = time_ns(row.fundingTime, received_ns, _FUNDING_LATE_NS)
    return Funding(instrument_id, time_ns(row.ts, received_ns), row.fundingRate, paid_ns, received_ns)


def open_interest(instrument_id: int, row: OpenInterestRow, received_ns: int) -> OpenInterest:
    """The value is told in dollars, which is the quote currency of some instruments alone."""
    value = (row.oiUsd or None) if row.instId.split("-")[1:2] == ["USD"] else None
    if not digits.not_negative(row.oi, value or "0"):
        raise Rejected(f"open-interest: {row.oi!r}, {value!r}")
    return OpenInterest(instrument_id, time_ns(row.ts, received_ns), row.oi, value, received_ns)


def mark_price(instrument_id: int, row: MarkPriceRow, received_ns: int) -> MarkPrice:
    """The index behind it is of another channel, and of another instrument."""
    if not digits.positive(row.markPx):
        raise Rejected(f"mark-price: {row.markPx!r}")
    return MarkPrice(instrument_id, time_ns(row.ts, received_ns), row.markPx, None, received_ns)


def liquidation(instrument_id: int, detail: LiquidationDetail, received_ns: int) -> Liquidation:
    if not digits.positive(detail.bkPx, detail.sz):
        raise Rejected(f"liquidation-orders: price {detail.bkPx!r}, amount {detail.sz!r}")
    at_ns = time_ns(detail.ts, received_ns)
    return Liquidation(instrument_id, at_ns, detail.side, detail.bkPx, detail.sz, received_ns)
