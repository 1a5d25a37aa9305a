"""The frames of a ccxt exchange: what our session and our REST calls write of ccxt's unified results, as JSON.

They are what is recorded, replayed and kept when rejected, like the frames of a native venue. Numbers are the
exchange's digits as texts; times are milliseconds, which is what ccxt gives of every exchange.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct

from ingest.exchanges.ccxt_digits import optional_text, text_of
from ingest.records import Channel

TradeRow = tuple[str | None, int, str | None, str, str]
"""(id, time, the taker's side, price, amount)"""
CandleRow = tuple[int, str, str, str, str, str]
"""(time, open, high, low, close, volume)"""
LiquidationRow = tuple[int, str, str, str]
"""(time, side, price, amount)"""
Levels = list[tuple[str, str]]


class Frame(Struct, tag_field="channel", frozen=True):
    symbol: str


class Trades(Frame, tag="trades", frozen=True):
    rows: list[TradeRow]


class Candles(Frame, tag="candles", frozen=True):
    """Those that changed, oldest first; the last one may still be open.

    `as_of` is set of a REST reply that is told row by row: the venue's time then, in ms. What ended before is closed.
    """

    rows: list[CandleRow]
    as_of: int | None = None


class Book(Frame, tag="book", frozen=True):
    """The best levels; `broken` says that ccxt has found it wrong and makes it anew."""

    time: int | None = None
    nonce: int | None = None
    bids: Levels = []
    asks: Levels = []
    broken: str | None = None


class Quote(Frame, tag="quotes", frozen=True):
    time: int | None
    bid: str | None
    bid_amount: str | None
    ask: str | None
    ask_amount: str | None


class Ticker(Frame, tag="ticker", frozen=True):
    time: int | None
    last: str | None
    bid: str | None
    bid_amount: str | None
    ask: str | None
    ask_amount: str | None
    open: str | None
    high: str | None
    low: str | None
    volume: str | None
    quote_volume: str | None


class Funding(Frame, tag="funding", frozen=True):
    time: int | None
    rate: str
    due: int | None


class MarkPrice(Frame, tag="mark_price", frozen=True):
    time: int | None
    mark: str
    index: str | None


class OpenInterest(Frame, tag="open_interest", frozen=True):
    time: int | None
    amount: str
    value: str | None


class Liquidations(Frame, tag="liquidations", frozen=True):
    rows: list[LiquidationRow]


AnyFrame = Trades | Candles | Book | Quote | Ticker | Funding | MarkPrice | OpenInterest | Liquidations

decode: Callable[[bytes], AnyFrame] = msgspec.json.Decoder(AnyFrame).decode
encode: Callable[[Frame], bytes] = msgspec.json.Encoder().encode


# From ccxt's unified structures. Each raises ValueError, KeyError or TypeError for one that lacks what a record needs.


def trades(symbol: str, rows: Iterable[Mapping[str, Any]], _depth: int = 0) -> Frame:
    return Trades(symbol, [_trade(row) for row in rows])


def candles(symbol: str, rows: Iterable[Sequence[Any]], _depth: int = 0) -> Frame:
    return Candles(symbol, [_candle(row) for row in rows])


def book(symbol: str, found: Mapping[str, Any], depth: int) -> Frame:
    nonce = found.get("nonce")
    bids, asks = (_levels(found[side], depth) for side in ("bids", "asks"))
    return Book(symbol, _optional_time(found), int(nonce) if nonce is not None else None, bids, asks)


def quote(symbol: str, found: Mapping[str, Any], _depth: int = 0) -> Frame:
    sides = (found.get(name) for name in ("bid", "bidVolume", "ask", "askVolume"))
    return Quote(symbol, _optional_time(found), *map(optional_text, sides))


def ticker(symbol: str, found: Mapping[str, Any], _depth: int = 0) -> Frame:
    """What ccxt has calculated (an open from a change in percent) is left out: it is not the exchange's."""
    said = _leaves(found.get("info"))
    names = ("last", "bid", "bidVolume", "ask", "askVolume", "open", "high", "low", "baseVolume", "quoteVolume")
    texts = [optional_text(found.get(name)) for name in names]
    shown = [None if text is None else _as_said(text, said) for text in texts]
    return Ticker(symbol, _optional_time(found), *shown)


def funding(symbol: str, found: Mapping[str, Any], _depth: int = 0) -> Frame:
    due = found.get("fundingTimestamp") or found.get("nextFundingTimestamp")
    return Funding(symbol, _optional_time(found), text_of(found["fundingRate"]), due)


def mark_price(symbol: str, found: Mapping[str, Any], _depth: int = 0) -> Frame:
    return MarkPrice(symbol, _optional_time(found), text_of(found["markPrice"]), optional_text(found.get("indexPrice")))


def open_interest(symbol: str, found: Mapping[str, Any], _depth: int = 0) -> Frame:
    amount, value = found.get("openInterestAmount"), optional_text(found.get("openInterestValue"))
    return OpenInterest(symbol, _optional_time(found), text_of(amount), value)


def liquidations(symbol: str, rows: Iterable[Mapping[str, Any]], _depth: int = 0) -> Frame:
    return Liquidations(symbol, [_liquidation(row) for row in rows])


Make = Callable[[str, Any, int], Frame]
MAKERS: Mapping[Channel, Make] = {
    "trades": trades,
    "candles": candles,
    "book": book,
    "quotes": quote,
    "ticker": ticker,
    "funding": funding,
    "mark_price": mark_price,
    "open_interest": open_interest,
    "liquidations": liquidations,
}


def made(channel: Channel, symbol: str, found: Any, depth: int) -> bytes:
    """The frame of a channel. Raises ValueError, KeyError or TypeError for what is not such a structure."""
    return encode(MAKERS[channel](symbol, found, depth))


def _trade(row: Mapping[str, Any]) -> TradeRow:
    identity = row.get("id")
    named = None if identity is None or identity == "" else str(identity)
    price, amount, said = text_of(row["price"]), text_of(row["amount"]), _leaves(row.get("info"))
    told = (_as_said(price, said) or price, _as_said(amount, said) or amount)
    return named, int(row["timestamp"]), row.get("side"), *told


def _candle(row: Sequence[Any]) -> CandleRow:
    opened, highest, lowest, closed, volume = map(text_of, row[1:6])
    return int(row[0]), opened, highest, lowest, closed, volume


def _liquidation(row: Mapping[str, Any]) -> LiquidationRow:
    amount = row.get("contracts") if row.get("contracts") is not None else row.get("amount")
    return int(row["timestamp"]), str(row["side"]), text_of(row["price"]), text_of(amount)


def _levels(levels: Sequence[Sequence[Any]], depth: int) -> Levels:
    return [(text_of(level[0]), text_of(level[1])) for level in levels[:depth]]


def _optional_time(found: Mapping[str, Any]) -> int | None:
    time = found.get("timestamp")
    return None if time is None else int(time)


def _as_said(text: str, said: set[str]) -> str | None:
    """The number as the exchange wrote it: ccxt cuts zeros off some, and the sign. None where it is not its own."""
    if text in said:
        return text
    value = Decimal(text)
    for leaf in said:
        try:
            if abs(Decimal(leaf)) == value:
                return text_of(leaf.removeprefix("-"))
        except (InvalidOperation, ValueError):
            continue
    return None


def _leaves(info: Any) -> set[str]:
    """Every value that the exchange's own message holds, as text."""
    if isinstance(info, dict):
        info = list(info.values())
    if isinstance(info, list):
        return set().union(*map(_leaves, info)) if info else set()
    return set() if info is None else {str(info)}
