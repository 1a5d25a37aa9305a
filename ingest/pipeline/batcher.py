"""Records gathered into batches of one table and one writer. Pure: time is given, nothing waits."""

from msgspec import Struct

from ingest.records import Candle, Gap, OrderBook, Quote, Reject, Ticker, Trade
from ingest.store.copy_writer import Record

_ROW_BYTES: dict[type, int] = {Trade: 110, Candle: 190, OrderBook: 130, Quote: 140, Ticker: 220, Gap: 150, Reject: 120}
_LEVEL_BYTES = 26
"""Encoded sizes of a row, rounded up; a batch need not know them to the byte."""

_TABLE_OFFSET = {table: offset for offset, table in enumerate(_ROW_BYTES)}


class Limits(Struct, frozen=True):
    """A batch is sealed at the first of these; its age counts from its first row."""

    max_rows: int = 10_000
    max_bytes: int = 8_000_000
    max_age_ns: int = 250_000_000


class Batch:
    """Rows of one table for one writer, in the order of arrival."""

    __slots__ = ("opened_ns", "records", "size_bytes", "writer")

    def __init__(self, writer: int, opened_ns: int) -> None:
        self.writer = writer
        self.opened_ns = opened_ns
        self.records: list[Record] = []
        self.size_bytes = 0


class Batcher:
    """Open batches by (table, writer).

    The writer is chosen by a stable hash of the stream, so that a stream's rows are written by one connection,
    in order. Every record given to `add` is in exactly one batch returned by `add`, `due` or `seal_all`.
    """

    def __init__(self, writers: int, limits: Limits) -> None:
        self._writers = writers
        self._limits = limits
        self._open: dict[tuple[type, int], Batch] = {}
        self.open_bytes = 0  # of all open batches

    def add(self, record: Record, now_ns: int) -> Batch | None:
        """Take a record; return the batch that it filled, if it did."""
        table = record.__class__
        writer = 0 if table is Reject else (record.instrument_id + _TABLE_OFFSET[table]) % self._writers  # type: ignore[union-attr]
        key = (table, writer)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = Batch(writer, now_ns)
        batch.records.append(record)
        size = _ROW_BYTES[table]
        if table is OrderBook:
            size += _LEVEL_BYTES * (len(record.bids) + len(record.asks))  # type: ignore[union-attr]
        elif table is Reject:
            size += 2 * len(record.payload)  # type: ignore[union-attr]
        batch.size_bytes += size
        self.open_bytes += size
        if len(batch.records) >= self._limits.max_rows or batch.size_bytes >= self._limits.max_bytes:
            return self._seal(key)
        return None

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
