r"""Records as the text that COPY reads: the hot path's last step in Python, and pure.

Text and not binary: NUMERIC's binary form would have to be computed from the digits, while its text form *is*
the digits. A row is one line, columns parted by tabs, NULL is `\N`
(https://www.postgresql.org/docs/current/sql-copy.html, "Text Format").
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from ingest.clock import SECOND
from ingest.records import (
    Candle,
    CandleSource,
    CoarseCandle,
    Funding,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Reject,
    Ticker,
    Trade,
)

_NULL = "\\N"
_FLAGS = {True: "t", False: "f", None: _NULL}
_SOURCES = {source: str(source.value) for source in CandleSource}
_SECONDS_KEPT = _CELLS_KEPT = 65_536
_MICROS = slice(-9, -3)  # of a time in nanoseconds, as text
_THOUSAND = [f"{number:03}" for number in range(1_000)]
_THOUSAND_UTC = [f"{number:03}+00" for number in range(1_000)]


class _Seconds(dict[int, str]):
    """The text of a second since the epoch, kept for the next time."""

    def __missing__(self, second: int) -> str:
        if second < 1:  # its nanoseconds would have fewer digits
            raise ValueError(f"{second} s is not after 1970")
        if len(self) >= _SECONDS_KEPT:
            self.clear()
        text = self[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S.")
        return text


class _Cells(dict[object, str]):
    """A value between its tabs, of those that are few and each on many rows: instruments' numbers, sides."""

    def __missing__(self, value: object) -> str:
        if len(self) >= _CELLS_KEPT:
            self.clear()
        text = self[value] = f"\t{_NULL if value is None else _escape(str(value))}\t"
        return text


_seconds, _cells = _Seconds(), _Cells()


def timestamp(time_ns: int) -> str:
    """`2026-11-21 09:00:00.123456+00`; below a microsecond is cut, never rounded.

    Raises ValueError or OverflowError outside of the years 1970 to 9999.
    """
    return f"{_seconds[time_ns // SECOND]}{str(time_ns)[_MICROS]}+00"


def _second(time_ns: int) -> tuple[int, str]:
    """The start of the second that it is in, and the text of `timestamp` up to there."""
    second = time_ns // SECOND
    return second * SECOND, _seconds[second]


def _stamps(times: Sequence[int]) -> list[str]:
    """`timestamp` of each, in half the time where neighbours mostly share a second."""
    if not times:
        return []
    thousand, last, stamps = _THOUSAND, _THOUSAND_UTC, list[str]()
    start, second = _second(times[0])
    for time_ns in times:
        at = time_ns - start
        if not 0 <= at < 1_000_000_000:
            start, second = _second(time_ns)
            at = time_ns - start
        at //= 1_000
        stamps.append(f"{second}{thousand[at // 1_000]}{last[at % 1_000]}")
    return stamps


def _escape(text: str) -> str:
    if text.isalnum():
        return text
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _or_null(value: object) -> object:
    return "\\N" if value is None else value


def encode_trades(trades: Sequence[Trade]) -> bytes:
    """The hottest loop of the program, so `timestamp` is written out: rows mostly share a second with the last one."""
    if not trades:
        return b""
    thousand, last, cells, lines = _THOUSAND, _THOUSAND_UTC, _cells, []
    start, second = _second(trades[0].time_ns)
    received_start, received_second = _second(trades[0].received_ns)
    for t in trades:
        at, received = t.time_ns - start, t.received_ns - received_start
        if not 0 <= at < 1_000_000_000:
            start, second = _second(t.time_ns)
            at = t.time_ns - start
        if not 0 <= received < 1_000_000_000:
            received_start, received_second = _second(t.received_ns)
            received = t.received_ns - received_start
        at //= 1_000
        received //= 1_000
        trade_id = t.trade_id
        if not trade_id.isdigit():
            trade_id = _escape(trade_id)
        lines.append(
            f"{second}{thousand[at // 1_000]}{last[at % 1_000]}{cells[t.instrument_id]}{trade_id}{cells[t.side]}"
            f"{t.price}\t{t.amount}\t{received_second}{thousand[received // 1_000]}{last[received % 1_000]}\n"
        )
    return "".join(lines).encode()


def encode_candles(candles: Sequence[Candle]) -> bytes:
    """As `encode_trades`; candles mostly share their minute, too."""
    if not candles:
        return b""
    thousand, last, sources, null, lines = _THOUSAND, _THOUSAND_UTC, _SOURCES, _NULL, []
    minute_ns, minute = candles[0].time_ns, timestamp(candles[0].time_ns)
    received_start, received_second = _second(candles[0].received_ns)
    for c in candles:
        if c.time_ns != minute_ns:
            minute_ns, minute = c.time_ns, timestamp(c.time_ns)
        received = c.received_ns - received_start
        if not 0 <= received < 1_000_000_000:
            received_start, received_second = _second(c.received_ns)
            received = c.received_ns - received_start
        received //= 1_000
        lines.append(
            f"{minute}\t{c.instrument_id}\t{c.open}\t{c.high}\t{c.low}\t{c.close}\t{c.volume}\t"
            f"{null if c.quote_volume is None else c.quote_volume}\t{null if c.trades is None else c.trades}\t"
            f"{null if c.taker_buy_volume is None else c.taker_buy_volume}\t"
            f"{null if c.taker_buy_quote_volume is None else c.taker_buy_quote_volume}\t{sources[c.source]}\t"
            f"{received_second}{thousand[received // 1_000]}{last[received % 1_000]}\n"
        )
    return "".join(lines).encode()


def encode_coarse_candles(candles: Sequence[CoarseCandle]) -> bytes:
    lines = encode_candles(candles).split(b"\n")[:-1]
    return b"".join([b"%s\t%s\n" % (line, c.timeframe.encode()) for line, c in zip(lines, candles, strict=True)])


def encode_order_books(books: Sequence[OrderBook]) -> bytes:
    return "".join(
        [
            f"{timestamp(b.time_ns)}\t{b.instrument_id}\t{_time_or_null(b.event_ns)}\t{_or_null(b.sequence)}\t"
            f"{_arrays(b.bids)}\t{_arrays(b.asks)}\t{_FLAGS[b.in_sync]}\t{timestamp(b.received_ns)}\t"
            f"{_FLAGS[b.checksum_ok]}\n"
            for b in books
        ]
    ).encode()


def encode_quotes(quotes: Sequence[Quote]) -> bytes:
    times, received, cells = _stamps([q.time_ns for q in quotes]), _stamps([q.received_ns for q in quotes]), _cells
    return "".join(
        [
            f"{at}{cells[q.instrument_id]}{q.sequence}\t{q.bid}\t{q.bid_amount}\t{q.ask}\t{q.ask_amount}\t{then}\n"
            for q, at, then in zip(quotes, times, received, strict=True)
        ]
    ).encode()


def encode_tickers(tickers: Sequence[Ticker]) -> bytes:
    null = _NULL
    times, received = _stamps([t.time_ns for t in tickers]), _stamps([t.received_ns for t in tickers])
    return "".join(
        [
            f"{t.instrument_id}\t{at}\t{null if t.last is None else t.last}\t{null if t.bid is None else t.bid}\t"
            f"{null if t.bid_amount is None else t.bid_amount}\t{null if t.ask is None else t.ask}\t"
            f"{null if t.ask_amount is None else t.ask_amount}\t{null if t.open_24h is None else t.open_24h}\t"
            f"{null if t.high_24h is None else t.high_24h}\t{null if t.low_24h is None else t.low_24h}\t"
            f"{null if t.volume_24h is None else t.volume_24h}\t"
            f"{null if t.quote_volume_24h is None else t.quote_volume_24h}\t{then}\n"
            for t, at, then in zip(tickers, times, received, strict=True)
        ]
    ).encode()


def encode_funding(rates: Sequence[Funding]) -> bytes:
    times, received = _stamps([f.time_ns for f in rates]), _stamps([f.received_ns for f in rates])
    return "".join(
        [
            f"{at}\t{f.instrument_id}\t{f.rate}\t{_time_or_null(f.funding_ns)}\t{then}\n"
            for f, at, then in zip(rates, times, received, strict=True)
        ]
    ).encode()


def encode_open_interest(figures: Sequence[OpenInterest]) -> bytes:
    times, received = _stamps([o.time_ns for o in figures]), _stamps([o.received_ns for o in figures])
    return "".join(
        [
            f"{at}\t{o.instrument_id}\t{o.amount}\t{_NULL if o.value is None else o.value}\t{then}\n"
            for o, at, then in zip(figures, times, received, strict=True)
        ]
    ).encode()


def encode_mark_prices(prices: Sequence[MarkPrice]) -> bytes:
    times, received, null = _stamps([m.time_ns for m in prices]), _stamps([m.received_ns for m in prices]), _NULL
    return "".join(
        [
            f"{at}\t{m.instrument_id}\t{m.mark}\t{null if m.index is None else m.index}\t{then}\n"
            for m, at, then in zip(prices, times, received, strict=True)
        ]
    ).encode()


def encode_liquidations(orders: Sequence[Liquidation]) -> bytes:
    times, received = _stamps([o.time_ns for o in orders]), _stamps([o.received_ns for o in orders])
    return "".join(
        [
            f"{at}\t{o.instrument_id}\t{o.side}\t{o.price}\t{o.amount}\t{then}\n"
            for o, at, then in zip(orders, times, received, strict=True)
        ]
    ).encode()


def encode_rejects(rejects: Sequence[Reject]) -> bytes:
    return "".join(
        [
            f"{timestamp(r.received_ns)}\t{_escape(r.exchange)}\t{_escape(r.stream)}\t{_escape(printable(r.reason))}\t"
            f"\\\\x{r.payload.hex()}\n"
            for r in rejects
        ]
    ).encode()


def printable(text: str) -> str:
    """Text PostgreSQL will take: no NUL, nothing that is not UTF-8."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _time_or_null(time_ns: int | None) -> str:
    return _NULL if time_ns is None else timestamp(time_ns)


def _arrays(levels: Levels) -> str:
    if not levels:
        return "{}\t{}"
    prices, amounts = zip(*levels, strict=True)
    return f"{{{','.join(prices)}}}\t{{{','.join(amounts)}}}"


class Table(Struct, frozen=True):
    """Where a kind of record goes: the table, its columns in the order of the encoded row, and the encoder.

    `merge` names the statement of `sql/queries/` that moves staged rows in on the conflict path. It returns, by
    instrument, how many were new, and for a row to be rejected (NULL, NULL, its place in the batch, the reason). A
    table that keeps only the latest row of each key expects conflicts: its rows are always staged.
    """

    name: str
    columns: tuple[str, ...]
    encode: Callable[[Sequence[Any]], bytes]
    merge: str = ""
    latest_only: bool = False


TABLES: dict[type, Table] = {
    Trade: Table(
        "trades",
        ("time", "instrument_id", "trade_id", "side", "price", "amount", "received_at"),
        encode_trades,
        merge="merge_trades",
    ),
    Candle: Table(
        "candles_1m",
        (
            *("time", "instrument_id", "open", "high", "low", "close", "volume", "quote_volume", "trades"),
            *("taker_buy_volume", "taker_buy_quote_volume", "source", "received_at"),
        ),
        encode_candles,
        merge="merge_candles_1m",
    ),
    CoarseCandle: Table(
        "candles_coarse",
        (
            *("time", "instrument_id", "open", "high", "low", "close", "volume", "quote_volume", "trades"),
            *("taker_buy_volume", "taker_buy_quote_volume", "source", "received_at", "timeframe"),
        ),
        encode_coarse_candles,
        merge="merge_candles_coarse",
    ),
    OrderBook: Table(
        "order_books",
        (
            *("time", "instrument_id", "event_time", "sequence", "bid_prices", "bid_amounts"),
            *("ask_prices", "ask_amounts", "in_sync", "received_at", "checksum_ok"),
        ),
        encode_order_books,
        merge="merge_order_books",
    ),
    Quote: Table(
        "quotes",
        ("time", "instrument_id", "sequence", "bid", "bid_amount", "ask", "ask_amount", "received_at"),
        encode_quotes,
        merge="merge_quotes",
    ),
    Ticker: Table(
        "tickers",
        (
            *("instrument_id", "time", "last", "bid", "bid_amount", "ask", "ask_amount", "open_24h", "high_24h"),
            *("low_24h", "volume_24h", "quote_volume_24h", "received_at"),
        ),
        encode_tickers,
        merge="merge_tickers",
        latest_only=True,
    ),
    Funding: Table(
        "funding_rates",
        ("time", "instrument_id", "rate", "funding_time", "received_at"),
        encode_funding,
        merge="merge_funding_rates",
    ),
    OpenInterest: Table(
        "open_interest",
        ("time", "instrument_id", "amount", "value", "received_at"),
        encode_open_interest,
        merge="merge_open_interest",
    ),
    MarkPrice: Table(
        "mark_prices",
        ("time", "instrument_id", "mark", "index_price", "received_at"),
        encode_mark_prices,
        merge="merge_mark_prices",
    ),
    Liquidation: Table(
        "liquidations",
        ("time", "instrument_id", "side", "price", "amount", "received_at"),
        encode_liquidations,
        merge="merge_liquidations",
    ),
    Reject: Table(
        "rejected",
        ("received_at", "exchange", "stream", "reason", "payload"),
        encode_rejects,
        merge="merge_rejected",
    ),
}
