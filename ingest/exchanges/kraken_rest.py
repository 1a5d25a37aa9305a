"""Kraken's REST replies: what they hold. Pure.

Each row of a list is read by itself. Pages are named in `kraken`.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ingest import digits
from ingest.clock import MICROSECOND, MILLISECOND, SECOND
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Bad
from ingest.exchanges.kraken_wire import EARLIEST_NS, LATE_NS, Id, Number, candle_of, decimal_text, decimals
from ingest.exchanges.pieces import Made, Shape, each
from ingest.records import BookState, Candle, CandleSource, Side, Trade

_BUSY = (
    "EAPI:Rate limit",
    "EGeneral:Too many requests",
    "EGeneral:Temporary lockout",
    "EGeneral:Internal",
    "EService:",
)


class Reply(Struct, gc=False):
    """Of REST: `result` holds the rows under the pair's name, and `last` beside them."""

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


class TradeRow(Struct, array_like=True, gc=False):
    """One of `GET /0/public/Trades`; `time` is in seconds."""

    price: str
    qty: str
    time: Number
    side: Literal["b", "s"]
    order_type: str
    misc: str
    trade_id: Id


class OhlcRow(Struct, array_like=True, gc=False):
    """One of `GET /0/public/OHLC`; `time` is in seconds."""

    time: int
    open: str
    high: str
    low: str
    close: str
    vwap: str
    volume: str
    trades: Annotated[int, Meta(ge=0)]


class DepthReply(Struct, gc=False):
    """`GET /0/public/Depth`: price, amount and the time of each level."""

    asks: list[tuple[str, str, int]]
    bids: list[tuple[str, str, int]]


decode_trade_row = msgspec.json.Decoder(TradeRow, float_hook=str).decode
decode_ohlc_row = msgspec.json.Decoder(OhlcRow).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_depth = msgspec.json.Decoder(DepthReply).decode


def seconds_ns(value: Number, received_ns: int) -> int:
    """Of `1688669597.8277369`, cut to microseconds."""
    whole, _, fraction = decimal_text(value).partition(".")
    found_ns = int(whole) * SECOND + int(fraction[:6].ljust(6, "0")) * MICROSECOND
    if not EARLIEST_NS <= found_ns <= received_ns + LATE_NS:
        raise Rejected(f"absurd time: {str(value)[:40]!r}")
    return found_ns


def trade_of_row(instrument_id: int, row: TradeRow, received_ns: int) -> Trade:
    if not digits.positive(row.price, row.qty):
        raise Rejected(f"trade: price {row.price!r}, amount {row.qty!r}")
    at_ns = seconds_ns(row.time, received_ns)
    side: Side = "buy" if row.side == "b" else "sell"
    return Trade(instrument_id, at_ns - at_ns % MILLISECOND, str(row.trade_id), side, row.price, row.qty, received_ns)


def candle_of_row(instrument_id: int, row: OhlcRow, source: CandleSource, received_ns: int) -> Candle:
    numbers = decimals(row.open, row.high, row.low, row.close, row.volume)
    return candle_of(instrument_id, seconds_ns(row.time, received_ns), numbers, row.trades, source, received_ns)


def book_state(body: bytes, instrument_id: int, count: int, received_ns: int) -> BookState:
    """REST numbers no book: its sequence is 0, which is before all that a stream brings."""
    try:
        reply = _decode_depth(_result(body))
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    bids, asks = ([(price, amount) for price, amount, _ in side] for side in (reply.bids, reply.asks))
    return BookState(instrument_id, 0, bids, asks, count, received_ns)


def rows(
    body: bytes, decode: Callable[[msgspec.Raw], Shape], make: Callable[[Shape], Made]
) -> tuple[list[Made], list[Bad]]:
    """The rows of a reply, each by itself. Raises Retryable where the venue asks for patience, else Rejected."""
    try:
        raw_rows = _decode_rows(_result(body))
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return each(raw_rows, decode, make)


def _result(body: bytes) -> msgspec.Raw:
    """What was asked for. Errors come with status 200."""
    reply = _decode_reply(body)
    for error in reply.error:
        if error.startswith(_BUSY):
            raise Retryable(f"kraken: {error}", retry_after_seconds=10.0)
    if reply.error:
        raise Rejected(f"refused by the venue: {', '.join(reply.error)}")
    found = [value for name, value in reply.result.items() if name != "last"]
    if len(found) != 1:
        raise Rejected(f"malformed reply: of {len(found)} pairs")
    return found[0]
