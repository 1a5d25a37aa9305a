"""One line of a file as a record, field by field: slow, exact, and with a reason for what cannot be. Pure.

What `fast` does by columns means the same: a line that it takes, this takes, and both make the same COPY text of it.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from ingest import digits
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.importing.layout import Layout, Unit
from ingest.records import Candle, CandleSource, OrderBook, Row, Side, Trade

EARLIEST_NS = 1_230_768_000 * SECOND
"""2009: before the first trade of any of this."""
LATE_NS = 86_400 * SECOND
"""A clock may be wrong by hours, not by more."""
MICROSECONDS_FROM = EARLIEST_NS // MICROSECOND  # as milliseconds it would be the year 40971

_SCALE: Mapping[Unit, int] = {"ms": MILLISECOND, "us": MICROSECOND, "ns": 1}
DIGITS_MAX = 18
"""So many are a bigint, whatever they are."""
_WHOLE = re.compile(r"[0-9]{1,19}")
_SECONDS = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,18}))?")
_SCIENTIFIC = re.compile(r"[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]{1,2}")
_ID = re.compile(r"[^\s\\]{1,100}", re.ASCII)

Fields = Mapping[str, str | None]
"""A line's texts by the file's columns; None where it says nothing."""


def row(layout: Layout, fields: Fields, instrument_id: int, native: str, received_ns: int) -> Row:
    """The record that a line is. Raises Rejected with the reason where it is none."""
    if layout.symbol is not None and fields.get(layout.symbol) != native:
        raise Rejected(f"symbol {fields.get(layout.symbol)!r} is not {native!r}")
    time_ns = time(_text(layout, fields, "time"), layout.unit, received_ns)
    if layout.channel == "candles":
        return _candle(layout, fields, instrument_id, time_ns, received_ns)
    if layout.channel == "book":
        return _book(layout, fields, instrument_id, time_ns, received_ns)
    trade_id = _text(layout, fields, "id")
    if not _ID.fullmatch(trade_id):
        raise Rejected(f"trade id {trade_id!r}")
    price, amount = (_positive(name, _text(layout, fields, name)) for name in ("price", "amount"))
    time_ns -= time_ns % layout.grain_ns
    return Trade(instrument_id, time_ns, trade_id, _side(layout, fields), price, amount, received_ns)


def time(text: str, unit: Unit, received_ns: int) -> int:
    """Nanoseconds, cut to microseconds. Raises Rejected for what is no time, or an absurd one."""
    try:
        found = _nanoseconds(text, unit)
    except (ValueError, OverflowError):
        raise Rejected(f"time {text!r} is not in {unit}") from None
    if not EARLIEST_NS <= found <= received_ns + LATE_NS:
        raise Rejected(f"absurd time: {text!r}")
    return found - found % MICROSECOND


def _nanoseconds(text: str, unit: Unit) -> int:
    if unit == "s":
        found = _SECONDS.fullmatch(text)
        if found is None:
            raise ValueError
        return int(found[1]) * SECOND + int((found[2] or "").ljust(9, "0")[:9])
    if unit == "iso":
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset()
        whole = moment.replace(tzinfo=None) - datetime(1970, 1, 1)  # noqa: DTZ001 - the offset is taken away below
        since = whole if offset is None else whole - offset
        return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * MICROSECOND
    if not _WHOLE.fullmatch(text):
        raise ValueError
    number = int(text)
    if unit == "ms or us":
        return number * (MICROSECOND if number >= MICROSECONDS_FROM else MILLISECOND)
    return number * _SCALE[unit]


def _candle(layout: Layout, fields: Fields, instrument_id: int, time_ns: int, received_ns: int) -> Candle:
    if time_ns % MINUTE:
        raise Rejected("candle: its time is not the start of a minute")
    opened, high, low, closed = (
        _positive(name, _text(layout, fields, name)) for name in ("open", "high", "low", "close")
    )
    if not all(Decimal(low) <= Decimal(price) <= Decimal(high) for price in (opened, closed)):
        raise Rejected(f"candle: open {opened}, high {high}, low {low}, close {closed} cannot be")
    count = _optional(layout, fields, "trades")
    if count is not None and not (_WHOLE.fullmatch(count) and int(count) < 2**63):
        raise Rejected(f"trades {count!r} is no count")
    return Candle(
        instrument_id,
        time_ns,
        opened,
        high,
        low,
        closed,
        _not_negative("volume", _text(layout, fields, "volume")),
        _volume(layout, fields, "quote_volume"),
        None if count is None else int(count),
        _volume(layout, fields, "taker_buy_volume"),
        _volume(layout, fields, "taker_buy_quote_volume"),
        CandleSource.DUMP,
        received_ns,
    )


def _book(layout: Layout, fields: Fields, instrument_id: int, time_ns: int, received_ns: int) -> OrderBook:
    """Levels that are empty, or of no amount, end a side: the book was not deeper."""
    sides: dict[str, list[tuple[str, str]]] = {"bids": [], "asks": []}
    for price_column, amount_column in layout.level_columns:
        price, amount = fields.get(price_column), fields.get(amount_column)
        if not price and not amount:
            continue
        level = _positive(price_column, price or ""), _not_negative(amount_column, amount or "")
        if Decimal(level[1]):
            sides[price_column[:4]].append(level)
    bids, asks = tuple(sides["bids"]), tuple(sides["asks"])
    return OrderBook(instrument_id, time_ns, time_ns, None, bids, asks, True, received_ns)


def _text(layout: Layout, fields: Fields, field: str) -> str:
    column = layout.columns[field]
    value = fields.get(column)
    if value is None:
        raise Rejected(f"it has no {column}")
    return value


def _optional(layout: Layout, fields: Fields, field: str) -> str | None:
    """None where the layout has no such column, or the line says nothing there."""
    column = layout.columns.get(field)
    return (fields.get(column) or None) if column is not None else None


def _side(layout: Layout, fields: Fields) -> Side | None:
    if "side" not in layout.columns:
        return None
    word = _text(layout, fields, "side")
    if word not in layout.sides:
        raise Rejected(f"side {word!r}")
    return layout.sides[word]


def _positive(name: str, text: str) -> str:
    number = _plain(text)
    if not digits.positive(number):
        raise Rejected(f"{name} {text!r} is not a number above zero")
    return number


def _not_negative(name: str, text: str) -> str:
    number = _plain(text)
    if not digits.not_negative(number):
        raise Rejected(f"{name} {text!r} is not a number")
    return number


def _volume(layout: Layout, fields: Fields, field: str) -> str | None:
    text = _optional(layout, fields, field)
    return None if text is None else _not_negative(field, text)


def _plain(text: str) -> str:
    """`5.5e-05`, as some dumps write small numbers, is the same number without its exponent."""
    return format(Decimal(text), "f") if _SCIENTIFIC.fullmatch(text) else text
