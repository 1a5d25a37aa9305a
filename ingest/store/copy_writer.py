"""Batches into hypertables, by a ladder: direct COPY; on a known key, staging; on bad data, bisection.

1. COPY straight into the table: the fast path, no conflict expected. Rows are encoded a thousand at a time, while the
   server stores those before them.
2. A unique violation: the same rows into a temporary table, merged with `ON CONFLICT`.
3. A row that PostgreSQL refuses: the batch is halved until that row stands alone; it goes to
   `ingest.rejected`, everything else is stored.

Each rung is one transaction together with the streams' progress. A batch without bad rows is committed wholly or
not at all; one that was halved may be committed in part when the server goes away. Writing either again is harmless:
every table has a key.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
from msgspec import Struct
from psycopg import AsyncConnection, AsyncCursor, sql

from ingest import clock
from ingest.clock import MILLISECOND
from ingest.records import (
    CHANNEL_OF,
    Gap,
    GapState,
    Instrument,
    Item,
    Mark,
    Record,
    Reject,
    Ticker,
    Trade,
)
from ingest.store import database
from ingest.store.advance import Advance, sequence_of
from ingest.store.notes import encode_gaps, encode_marks
from ingest.store.rows import TABLES, Table, printable, timestamp
from ingest.store.sqlfiles import query

_REASON_MAX = 300
_ROWS_SENT_FIRST, _ROWS_SENT_AT_ONCE = 125, 1_000
"""The server stores them while the next ones are encoded: it should wait for the first ones as short as can be."""
_STAGED_BATCHES_AFTER_CONFLICT = 8
"""After a conflict the next batches of its table are staged at once: duplicates come in runs (a reconnect)."""


class Written(Struct, frozen=True):
    """What became of its rows: stored (new or replacing), duplicate (known, outranked, too old), or rejected."""

    stored: int
    duplicate: int
    rejected: int

    def __add__(self, other: "Written") -> "Written":
        return Written(self.stored + other.stored, self.duplicate + other.duplicate, self.rejected + other.rejected)


class CopyWriter:
    """One connection that writes batches in the order they are given.

    `write` raises `Retryable` when the server went away: the batch is to be given again, whatever was committed of
    it. The connection is opened anew at the next call.
    """

    def __init__(self, url: str, *, role: str, instruments: Mapping[int, Instrument]) -> None:
        """`instruments` by id, to name a rejected row's stream; it may grow while the writer runs."""
        self._url = url
        self._role = role
        self._instruments = instruments
        self._connection: AsyncConnection | None = None
        self._staged: set[str] = set()
        self._stage_first: dict[str, int] = {}

    async def write(
        self,
        records: Sequence[Record],
        *,
        gaps: Sequence[Gap] = (),
        marks: Sequence[Mark] = (),
        staged: bool = False,
    ) -> Written:
        """Store records of one type, and in the same transaction what they say of their streams.

        `staged` skips the direct COPY, where duplicates are expected (repair).
        """
        notes = _Notes(gaps, marks)
        if not records and not gaps and not marks:
            return Written(0, 0, 0)
        try:
            connection = await self._connected()
            if not records:
                return await self._put_notes(connection, notes)
            return await self._write(connection, TABLES[type(records[0])], records, notes, staged=staged)
        except psycopg.Error as error:
            await self.close()
            raise database.translate(error) from error

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._staged.clear()
        if connection is not None:
            await connection.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self.close()
            self._connection = await database.connect(self._url, role=self._role)
        return self._connection

    async def _write(
        self, connection: AsyncConnection, table: Table, records: Sequence[Record], notes: "_Notes", *, staged: bool
    ) -> Written:
        stage_next = self._stage_first.get(table.name, 0)
        if staged or stage_next or table.latest_only:
            self._stage_first[table.name] = max(0, stage_next - 1)
        else:
            try:
                return await self._copy_direct(connection, table, records, notes)
            except psycopg.errors.UniqueViolation:
                self._stage_first[table.name] = _STAGED_BATCHES_AFTER_CONFLICT
            except (psycopg.Error, ValueError, OverflowError) as error:
                if _blame(error) is None:
                    raise
        return await self._bisect(connection, table, records, notes)

    async def _copy_direct(
        self, connection: AsyncConnection, table: Table, records: Sequence[Record], notes: "_Notes"
    ) -> Written:
        """What follows the rows is sent with the COMMIT: while the server waits for us, its core has nothing to do."""
        async with connection.cursor() as cursor:
            try:
                await cursor.execute("BEGIN")
                advance = await _copy(cursor, sql.Identifier("ingest", table.name), table, records)
                async with connection.pipeline():
                    await advance.put(cursor)
                    await notes.put(cursor)
                    await cursor.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):  # where the line is lost, the server rolls back by itself
                    await connection.rollback()
                raise
        return Written(len(records), 0, 0)

    async def _bisect(
        self, connection: AsyncConnection, table: Table, records: Sequence[Record], notes: "_Notes"
    ) -> Written:
        """Store what can be stored. Terminates: each step halves, and a single bad row is put aside and named as a gap.

        The notes go with the last part, so that they never stand before rows that are not stored; what is wrong with a
        note costs no row.
        """
        try:
            return await self._merge(connection, table, records, notes)
        except (psycopg.Error, ValueError, OverflowError) as error:
            reason = _blame(error)
            if reason is None:
                raise
        if len(records) == 1 and (notes.gaps or notes.marks):
            alone = await self._bisect(connection, table, records, _Notes())
            return alone + await self._put_notes(connection, notes)
        if len(records) == 1:
            known = not isinstance(records[0], Reject) and records[0].instrument_id in self._instruments
            async with connection.transaction(), connection.cursor() as cursor:
                await _put_aside(cursor, [self._reject_of(table.name, records[0], reason)])
                await _Notes(_missing(records[0], reason) if known else ()).put(cursor)
            return Written(0, 0, 1)
        middle = len(records) // 2
        first = await self._bisect(connection, table, records[:middle], _Notes())
        return first + await self._bisect(connection, table, records[middle:], notes)

    async def _put_notes(self, connection: AsyncConnection, notes: "_Notes") -> Written:
        """Store notes by themselves: together, or else each alone, and one that is refused then is put aside."""
        try:
            async with connection.transaction(), connection.cursor() as cursor:
                await notes.put(cursor)
        except (psycopg.Error, ValueError, OverflowError) as error:
            reason = _blame(error)
            if reason is None:
                raise
        else:
            return Written(0, 0, 0)
        alone = [_Notes([gap]) for gap in notes.gaps] + [_Notes((), [mark]) for mark in notes.marks]
        if len(alone) > 1:
            return sum([await self._put_notes(connection, one) for one in alone], start=Written(0, 0, 0))
        async with connection.transaction(), connection.cursor() as cursor:
            rejects = [self._reject_of("gaps", gap, reason) for gap in notes.gaps]
            await _put_aside(cursor, rejects or [self._reject_of("marks", mark, reason) for mark in notes.marks])
        return Written(0, 0, 1)

    async def _merge(
        self, connection: AsyncConnection, table: Table, records: Sequence[Record], notes: "_Notes"
    ) -> Written:
        await self._prepare_stage(connection, table)
        async with connection.transaction(), connection.cursor() as cursor:
            advance = await _copy(cursor, sql.Identifier(f"stage_{table.name}"), table, records)
            await cursor.execute(query(table.merge), _window(records))
            found = await cursor.fetchall()
            stored = Counter({row[0]: row[1] for row in found if row[0] is not None})
            rejects = [self._reject_of(table.name, records[row[2]], row[3]) for row in found if row[0] is None]
            await _put_aside(cursor, rejects)
            await advance.put(cursor, stored)
            await notes.put(cursor)
        return Written(stored.total(), len(records) - stored.total() - len(rejects), len(rejects))

    async def _prepare_stage(self, connection: AsyncConnection, table: Table) -> None:
        """A temporary table with the target's columns, none of its constraints, and each row's place in the batch."""
        if table.name in self._staged:
            return
        stage, target = sql.Identifier(f"stage_{table.name}"), sql.Identifier("ingest", table.name)
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        async with connection.transaction():
            await connection.execute(
                sql.SQL("CREATE TEMP TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA").format(
                    stage, columns, target
                )
            )
            await connection.execute(
                sql.SQL("ALTER TABLE {} ADD ordinal bigint GENERATED ALWAYS AS IDENTITY").format(stage)
            )
        self._staged.add(table.name)

    def _reject_of(self, table: str, record: Item, reason: str) -> Reject:
        instrument = None if isinstance(record, Reject) else self._instruments.get(record.instrument_id)
        return Reject(
            exchange=instrument.exchange if instrument else "",
            stream=f"{instrument.symbol} {table}" if instrument else table,
            reason=reason[:_REASON_MAX],
            payload=_payload(record),
            received_ns=getattr(record, "received_ns", clock.now_ns()),
        )


class _Notes(Struct, frozen=True):
    """What a batch says of its streams. Gaps first: a mark may pass over what they name."""

    gaps: Sequence[Gap] = ()
    marks: Sequence[Mark] = ()

    async def put(self, cursor: AsyncCursor[Any]) -> None:
        if self.gaps:
            await cursor.execute(query("merge_gaps"), encode_gaps(self.gaps))
        if self.marks:
            await cursor.execute(query("mark_streams"), encode_marks(self.marks))


class _BadBlockError(ValueError):
    """A row's own text would break out of its line."""


def _encode(table: Table, records: Sequence[Record]) -> bytes:
    """Records as COPY text; one whose number holds a line break of its own is refused.

    It could pass for two rows. A tab cannot: the line has a column too many, and the server refuses it.
    """
    block = table.encode(records)
    if block.count(b"\n") != len(records):
        raise _BadBlockError("a number holds a line break")
    return block


def _blame(error: Exception) -> str | None:
    """What is wrong with the rows; None when the error is not theirs."""
    if not isinstance(error, psycopg.Error):
        return str(error)  # the encoder's: a time out of range, text that is no UTF-8
    return (error.diag.message_primary or str(error)) if database.is_data_error(error) else None


def _payload(record: Item) -> bytes:
    try:
        return msgspec.json.encode(record)
    except ValueError:  # text that is no UTF-8
        return repr(record).encode(errors="backslashreplace")


async def _copy(cursor: AsyncCursor[Any], target: sql.Identifier, table: Table, records: Sequence[Record]) -> Advance:
    advance = Advance()
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    async with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns)) as copy:
        start, size = 0, _ROWS_SENT_FIRST
        while rows := records[start : start + size]:
            await copy.write(_encode(table, rows))
            advance.add(rows)
            start, size = start + size, min(2 * size, _ROWS_SENT_AT_ONCE)
    return advance


async def _put_aside(cursor: AsyncCursor[Any], rejects: list[Reject]) -> None:
    for reject in rejects:
        await cursor.execute(
            query("put_aside"),
            {
                "received_at": _moment(reject.received_ns),
                "exchange": printable(reject.exchange),
                "stream": printable(reject.stream),
                "reason": printable(reject.reason),
                "payload": reject.payload,
            },
        )


def _moment(time_ns: int) -> str:
    """The time as text; now, when it is one that cannot be."""
    return timestamp(_possible(time_ns) or clock.now_ns())


def _possible(time_ns: int) -> int | None:
    try:
        timestamp(time_ns)
    except (ValueError, OverflowError):
        return None
    return time_ns


def _window(records: Sequence[Record]) -> dict[str, Any]:
    """Bounds of trades: instruments and times, a millisecond wide at least, so that the merge reads only those."""
    trades = [record for record in records if isinstance(record, Trade)]
    if not trades:
        return {}
    times = [trade.time_ns for trade in trades]
    return {
        "instrument_ids": list({trade.instrument_id for trade in trades}),
        "from_time": timestamp(min(times) // MILLISECOND * MILLISECOND),
        "to_time": timestamp((max(times) // MILLISECOND + 1) * MILLISECOND),
    }


def _missing(record: Record, reason: str) -> list[Gap]:
    """The gap that a refused row leaves: its id, or its moment. Repair may find it better told by REST."""
    channel = CHANNEL_OF.get(type(record))
    if channel is None or isinstance(record, Reject | Ticker):
        return []
    at_ns, opened_ns = _possible(record.time_ns), _possible(record.received_ns) or clock.now_ns()
    number = sequence_of(record) if isinstance(record, Trade) else None
    if at_ns is None and number is None:
        return []
    state: GapState = "open" if channel in ("trades", "candles") else "unrecoverable"
    ids = (record.instrument_id, channel)
    return [Gap(*ids, "row rejected", at_ns, at_ns, number, number, reason, state, opened_ns=opened_ns)]
