"""What the database knows of files: which are read, how far, and what must be known before one is."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from ingest.clock import MINUTE, SECOND
from ingest.importing.layout import ImportChannel, Layout
from ingest.records import Instrument
from ingest.store import database
from ingest.store.rows import timestamp
from ingest.store.sqlfiles import query


class Progress(Struct, frozen=True):
    """How far a file is committed. `last_place` and `last_ns` are those of its last row, None where there is none.

    `begins_bad` and `ends_bad`: a bad line stands, or may stand, before its first row, or behind its last one.
    """

    import_id: int
    finished: bool
    lines: int
    last_place: int | None
    last_ns: int | None
    started_ns: int
    stored: int
    known: int
    rejected: int
    old: int
    first_ns: int | None
    begins_bad: bool = False
    ends_bad: bool = False


class Kept(Struct, frozen=True):
    """A table's retention: what is before `from_ns` is past it."""

    from_ns: int
    figure: timedelta


class Ledger:
    """One connection, whose locks keep a file to one reader. Its calls raise Retryable while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def find(self, exchange: str, symbol: str, kinds: tuple[str, ...]) -> list[tuple[int, Instrument]]:
        """Instruments by unified or native symbol, living ones first."""
        rows = await self._fetch(
            "import_instrument", {"exchange": exchange, "symbol": symbol, "kinds": list(kinds) or None}
        )
        return [(row[0], Instrument(*row[1:])) for row in rows]

    async def stored_ids(self, instrument_id: int, channel: ImportChannel) -> str | None:
        """What the ids of the stream count; None where there is no such stream yet."""
        rows = await self._fetch("import_stream_ids", {"instrument_id": instrument_id, "channel": channel})
        return rows[0][0] if rows else None

    async def admit(self, instrument_id: int, channel: ImportChannel, id_space: str) -> bool:
        """Make the stream known; False where its stored ids count something else."""
        named = {"instrument_id": instrument_id, "channel": channel, "id_space": id_space}
        return bool(await self._fetch("import_stream", named))

    async def kept(self, table: str) -> Kept | None:
        rows = await self._fetch("import_kept", {"table": table})
        return Kept(*rows[0]) if rows else None

    async def hold(self, name: str) -> None:
        """Wait until no other reader holds this name, and hold it until `close`."""
        await self._fetch("import_hold", {"name": name})

    async def hold_days(self, instrument_id: int, days: list[int]) -> None:
        """The same for all other files with rows of these days (since the epoch) of the instrument."""
        await self._fetch("import_hold_days", {"instrument_id": instrument_id, "days": days})

    async def begin(
        self, sha256: str, instrument_id: int, layout: Layout, file_name: str, file_bytes: int, kept: Kept | None
    ) -> Progress:
        """How far the file is: not at all where rows of it were too old, or are gone, and would stay with what is
        `kept` now.
        """
        known = {
            "sha256": sha256,
            "instrument_id": instrument_id,
            "channel": layout.channel,
            "layout": layout.name,
            "kept_from": None
            if kept is None
            else timestamp(max(kept.from_ns, SECOND)),  # a century reaches before 1970
        }
        await self._fetch("import_forget", known)
        rows = await self._fetch("import_begin", {**known, "file_name": file_name, "file_bytes": file_bytes})
        return Progress(*rows[0])

    async def overlapping(
        self, import_id: int, instrument_id: int, channel: ImportChannel, first_ns: int, last_ns: int
    ) -> str | None:
        """The name of another file of the instrument with rows of these times."""
        rows = await self._fetch(
            "import_overlaps",
            {
                "import_id": import_id,
                "instrument_id": instrument_id,
                "channel": channel,
                "from_time": timestamp(first_ns),
                "to_time": timestamp(last_ns),
            },
        )
        return rows[0][0] if rows else None

    async def finish(
        self, come: Progress, instrument_id: int, channel: ImportChannel, span: tuple[int, int] | None, file_name: str
    ) -> int:
        """The file is whole, and `span` (inclusive) fetched; return how many gaps that repaired."""
        from_ns, to_ns = span or (None, None)
        connection = await self._connected()
        try:
            async with connection.transaction():
                await connection.execute(
                    query("import_finish"),
                    {
                        "import_id": come.import_id,
                        "lines": come.lines,
                        "last_place": come.last_place,
                        "from_time": None if from_ns is None else timestamp(from_ns),
                        "to_time": None if to_ns is None else timestamp(to_ns),
                    },
                )
                cursor = await connection.execute(
                    query("import_settle"),
                    {
                        "instrument_id": instrument_id,
                        "channel": channel,
                        "detail": f"imported from {file_name}",
                    },
                )
        except psycopg.Error as error:
            raise database.translate(error) from error
        return cursor.rowcount

    async def _fetch(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        try:
            cursor = await (await self._connected()).execute(query(name), parameters)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise database.translate(error) from error

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self.close()
            self._connection = await database.connect(self._url, role="import ledger")
        return self._connection


def span_of(channel: ImportChannel, starts: datetime, ends: datetime) -> tuple[int, int]:
    """A half-open period as the ledger has it: both ends inclusive, of candles the opens of its minutes."""
    first_ns, after_ns = int(starts.timestamp()) * 10**9, int(ends.timestamp()) * 10**9
    return first_ns, after_ns - (MINUTE if channel == "candles" else 1_000)
