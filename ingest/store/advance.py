"""How far a batch brings its streams: counted while its rows go out, told in the transaction that stores them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from psycopg import AsyncCursor

from ingest.records import CHANNEL_OF, OrderBook, Quote, Record, Row, Trade
from ingest.store.rows import timestamp
from ingest.store.sqlfiles import query

_BIGINT_MAX = 2**63 - 1
_DIGITS = 20  # of more no number fits


class Advance:
    """Of each instrument: how many rows, one with the earliest time, and the last of those with the latest."""

    def __init__(self) -> None:
        self._received: dict[int, int] = {}
        self._earliest: dict[int, Row] = {}
        self._latest: dict[int, Row] = {}

    def add(self, records: Sequence[Record]) -> None:
        """Some of the batch's records, in its order. What belongs to no stream (rejects) brings none forward."""
        if not records or type(records[0]) not in CHANNEL_OF:
            return
        rows = cast("Sequence[Row]", records)  # a batch is of one type, and it has a channel
        ids, times = [row.instrument_id for row in rows], [row.time_ns for row in rows]
        if times != sorted(times):  # else in order, as they mostly are
            order = sorted(range(len(times)), key=times.__getitem__)
            ids, rows = [ids[place] for place in order], [rows[place] for place in order]
        received = Counter(ids)
        for instrument_id, count in received.items():
            self._received[instrument_id] = self._received.get(instrument_id, 0) + count
        for instrument_id, row in _first(zip(ids, rows, strict=True), len(received)):
            known = self._earliest.get(instrument_id)
            if known is None or row.time_ns < known.time_ns:
                self._earliest[instrument_id] = row
        for instrument_id, row in _first(zip(reversed(ids), reversed(rows), strict=True), len(received)):
            known = self._latest.get(instrument_id)
            if known is None or row.time_ns >= known.time_ns:
                self._latest[instrument_id] = row

    def parameters(self, stored: Mapping[int, int] | None = None) -> dict[str, Any]:
        """Of `advance_streams`; `stored` counts the new rows by instrument (None: all are new). Empty without a row."""
        if not self._latest:
            return {}
        latest, received = self._latest, self._received
        return {
            "channel": CHANNEL_OF[type(next(iter(latest.values())))],
            "instrument_ids": list(latest),
            "first_times": [timestamp(self._earliest[i].time_ns) for i in latest],
            "last_times": [timestamp(row.time_ns) for row in latest.values()],
            "last_sequences": [sequence_of(row) for row in latest.values()],
            "last_received_ats": [timestamp(row.received_ns) for row in latest.values()],
            "received": [received[i] for i in latest],
            "stored": [(received if stored is None else stored).get(i, 0) for i in latest],
        }

    async def put(self, cursor: AsyncCursor[Any], stored: Mapping[int, int] | None = None) -> None:
        """Advance `ingest.streams`, and tell the rollups what changed.

        Prepared, though nothing else is: planning it would take as long as its work, for each batch. It returns no
        rows, so that its plan is made anew where a table changes, and never breaks.
        """
        if parameters := self.parameters(stored):
            await cursor.execute(query("advance_streams"), parameters, prepare=True)


def sequence_of(row: Row) -> int | None:
    """The venue's number of it, as far as the database can count: a trade's id, a book's or a quote's sequence."""
    match row:
        case Trade(trade_id=trade_id):
            number = int(trade_id) if trade_id.isascii() and trade_id.isdigit() and len(trade_id) < _DIGITS else None
        case OrderBook(sequence=number) | Quote(sequence=number):
            pass
        case _:
            return None
    return number if number is not None and number <= _BIGINT_MAX else None


def _first(pairs: Iterable[tuple[int, Row]], count: int) -> Iterable[tuple[int, Row]]:
    """The first row of each of so many instruments; mostly they all come soon."""
    found: dict[int, Row] = {}
    for instrument_id, row in pairs:
        if instrument_id not in found:
            found[instrument_id] = row
            if len(found) == count:
                break
    return found.items()
