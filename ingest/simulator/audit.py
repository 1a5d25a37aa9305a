"""The database held against the venue's ledger, row by row and digit by digit.

Prices and amounts are compared as text: what was sent is what must be stored. Rows are read in the order of
their keys on both sides and walked in step, so memory does not grow with their number.

With `outside_gaps` rows may be missing where `ingest.gaps` names them, and nowhere else; and of trades and candles what
is named must be missing, all of it, and must be among what the venue did.
"""

import urllib.request
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from psycopg import Connection

from ingest.simulator.control import BooksQuery, BooksReply
from ingest.simulator.ledger import LedgerCandle, LedgerSymbol, Summary
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query

_SHOWN = 5
_BOOKS_A_REQUEST = 500
_MINUTE_US = 60_000_000
_FOR_EVER = 2**63
_UNSETTLED = ("open", "repairing")

Fields = tuple[Any, ...]


class Comparison(Struct):
    """Of one channel: how many rows of the ledger were compared, and every difference's count and first examples.

    `named` rows are missing and `ingest.gaps` says so, which is no difference. `overnamed` ones it calls missing, and
    they are stored, or the venue never had them. `unsettled` gaps wait for repair.
    """

    channel: str
    compared: int = 0
    missing: int = 0
    unexpected: int = 0
    different: int = 0
    named: int = 0
    overnamed: int = 0
    unsettled: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def differences(self) -> int:
        return self.missing + self.unexpected + self.different + self.overnamed + self.unsettled

    @property
    def equal(self) -> bool:
        """False also when nothing was compared: an empty comparison proves nothing."""
        return self.compared > 0 and not self.differences

    def note(self, kind: str, text: str, count: int = 1) -> None:
        setattr(self, kind, getattr(self, kind) + count)
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{kind}: {text}")


class Named:
    """What gaps call missing: places (ids, or opens of minutes, `step` apart) and times, both ends inclusive.

    A gap without ids goes by time, and its ends may be the rows around it: only what lies within must be missing.
    """

    def __init__(
        self, places: Iterable[tuple[int, int]] = (), times: Iterable[tuple[int, int]] = (), step: int = 1
    ) -> None:
        self._places, self._times, self._step = _joined(places, step), _joined(times, -1), step
        self._found = [0 for _ in self._places]
        self._missed = [0 for _ in self._times]

    def takes(self, place: int, time: int) -> bool:
        """Whether a row that is missing was named."""
        index, moment = _within(self._places, place), _within(self._times, time)
        if index is not None:
            self._found[index] += 1
        if moment is not None:
            self._missed[moment] += 1
        return index is not None or moment is not None

    def belies(self, place: int, time: int) -> bool:
        """Whether a row that is stored was called missing."""
        index, moment = _within(self._places, place), _within(self._times, time)
        if index is not None:
            self._found[index] += 1
        return index is not None or (moment is not None and self._times[moment][0] < time < self._times[moment][1])

    def unknown(self) -> Iterator[tuple[int, int, int]]:
        """Ranges that name what there is not: first, last, and how many of their places nobody has asked for."""
        for (first, last), found in zip(self._places, self._found, strict=True):
            if count := (last - first) // self._step + 1 - found:
                yield first, last, count
        for (first, last), missed in zip(self._times, self._missed, strict=True):
            if not missed:
                yield first, last, 1


class LedgerClient:
    """The simulator's `/ledger` and `/control` over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    def summary(self) -> Summary:
        return msgspec.json.decode(self._read("/ledger/summary"), type=Summary)

    def pause(self, *, paused: bool) -> Summary:
        """Freeze the market or let it go on; the state at that moment."""
        return msgspec.json.decode(self._read("/control/pause", msgspec.json.encode({"paused": paused})), type=Summary)

    def trades(self, symbol: str, first_id: int, last_id: int) -> Iterator[Fields]:
        path = f"/ledger/trades?symbol={symbol}&from_id={first_id}&to_id={last_id}&format=tsv"
        for line in self._lines(path):
            time_us, number, side, price, amount = line.decode().split("\t")
            yield int(number), int(time_us), side, price, amount

    def candles(self, symbol: str, start_us: int, end_us: int) -> Iterator[Fields]:
        path = f"/ledger/candles?symbol={symbol}&interval=1m&start={start_us}&end={end_us}"
        for line in self._lines(path):
            candle = msgspec.json.decode(line, type=LedgerCandle)
            yield msgspec.structs.astuple(candle)[:10]

    def books(self, symbol: str, sequences: list[int], depth: int) -> dict[int, Fields]:
        """(bid prices, bid amounts, ask prices, ask amounts) by sequence."""
        body = msgspec.json.encode(BooksQuery(symbol, sequences, depth))
        reply = msgspec.json.decode(self._read("/ledger/books", body), type=BooksReply)
        return {book.sequence: (*_split(book.bids), *_split(book.asks)) for book in reply.books}

    def _read(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(self._url + path, data=body, timeout=60) as response:  # noqa: S310 - our own url
            data: bytes = response.read()
            return data

    def _lines(self, path: str) -> Iterator[bytes]:
        with urllib.request.urlopen(self._url + path, timeout=60) as response:  # noqa: S310 - our own url
            for line in response:
                yield line.rstrip(b"\n")


def audit(
    database_url: str,
    ledger: LedgerClient,
    *,
    since: Summary,
    depth: int,
    until: Summary | None = None,
    outside_gaps: bool = False,
    cadence_us: int = 1_000_000,
) -> list[Comparison]:
    """Compare every trade after `since`, every stored closed candle up to the ledger's last, and every stored book.

    `since` is the ledger's state when collection began, `until` the one at which it ended (by default, now). One
    comparison a channel. With `outside_gaps` gaps count, as the module says; candles begin at `since` at the latest, no
    trade of another time is stored, and each tick of `cadence_us` at which a book was collected has one in sync, or a
    gap.
    """
    comparisons = trades, candles, books = Comparison("trades"), Comparison("candles"), Comparison("book")
    start = {symbol.symbol: symbol for symbol in since.symbols}
    end = until or ledger.summary()
    with connect_sync(database_url, role="audit") as connection:
        for symbol in end.symbols:
            instrument_id = _instrument_id(connection, symbol.symbol)
            if instrument_id is None:
                continue
            named, since_us = _no_gaps(), None
            if outside_gaps:
                named, since_us = _named(connection, instrument_id, symbol.unified, comparisons), since.now_us
                _audit_strays(connection, trades, instrument_id, start[symbol.symbol], symbol)
                _audit_ticks(connection, books, instrument_id, symbol, cadence_us)
            _audit_trades(connection, ledger, trades, instrument_id, start[symbol.symbol], symbol, named["trades"])
            _audit_candles(connection, ledger, candles, instrument_id, symbol, (since_us, end.now_us), named["candles"])
            _audit_books(connection, ledger, books, instrument_id, symbol, depth)
    return list(comparisons)


def _audit_trades(
    connection: Connection,
    ledger: LedgerClient,
    comparison: Comparison,
    instrument_id: int,
    start: LedgerSymbol,
    now: LedgerSymbol,
    named: Named,
) -> None:
    first_id, last_id = start.last_trade_id + 1, now.last_trade_id
    expected = ledger.trades(now.symbol, first_id, last_id)
    with connection.transaction(), connection.cursor(name="audit_trades") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            query("audit_trades"), {"instrument_id": instrument_id, "first_id": first_id, "last_id": last_id}
        )
        _walk(expected, cursor, comparison, f"{now.unified} trade", named)


def _audit_strays(
    connection: Connection, comparison: Comparison, instrument_id: int, start: LedgerSymbol, now: LedgerSymbol
) -> None:
    """Nothing is stored that lies before or after what is compared."""
    ends = {"instrument_id": instrument_id, "first_id": start.last_trade_id + 1, "last_id": now.last_trade_id}
    for trade_id, time in connection.execute(query("audit_stray_trades"), ends):
        comparison.note("unexpected", f"{now.unified} trade {trade_id} at {time}")


def _audit_candles(
    connection: Connection,
    ledger: LedgerClient,
    comparison: Comparison,
    instrument_id: int,
    now: LedgerSymbol,
    span_us: tuple[int | None, int],
    named: Named,
) -> None:
    stored = connection.execute(query("audit_candles"), {"instrument_id": instrument_id}).fetchall()
    since_us, end_us = span_us
    if not stored:
        comparison.note("missing", f"{now.unified}: no candle at all")
        return
    start_us = stored[0][0]
    if since_us is not None:
        start_us = min(start_us, since_us // _MINUTE_US * _MINUTE_US)
    expected = ledger.candles(now.symbol, start_us, end_us)
    _walk(expected, iter(stored), comparison, f"{now.unified} candle", named, time_at=0)


def _audit_books(
    connection: Connection,
    ledger: LedgerClient,
    comparison: Comparison,
    instrument_id: int,
    now: LedgerSymbol,
    depth: int,
) -> None:
    stored = connection.execute(query("audit_order_books"), {"instrument_id": instrument_id}).fetchall()
    for start in range(0, len(stored), _BOOKS_A_REQUEST):
        part = stored[start : start + _BOOKS_A_REQUEST]
        truth = ledger.books(now.symbol, sorted({row[0] for row in part}), depth)
        for sequence, time, *levels in part:
            comparison.compared += 1
            if truth.get(sequence) != tuple(levels):
                comparison.note("different", f"{now.unified} book at {time}, sequence {sequence}")


def _audit_ticks(
    connection: Connection, comparison: Comparison, instrument_id: int, now: LedgerSymbol, cadence_us: int
) -> None:
    """Every tick between the stream's start and its watermark has a book in sync, or lies in a gap."""
    parameters = {"instrument_id": instrument_id, "cadence_us": cadence_us}
    for time, named in connection.execute(query("audit_book_ticks"), parameters):
        if named:
            comparison.named += 1
        else:
            comparison.note("missing", f"{now.unified} book at {time}")


def _walk(
    expected: Iterable[Fields],
    stored: Iterable[Fields],
    comparison: Comparison,
    what: str,
    named: Named,
    *,
    time_at: int = 1,
) -> None:
    """Walk two sequences ordered by their first field; a key that is stored twice is unexpected the second time.

    `time_at` is where a row's time stands.
    """
    left, right = iter(expected), iter(stored)
    truth, row = next(left, None), next(right, None)
    while truth is not None or row is not None:
        if row is None or (truth is not None and truth[0] < row[0]):
            assert truth is not None  # noqa: S101 - else the loop had ended
            comparison.compared += 1
            if named.takes(truth[0], truth[time_at]):
                comparison.named += 1
            else:
                comparison.note("missing", f"{what} {truth}")
            truth = next(left, None)
        elif truth is None or row[0] < truth[0]:
            comparison.note("unexpected", f"{what} {row}")
            row = next(right, None)
        else:
            comparison.compared += 1
            if tuple(row) != tuple(truth):
                comparison.note("different", f"{what}: sent {truth}, stored {tuple(row)}")
            if named.belies(truth[0], truth[time_at]):
                comparison.note("overnamed", f"{what} {truth[0]} is stored")
            truth, row = next(left, None), next(right, None)
    for first, last, count in named.unknown():
        comparison.note("overnamed", f"{what}: of {first} to {last}, {count} were never sent", count)


# Gaps


def _no_gaps() -> dict[str, Named]:
    return {"trades": Named(), "candles": Named()}


def _named(
    connection: Connection, instrument_id: int, symbol: str, comparisons: Sequence[Comparison]
) -> dict[str, Named]:
    """What the gaps of one instrument call missing, by channel; those that wait for repair are told as unsettled."""
    places: dict[str, list[tuple[int, int]]] = {"trades": [], "candles": []}
    times: list[tuple[int, int]] = []
    by_channel = {comparison.channel: comparison for comparison in comparisons}
    for channel, state, *bounds in connection.execute(query("audit_gaps"), {"instrument_id": instrument_id}):
        from_id, to_id, from_us, to_us = bounds
        if state in _UNSETTLED:
            if channel in by_channel:
                by_channel[channel].note("unsettled", f"{symbol} {channel}: {state}, {bounds}")
        elif channel == "trades" and from_id is not None:
            places["trades"].append((from_id, _FOR_EVER if to_id is None else to_id))
        elif channel == "trades":
            times.append((from_us, _FOR_EVER if to_us is None else to_us))
        elif channel == "candles":
            last_us = _FOR_EVER if to_us is None else to_us
            places["candles"].append((from_us // _MINUTE_US * _MINUTE_US, last_us // _MINUTE_US * _MINUTE_US))
    return {"trades": Named(places["trades"], times), "candles": Named(places["candles"], step=_MINUTE_US)}


def _joined(ranges: Iterable[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """In order, without overlaps; those that touch are one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if last < first:
            continue
        if joined and first <= joined[-1][1] + step:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _within(ranges: list[tuple[int, int]], place: int) -> int | None:
    """Which of the ranges holds it."""
    index = bisect_right(ranges, (place, _FOR_EVER)) - 1
    return index if index >= 0 and place <= ranges[index][1] else None


def _instrument_id(connection: Connection, native: str) -> int | None:
    """None for one that is only listed: nothing of it is collected."""
    found = connection.execute(
        "SELECT instrument_id FROM ingest.instruments i WHERE native_symbol = %s"
        " AND EXISTS (SELECT FROM ingest.streams s WHERE s.instrument_id = i.instrument_id)",
        [native],
    ).fetchone()
    return None if found is None else int(found[0])


def _split(levels: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [price for price, _ in levels], [amount for _, amount in levels]
