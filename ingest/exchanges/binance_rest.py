"""Binance's REST replies, spot's and futures': what they hold, and what they were asked for. Pure.

Each row of a list is read by itself. Pages are named in `binance` and `binanceusdm`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta, Struct

from ingest.clock import MINUTE
from ingest.errors import Rejected
from ingest.exchanges.adapter import Bad, Ignored
from ingest.exchanges.binance_wire import (
    BIGINT_MAX,
    OTHER_INTERVAL,
    AggTradeReply,
    KlineReply,
    TradeReply,
    candle,
    time_ns,
)
from ingest.exchanges.pieces import Made, Shape, each
from ingest.records import BookState, Candle, CandleSource


class DepthReply(Struct, gc=False):
    """`GET /api/v3/depth`; futures add T, the time of the last change."""

    lastUpdateId: int  # noqa: N815 - the wire's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    T: int | None = None


class LatestReply(Struct, gc=False):
    """`GET /api/v3/ticker/24hr` names the last trade, -1 where there is none; `GET /api/v3/aggTrades` is a list."""

    lastId: Annotated[int, Meta(ge=-1, le=BIGINT_MAX)]  # noqa: N815 - the wire's name


class Asked(Struct, frozen=True):
    """What a recorded reply answers."""

    path: str
    symbol: str
    instrument_id: int
    limit: int


_decode_depth = msgspec.json.Decoder(DepthReply).decode
_decode_kline = msgspec.json.Decoder(KlineReply).decode
decode_trade = msgspec.json.Decoder(TradeReply).decode
decode_agg_trade = msgspec.json.Decoder(AggTradeReply).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def rows(
    body: bytes, decode: Callable[[msgspec.Raw], Shape], make: Callable[[Shape], Made]
) -> tuple[list[Made], list[Bad]]:
    """The rows of a REST reply, each by itself, so that an odd one costs only itself. Raises Rejected for no list."""
    try:
        raw_rows = _decode_rows(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    return each(raw_rows, decode, make)


def book_state(body: bytes, instrument_id: int, levels: int, received_ns: int) -> BookState:
    try:
        reply = _decode_depth(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"malformed reply: {error}") from error
    event_ns = None if reply.T is None else time_ns(reply.T, received_ns)
    bids, asks = reply.bids, reply.asks
    return BookState(instrument_id, reply.lastUpdateId, bids, asks, levels, received_ns, event_ns=event_ns)


def closed_candles(
    body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
) -> tuple[list[Candle], list[Bad]]:
    """Of a reply to `klines`, without the one that is still open."""
    candles, bad = rows(body, _decode_kline, lambda kline: candle(instrument_id, kline, source, received_ns))
    return [candle for candle in candles if candle.time_ns + MINUTE <= as_of_ns], bad


def asked(url: str, paths: Collection[str], instrument_ids: Mapping[str, int], limit: int) -> Asked | Ignored:
    """Of the URL of a recorded reply; `limit` is the venue's where none was asked for.

    Raises Rejected for another symbol; what is not of `paths`, or of other candles, is ignored.
    """
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query))
        limit = int(parameters.get("limit", limit))
    except ValueError as error:
        raise Rejected(f"malformed URL: {error}") from error
    path = parts.path.rpartition("/")[2]
    if path not in paths:
        return Ignored(f"REST {path}: not collected")
    if path == "klines" and parameters.get("interval") != "1m":
        return OTHER_INTERVAL
    symbol = parameters.get("symbol")
    if symbol is None or symbol not in instrument_ids:
        raise Rejected(f"unknown symbol: {symbol!r}")
    return Asked(path, symbol, instrument_ids[symbol], limit)


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
