"""How much a configuration will store: rows and bytes a day, and bytes kept, before anything has run.

An estimate of size, not a promise. It rests on these assumptions:

- Rows a day of one instrument. Candles: 1,440. Book: 86,400 over the cadence, where unchanged ones are left out at
  most. Ticker: 86,400 at most, each in the place of the one before. Trades and quotes depend on the pair and the day,
  and are told apart only as *major* (BTC, ETH, SOL, XRP, BNB, DOGE against USDT, USDC, FDUSD, USD) and *ordinary*:
  typically 1,000,000 and 30,000 trades, 3,000,000 and 100,000 quotes. Binance's own 24-hour figures of BTC/USDT were
  0.7 to 1.6 million trades on four days of 2021 to 2024; half a minute of three small pairs in 2021 had quotes at a
  rate of 3,000 to 210,000 a day. A busy day has several times as many. Aggregate trades (`trade_stream = "aggTrade"`)
  are fewer, and are not told apart.
- Derivatives: a mark price each second and open interest each three seconds, the cadence of the venues that stream
  them (86,400 and 28,800 a day, at most), a funding rate that changes with each minute's premium (1,440), and 2,000
  liquidations of a major pair, 100 of an ordinary one; a crash has many times as many. Nobody measured these yet.
- Bytes a row, with its share of the indexes, uncompressed: `hypertable_size` over rows after COPY of 200,000 rows of
  20 instruments in the order of their times, 10,000 a batch (of books deeper than 20 levels, 3,000 to 100,000 rows),
  on PostgreSQL 17.12 with TimescaleDB 2.19.3. `tests/db/test_estimate.py` repeats it with fewer rows. Books of more
  than 30 levels are compressed by PostgreSQL itself (TOAST), so their size depends on their digits.
- Not counted: what updates leave behind until vacuum, rollups, rejected inputs, gaps, WAL.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from ingest.config.fields import FOREVER
from ingest.config.model import Config, Retention
from ingest.records import CHANNELS, Channel

_DAY_SECONDS = 86_400
_MAJOR_BASES = frozenset({"BTC", "ETH", "SOL", "XRP", "BNB", "DOGE"})
_MAJOR_QUOTES = frozenset({"USDT", "USDC", "FDUSD", "USD"})

MAJOR_TRADES, ORDINARY_TRADES = 1_000_000, 30_000
MAJOR_QUOTES, ORDINARY_QUOTES = 3_000_000, 100_000
MAJOR_LIQUIDATIONS, ORDINARY_LIQUIDATIONS = 2_000, 100
"""Rows a day of one instrument."""

TABLES: dict[Channel, str] = {
    "trades": "trades",
    "candles": "candles_1m",
    "book": "order_books",
    "quotes": "quotes",
    "ticker": "tickers",
    "funding": "funding_rates",
    "open_interest": "open_interest",
    "mark_price": "mark_prices",
    "liquidations": "liquidations",
}
_ROW_BYTES: dict[Channel, int] = {
    "trades": 174,
    "candles": 167,
    "quotes": 166,
    "ticker": 250,
    "funding": 103,
    "open_interest": 101,
    "mark_price": 103,
    "liquidations": 171,
}
_BOOK_BYTES = (
    *((1, 239), (5, 453), (10, 726), (20, 1_213), (30, 1_681), (40, 2_098), (50, 2_097)),
    *((100, 2_292), (200, 4_113), (500, 10_458), (1_000, 18_571)),
)
"""Levels a side, and bytes of a row that holds as many."""

Kept = int | Literal["forever"] | None
"""Days; None: only the latest row of each instrument."""


class ChannelEstimate(Struct, frozen=True):
    """One channel of all venues. `kept_bytes` is None where nothing is ever deleted."""

    channel: Channel
    table: str
    streams: int
    rows_per_day: int
    bytes_per_day: int
    kept_days: Kept
    kept_bytes: int | None


class Estimate(Struct, frozen=True):
    """All channels, and their sums; `kept_bytes` leaves out what is kept for ever."""

    channels: tuple[ChannelEstimate, ...]
    rows_per_day: int
    bytes_per_day: int
    kept_bytes: int


def estimate(config: Config, streams: Iterable[tuple[Channel, str]]) -> Estimate:
    """What these streams (channel and unified symbol, each once) take, as configured."""
    rows: Counter[Channel] = Counter()
    counts: Counter[Channel] = Counter()
    for channel, symbol in streams:
        counts[channel] += 1
        rows[channel] += rows_per_day(channel, symbol, cadence_seconds=config.book.cadence_seconds)
    channels = tuple(_channel(config, name, counts[name], rows[name]) for name in CHANNELS if counts[name])
    return Estimate(
        channels,
        rows_per_day=sum(channel.rows_per_day for channel in channels),
        bytes_per_day=sum(channel.bytes_per_day for channel in channels),
        kept_bytes=sum(channel.kept_bytes or 0 for channel in channels),
    )


def rows_per_day(channel: Channel, symbol: str, *, cadence_seconds: float) -> int:
    """Of one stream, typically."""
    match channel:
        case "trades":
            return MAJOR_TRADES if is_major(symbol) else ORDINARY_TRADES
        case "quotes":
            return MAJOR_QUOTES if is_major(symbol) else ORDINARY_QUOTES
        case "candles":
            return 1_440
        case "book":
            return round(_DAY_SECONDS / cadence_seconds)
        case "ticker" | "mark_price":
            return _DAY_SECONDS
        case "open_interest":
            return _DAY_SECONDS // 3
        case "funding":
            return 1_440
        case "liquidations":
            return MAJOR_LIQUIDATIONS if is_major(symbol) else ORDINARY_LIQUIDATIONS


def row_bytes(channel: Channel, *, depth: int) -> int:
    """Of one row with its share of the indexes; for books between two measured depths, between their sizes."""
    if channel != "book":
        return _ROW_BYTES[channel]
    for (below, least), (above, most) in pairwise(_BOOK_BYTES):
        if depth <= above:
            return round(least + (most - least) * (depth - below) / (above - below))
    return _BOOK_BYTES[-1][1]


def is_major(symbol: str) -> bool:
    """Whether a unified symbol (`BTC/USDT`, `BTC/USDT:USDT`) is one of the few that trade most."""
    base, _, rest = symbol.partition("/")
    return base in _MAJOR_BASES and rest.partition(":")[0] in _MAJOR_QUOTES


def _channel(config: Config, channel: Channel, streams: int, rows: int) -> ChannelEstimate:
    size, kept = row_bytes(channel, depth=config.book.depth), _kept(config.retention, channel)
    if kept is None:  # rows replace one another
        return ChannelEstimate(channel, TABLES[channel], streams, rows, 0, kept, streams * size)
    kept_bytes = None if kept == FOREVER else rows * size * kept
    return ChannelEstimate(channel, TABLES[channel], streams, rows, rows * size, kept, kept_bytes)


def _kept(retention: Retention, channel: Channel) -> Kept:
    kept: Kept = None if channel == "ticker" else getattr(retention, TABLES[channel])
    return kept
