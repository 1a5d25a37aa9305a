"""Records gathered into batches of one table and one writer. Pure: time is given, nothing waits."""

from msgspec import Struct

from ingest.pipeline.batch import TABLE_OF, Batch
from ingest.records import (
    Candle,
    Funding,
    Gap,
    Item,
    Liquidation,
    Mark,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Reject,
    Ticker,
    Trade,
)

_ROW_BYTES: dict[type, int] = {
    Trade: 110,
    Candle: 190,
    OrderBook: 130,
    Quote: 140,
    Ticker: 220,
    Reject: 120,
    Funding: 120,
    OpenInterest: 120,
    MarkPrice: 120,
    Liquidation: 120,
}
_LEVEL_BYTES = 26
_NOTE_BYTES = 200
"""Encoded sizes of a row, rounded up; a batch need not know them to the byte."""

_TABLE_OFFSET = {table: offset for offset, table in enumerate(_ROW_BYTES)}


class Limits(Struct, frozen=True):
    """A batch is sealed at the first of these; its age counts from its first row."""

    max_rows: int = 20_000
    max_bytes: int = 4_000_000
    max_age_ns: int = 250_000_000


class Batcher:
    """Open batches by (table, writer).

    The writer is chosen by a stable hash of the stream, so that a stream's rows are written by one connection,
    in order; a note of a stream goes with its rows. Every record given to `add` is in exactly one batch returned by
    `add`, `due` or `seal_all`.
    """

    def __init__(self, writers: int, limits: Limits) -> None:
        self._writers = writers
        self._limits = limits
        self._open: dict[tuple[type, int], Batch] = {}
        self.open_bytes = 0  # of all open batches

    def add(self, item: Item, now_ns: int) -> Batch | None:
        """Take a record or a note; return the batch that it filled, if it did."""
        table = item.__class__
        if table is Gap or table is Mark:
            self._note(item, now_ns)  # type: ignore[arg-type]  # told by its class
            return None
        writer = 0 if table is Reject else (item.instrument_id + _TABLE_OFFSET[table]) % self._writers  # type: ignore[union-attr]
        key = (table, writer)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = Batch(table, writer, now_ns)
        batch.records.append(item)  # type: ignore[arg-type]  # no note: told by its class
        size = _ROW_BYTES[table]
        if table is OrderBook:
            size += _LEVEL_BYTES * (len(item.bids) + len(item.asks))  # type: ignore[union-attr]
        elif table is Reject:
            size += 2 * len(item.payload)  # type: ignore[union-attr]
        batch.size_bytes += size
        self.open_bytes += size
        if len(batch.records) >= self._limits.max_rows or batch.size_bytes >= self._limits.max_bytes:
            return self._seal(key)
        return None

    def _note(self, note: Gap | Mark, now_ns: int) -> None:
        table = TABLE_OF[note.channel]
        key = (table, (note.instrument_id + _TABLE_OFFSET[table]) % self._writers)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = Batch(*key, now_ns)
        if isinstance(note, Gap):
            batch.gaps.append(note)
        else:
            batch.marks[note.instrument_id, note.channel] = note
        batch.size_bytes += _NOTE_BYTES
        self.open_bytes += _NOTE_BYTES

    def due(self, now_ns: int) -> list[Batch]:
        """Seal and return the batches whose first row has waited long enough, oldest first."""
        edge = now_ns - self._limits.max_age_ns
        keys = [key for key, batch in self._open.items() if batch.opened_ns <= edge]
        return sorted((self._seal(key) for key in keys), key=lambda batch: batch.opened_ns)

    def seal_all(self) -> list[Batch]:
        """Seal and return everything, oldest first."""
        return sorted((self._seal(key) for key in list(self._open)), key=lambda batch: batch.opened_ns)

    def _seal(self, key: tuple[type, int]) -> Batch:
        batch = self._open.pop(key)
        self.open_bytes -= batch.size_bytes
        return batch
