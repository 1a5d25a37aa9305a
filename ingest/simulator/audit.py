"""The database held against the venue's ledger, row by row and digit by digit.

Prices and amounts are compared as text: what was sent is what must be stored. Rows are read in the order of
their keys on both sides and walked in step, so memory does not grow with their number.
"""

import urllib.request
from collections.abc import Iterable, Iterator
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

Fields = tuple[Any, ...]


class Comparison(Struct):
    """Of one channel: how many rows of the ledger were compared, and every difference's count and first examples."""

    channel: str
    compared: int = 0
    missing: int = 0
    unexpected: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """False also when nothing was compared: an empty comparison proves nothing."""
        return self.compared > 0 and not (self.missing or self.unexpected or self.different)

    def note(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{kind}: {text}")


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


def audit(database_url: str, ledger: LedgerClient, *, since: Summary, depth: int) -> list[Comparison]:
    """Compare every trade after `since`, every stored closed candle up to the ledger's last, and every stored book.

    `since` is the ledger's state when collection began. One comparison a channel.
    """
    trades, candles, books = Comparison("trades"), Comparison("candles"), Comparison("book")
    start = {symbol.symbol: symbol for symbol in since.symbols}
    with connect_sync(database_url, role="audit") as connection:
        for symbol in ledger.summary().symbols:
            instrument_id = _instrument_id(connection, symbol.symbol)
            if instrument_id is None:
                continue
            _audit_trades(connection, ledger, trades, instrument_id, start[symbol.symbol], symbol)
            _audit_candles(connection, ledger, candles, instrument_id, symbol)
            _audit_books(connection, ledger, books, instrument_id, symbol, depth)
    return [trades, candles, books]


def _audit_trades(
    connection: Connection,
    ledger: LedgerClient,
    comparison: Comparison,
    instrument_id: int,
    start: LedgerSymbol,
    now: LedgerSymbol,
) -> None:
    first_id, last_id = start.last_trade_id + 1, now.last_trade_id
    expected = ledger.trades(now.symbol, first_id, last_id)
    with connection.transaction(), connection.cursor(name="audit_trades") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            query("audit_trades"), {"instrument_id": instrument_id, "first_id": first_id, "last_id": last_id}
        )
        _walk(expected, cursor, comparison, f"{now.unified} trade")


def _audit_candles(
    connection: Connection, ledger: LedgerClient, comparison: Comparison, instrument_id: int, now: LedgerSymbol
) -> None:
    stored = connection.execute(query("audit_candles"), {"instrument_id": instrument_id}).fetchall()
    if not stored:
        comparison.note("missing", f"{now.unified}: no candle at all")
        return
    end_us = ledger.summary().now_us
    expected = ledger.candles(now.symbol, stored[0][0], end_us)
    _walk(expected, iter(stored), comparison, f"{now.unified} candle")


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


def _walk(expected: Iterable[Fields], stored: Iterable[Fields], comparison: Comparison, what: str) -> None:
    """Walk two sequences ordered by their first field; a key that is stored twice is unexpected the second time."""
    left, right = iter(expected), iter(stored)
    truth, row = next(left, None), next(right, None)
    while truth is not None or row is not None:
        if row is None or (truth is not None and truth[0] < row[0]):
            comparison.compared += 1
            comparison.note("missing", f"{what} {truth}")
            truth = next(left, None)
        elif truth is None or row[0] < truth[0]:
            comparison.note("unexpected", f"{what} {row}")
            row = next(right, None)
        else:
            comparison.compared += 1
            if tuple(row) != tuple(truth):
                comparison.note("different", f"{what}: sent {truth}, stored {tuple(row)}")
            truth, row = next(left, None), next(right, None)


def _instrument_id(connection: Connection, native: str) -> int | None:
    found = connection.execute(
        "SELECT instrument_id FROM ingest.instruments WHERE native_symbol = %s", [native]
    ).fetchone()
    return None if found is None else int(found[0])


def _split(levels: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [price for price, _ in levels], [amount for _, amount in levels]
