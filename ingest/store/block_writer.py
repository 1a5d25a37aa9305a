"""Prebuilt blocks of COPY text into hypertables, by the ladder of `copy_writer`; for files, whose rows are no objects.

1. Where the table holds no row of the instrument in the block's time, direct COPY. It is looked for, not tried: a row
   in milliseconds and the same one in microseconds are two keys (docs/decisions/0004), and COPY would store both.
2. Else, or on a key that is twice in the block, a temporary table and the merge of its table.
3. What PostgreSQL refuses is halved until a row stands alone; its line goes to `ingest.rejected`.

How far the file is committed stands in the transaction of its rows. Whoever writes two files with rows of one day and
instrument writes them one after the other (`Ledger.hold_days`): then the second one sees what the first has stored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from msgspec import Struct, structs
from psycopg import AsyncConnection, AsyncCursor, sql

from ingest.clock import MILLISECOND
from ingest.records import CHANNEL_OF, Gap, GapState, Reject, Row
from ingest.store import database
from ingest.store.copy_writer import CopyWriter, Written, _blame, _put_aside
from ingest.store.notes import encode_gaps
from ingest.store.rows import TABLES, Table, timestamp
from ingest.store.sqlfiles import query

STAGED_ROWS = 50_000
"""Rows merged in one transaction: a statement may decompress 100,000 rows of compressed chunks."""
_SENT_BYTES = 256 * 1024
"""The server stores them while the next ones are sent."""

Refuse = Callable[[int, str], Reject]
"""Makes the reject of a block's row, by its place in the block, with the reason."""


class Block(Struct, frozen=True):
    """Rows of one kind and instrument as COPY text, a line each, in the columns of their table.

    The times are its earliest and its latest one; `last_sequence` is the largest id, None where ids are no numbers.
    """

    kind: type[Row]
    instrument_id: int
    text: bytes
    rows: int
    first_ns: int
    last_ns: int
    last_sequence: int | None
    received_ns: int

    def parts(self, rows: int) -> "list[tuple[int, Block]]":
        """Blocks of at most so many rows, each with the place of its first row."""
        if self.rows <= rows:
            return [(0, self)]
        lines = self.text.splitlines(keepends=True)
        return [
            (start, structs.replace(self, text=b"".join(part), rows=len(part)))
            for start in range(0, len(lines), rows)
            if (part := lines[start : start + rows])
        ]


class Told(Struct, frozen=True):
    """What goes with a block's last rows: how far its file is committed, its bad lines, what it lacks, and how many
    rows were too old to be in it.
    """

    import_id: int
    lines: int
    last_place: int | None = None
    rejects: Sequence[Reject] = ()
    gaps: Sequence[Gap] = ()
    old: int = 0


class BlockWriter(CopyWriter):
    """A `CopyWriter` that takes blocks, too.

    Its commits do not wait for the disk: rows and how far their file came are one transaction, so that a server that
    crashes forgets both, and the file goes on from there. Whoever says that a file is whole must commit that with a
    wait, which waits for all before it.
    """

    async def _connected(self) -> AsyncConnection:
        before = self._connection
        connection = await super()._connected()
        if connection is not before:
            await connection.execute("SET synchronous_commit = off")
        return connection

    async def write_block(self, block: Block, told: Told, refuse: Refuse) -> Written:
        """Store a block and what is told with it. Raises Retryable like `write`: it may be given again."""
        try:
            connection = await self._connected()
            return await self._write_block(connection, block, told, refuse)
        except psycopg.Error as error:
            await self.close()
            raise database.translate(error) from error

    async def _write_block(self, connection: AsyncConnection, block: Block, told: Told, refuse: Refuse) -> Written:
        try:
            written = await self._copy_block(connection, block, told)
        except psycopg.Error as error:
            if _blame(error) is None:
                raise
            written = None
        if written is not None:
            return written
        written = Written(0, 0, len(told.rejects))
        for start, part in block.parts(STAGED_ROWS):
            written += await self._merge_block(connection, part, _behind(start, refuse))
        async with connection.transaction(), connection.cursor() as cursor:
            await _put(cursor, block, told, written)
        return written

    async def _copy_block(self, connection: AsyncConnection, block: Block, told: Told) -> Written | None:
        """Direct COPY; None, and nothing stored, where the table has rows of the block's time."""
        written = Written(block.rows, 0, len(told.rejects))
        async with connection.transaction(), connection.cursor() as cursor:
            if block.rows:
                if await _is_known(cursor, block):
                    return None
                await _copy(cursor, sql.Identifier("ingest", TABLES[block.kind].name), block)
                await _advance(cursor, block, block.rows)
            await _put(cursor, block, told, written)
        return written

    async def _merge_block(self, connection: AsyncConnection, block: Block, refuse: Refuse) -> Written:
        """Store what can be stored. Terminates: each step halves, and a single row that is refused is put aside."""
        try:
            return await self._stage_block(connection, block, refuse)
        except psycopg.Error as error:
            reason = _blame(error)
            if reason is None:
                raise
        if block.rows == 1:
            async with connection.transaction(), connection.cursor() as cursor:
                await _put_aside(cursor, [refuse(0, reason)])
                await cursor.execute(query("merge_gaps"), encode_gaps([_missing(block, reason)]))
            return Written(0, 0, 1)
        written = Written(0, 0, 0)
        for start, part in block.parts(-(-block.rows // 2)):
            written += await self._merge_block(connection, part, _behind(start, refuse))
        return written

    async def _stage_block(self, connection: AsyncConnection, block: Block, refuse: Refuse) -> Written:
        table = TABLES[block.kind]
        await self._prepare_stage(connection, table)
        async with connection.transaction(), connection.cursor() as cursor:
            await _copy(cursor, sql.Identifier(f"stage_{table.name}"), block)
            await cursor.execute(query(table.merge), _window(block))
            found = await cursor.fetchall()
            stored = sum(row[1] for row in found if row[0] is not None)
            rejects = [refuse(row[2], row[3]) for row in found if row[0] is None]
            await _put_aside(cursor, rejects)
            await _advance(cursor, block, stored)
        return Written(stored, block.rows - stored - len(rejects), len(rejects))


def _behind(start: int, refuse: Refuse) -> Refuse:
    """The same for a part of the block that begins there."""
    return lambda row, why: refuse(start + row, why)


async def _is_known(cursor: AsyncCursor[Any], block: Block) -> bool:
    statement = sql.SQL(query("import_is_known")).format(table=sql.Identifier("ingest", TABLES[block.kind].name))
    own = {"instrument_id": block.instrument_id, "received_at": timestamp(block.received_ns)}
    row = await (await cursor.execute(statement, {**_window(block), **own})).fetchone()
    return row is not None and bool(row[0])


async def _copy(cursor: AsyncCursor[Any], target: sql.Identifier, block: Block) -> None:
    table: Table = TABLES[block.kind]
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    text = memoryview(block.text)
    async with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns)) as copy:
        for start in range(0, len(text), _SENT_BYTES):
            await copy.write(text[start : start + _SENT_BYTES])


def _window(block: Block) -> dict[str, Any]:
    """A millisecond wide at least: so wide are two times of one trade apart."""
    return {
        "instrument_ids": [block.instrument_id],
        "from_time": timestamp(block.first_ns // MILLISECOND * MILLISECOND),
        "to_time": timestamp((block.last_ns // MILLISECOND + 1) * MILLISECOND),
    }


async def _advance(cursor: AsyncCursor[Any], block: Block, stored: int) -> None:
    """Advance the stream, and tell the rollups what changed."""
    await cursor.execute(
        query("advance_streams"),
        {
            "channel": CHANNEL_OF[block.kind],
            "instrument_ids": [block.instrument_id],
            "first_times": [timestamp(block.first_ns)],
            "last_times": [timestamp(block.last_ns)],
            "last_sequences": [block.last_sequence],
            "last_received_ats": [timestamp(block.received_ns)],
            "received": [block.rows],
            "stored": [stored],
        },
    )


async def _put(cursor: AsyncCursor[Any], block: Block, told: Told, written: Written) -> None:
    await _put_aside(cursor, list(told.rejects))
    if told.gaps:
        await cursor.execute(query("merge_gaps"), encode_gaps(told.gaps))
    await cursor.execute(
        query("import_advance"),
        {
            "import_id": told.import_id,
            "lines": told.lines,
            "last_place": told.last_place,
            "first_time": timestamp(block.first_ns) if block.rows else None,
            "last_time": timestamp(block.last_ns) if block.rows else None,
            "rows_stored": written.stored,
            "rows_known": written.duplicate,
            "rows_rejected": written.rejected,
            "rows_old": told.old,
        },
    )


def _missing(block: Block, reason: str) -> Gap:
    """What a refused row leaves: it lies within the block's time."""
    channel = CHANNEL_OF[block.kind]
    state: GapState = "open" if channel in ("trades", "candles") else "unrecoverable"
    ends = (block.first_ns, block.last_ns)
    return Gap(
        block.instrument_id, channel, "row rejected", *ends, evidence=reason, state=state, opened_ns=block.received_ns
    )
