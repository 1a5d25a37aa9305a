"""What a public file's name tells: format, the instrument's native name, and the times that it is about. Pure.

`BTCUSDT-trades-2024-01-01.zip`, `BTCUSDT-aggTrades-2024-01.zip`, `BTCUSDT-1m-2024-01.zip` (Binance);
`BTCUSDT2024-01-01.csv.gz` (Bybit linear), `BTCUSDT_2024-01-01.csv.gz` and `BTCUSDT-2024-01.csv.gz` (Bybit spot);
`binance_trades_2024-01-01_BTCUSDT.csv.gz` as Tardis' client saves it.
"""

import re
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

_DATE = r"(?P<date>\d{4}-\d{2}(?:-\d{2})?)"
_END = r"\.(?:zip|csv|csv\.gz|csv\.zip)"
_PATTERNS = (
    ("binance-trades", rf"(?P<native>[A-Z0-9_]+)-trades-{_DATE}{_END}"),
    ("binance-aggTrades", rf"(?P<native>[A-Z0-9_]+)-aggTrades-{_DATE}{_END}"),
    ("binance-klines", rf"(?P<native>[A-Z0-9_]+)-(?P<interval>\d+(?:s|m|h|d|w|mo|M))-{_DATE}{_END}"),
    ("tardis-trades", rf"[a-z0-9-]+_trades_{_DATE}_(?P<native>.+){_END}"),
    ("tardis-book_snapshot", rf"[a-z0-9-]+_book_snapshot_\d+_{_DATE}_(?P<native>.+){_END}"),
    ("bybit-trades", rf"(?P<native>[A-Z0-9]+?)[_-]?{_DATE}{_END}"),
)
_COMPILED = [(name, re.compile(pattern)) for name, pattern in _PATTERNS]


class Period(Struct, frozen=True):
    """A day or a month in UTC, half-open."""

    starts: datetime
    ends: datetime


class Named(Struct, frozen=True):
    """What a name tells; None where it does not. `interval` is that of candles."""

    format: str | None = None
    native: str | None = None
    period: Period | None = None
    interval: str | None = None


def read(name: str) -> Named:
    for format_name, pattern in _COMPILED:
        found = pattern.fullmatch(name)
        if found is not None:
            parts = found.groupdict()
            return Named(format_name, parts["native"], _period(parts["date"]), parts.get("interval"))
    return Named()


def _period(text: str) -> Period | None:
    """None for a date that is none: 2024-02-30."""
    try:
        if len(text) == len("2024-01"):
            first = date.fromisoformat(f"{text}-01")
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            first = date.fromisoformat(text)
            after = first + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return Period(_midnight(first), _midnight(after))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
