"""What is asked for of history, against what the database holds: the windows that are missing, and how far they are."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from ingest.clock import MICROSECOND
from ingest.records import Channel, Timeframe
from ingest.store import database
from ingest.store.gap_parts import execute, fetch_all, time_text
from ingest.store.queue import add_windows, encode_ranges
from ingest.store.sqlfiles import query
from ingest.store.window import LENGTHS, Range, Window

_WINDOWS_AT_ONCE = 1_000
_FAILED_SHOWN = 1_000

Cut = Callable[[Iterable[tuple[int, int]]], Iterable[Window]]
"""Windows of half-open parts of a range, in nanoseconds, in order."""


class Kept(Struct, frozen=True):
    """How long rows of a table are kept; `since` is None where it is for ever."""

    table: str
    figure: timedelta | None
    since: datetime | None
    now: datetime


class Progress(Struct, frozen=True):
    """Windows of one range: unfinished, and those that have ended since the run began, with what they brought."""

    waiting: int
    done: int
    failed: int
    cancelled: int
    stored: int
    known: int
    error: str | None = None  # of one that waits
    remarks: str | None = None


class Failed(Struct, frozen=True):
    """A window that could not be fetched; `place` is its range's."""

    place: int
    job_id: int
    from_time: datetime | None
    to_time: datetime | None
    from_id: int | None
    to_id: int | None
    error: str | None


class Standing(Struct, frozen=True):
    """All windows of backfills of one stream, by state."""

    exchange: str
    symbol: str
    channel: Channel
    timeframe: Timeframe | None
    waiting: int
    claimed: int
    done: int
    failed: int
    cancelled: int
    stored: int
    known: int
    from_time: datetime | None
    to_time: datetime | None
    finished_at: datetime | None
    workers: str | None
    error: str | None
    instrument_id: int


class Backfills:
    """One connection. Every call opens what it needs, and raises Retryable while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def kept(self, table: str) -> Kept:
        async with self._transaction() as connection:
            statement = "SELECT now(), (SELECT retention FROM ingest.policies WHERE table_name = %s)"
            row = await (await connection.execute(statement, [table])).fetchone()
        assert row is not None  # noqa: S101 - it has no condition
        now, figure = row
        return Kept(table, figure, None if figure is None else now - figure, now)

    async def known(self, exchange: str) -> dict[str, int]:
        """Ids of an exchange's instruments by symbol."""
        async with self._transaction() as connection:
            rows = await fetch_all(connection, "backfill_instruments", exchange=exchange)
        return dict(rows)

    async def queue(self, asked: Range, cut: Cut, *, page: int, by_id: bool) -> int:
        """Queue what is missing of a range, and what failed; return how many windows were put there.

        Whoever plans the same stream at the same time waits, and finds nothing missing.
        """
        async with self._transaction() as connection:
            await execute(connection, "queue_lock", instrument_id=asked.instrument_id)
            ((queued,),) = await fetch_all(connection, "backfill_retry_failed", **encode_ranges([asked]))
            async for windows in self._missing(connection, asked, cut, page=page, by_id=by_id):
                await add_windows(connection, "backfill", [(None, window) for window in windows])
                queued += len(windows)
        return int(queued)

    async def missing(self, asked: Range, cut: Cut, *, page: int, by_id: bool) -> AsyncIterator[list[Window]]:
        """The windows that `queue` would add, some at a time."""
        async with self._transaction() as connection:
            async for windows in self._missing(connection, asked, cut, page=page, by_id=by_id):
                yield windows

    @staticmethod
    async def _missing(
        connection: AsyncConnection, asked: Range, cut: Cut, *, page: int, by_id: bool
    ) -> AsyncIterator[list[Window]]:
        length_ns = LENGTHS[asked.timeframe] if asked.channel == "candles" else MICROSECOND
        parameters: dict[str, Any] = {
            "instrument_id": asked.instrument_id,
            "channel": asked.channel,
            "timeframe": asked.timeframe,
            "from_time": time_text(asked.from_ns),
            "to_time": time_text(asked.to_ns),
            "step": timedelta(microseconds=length_ns // MICROSECOND),
            "page": page,
            "by_id": by_id,
        }
        name = "backfill_missing" if asked.timeframe == "1m" else "backfill_missing_coarse"
        parts = await (await connection.execute(query(name), parameters)).fetchall()
        windows: list[Window] = []
        for window in cut(parts):
            windows.append(window)
            if len(windows) == _WINDOWS_AT_ONCE:
                yield windows
                windows = []
        if windows:
            yield windows

    async def progress(self, ranges: Sequence[Range], since: datetime) -> list[Progress]:
        """Of each range, in order."""
        async with self._transaction() as connection:
            rows = await fetch_all(connection, "backfill_progress", since=since, **encode_ranges(ranges))
        return [Progress(*row[1:]) for row in rows]

    async def failed(self, ranges: Sequence[Range]) -> list[Failed]:
        async with self._transaction() as connection:
            rows = await fetch_all(connection, "backfill_failed", count=_FAILED_SHOWN, **encode_ranges(ranges))
        return [Failed(row[0] - 1, *row[1:]) for row in rows]

    async def close_gaps(self, ranges: Sequence[Range]) -> int:
        """Call gaps `repaired` that the ranges' windows have closed; return how many."""
        async with self._transaction() as connection:
            cursor = await connection.execute(query("backfill_close_gaps"), encode_ranges(ranges))
            return cursor.rowcount

    async def release_dead(self) -> int:
        """Free what ended processes of this machine had claimed, without waiting for the claims to expire."""
        host = socket.gethostname()
        async with self._transaction() as connection:
            rows = await fetch_all(connection, "backfill_dead_claims", host=host)
            dead = [worker for (worker,) in rows if not _runs(worker, host)]
            cursor = await connection.execute(query("backfill_release"), {"workers": dead})
            return cursor.rowcount

    async def rollups_wait(self, instrument_ids: Sequence[int]) -> bool:
        """Whether rows of these instruments are not rolled up yet."""
        async with self._transaction() as connection:
            ((waiting,),) = await fetch_all(connection, "backfill_rollups_wait", instrument_ids=list(instrument_ids))
        return bool(waiting)

    async def standings(self) -> list[Standing]:
        async with self._transaction() as connection:
            return [Standing(*row) for row in await fetch_all(connection, "backfill_status")]

    async def cancel(self, instrument_ids: Sequence[int], channel: Channel | None) -> int:
        """Give up unfinished windows; what they brought stays."""
        return await self._change("backfill_cancel", instrument_ids, channel)

    async def retry(self, instrument_ids: Sequence[int], channel: Channel | None) -> int:
        """Put failed windows back on the queue."""
        return await self._change("backfill_retry", instrument_ids, channel)

    async def _change(self, name: str, instrument_ids: Sequence[int], channel: Channel | None) -> int:
        async with self._transaction() as connection:
            ((count,),) = await fetch_all(connection, name, instrument_ids=list(instrument_ids), channel=channel)
        return int(count)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            if self._connection is None or self._connection.broken or self._connection.closed:
                self._connection = await database.connect(self._url, role="backfill")
            async with self._connection.transaction():
                yield self._connection
        except psycopg.Error as error:
            raise database.translate(error) from error


def worker_name(number: int) -> str:
    """Of this process's workers, as claims bear it."""
    return f"{socket.gethostname()}:{os.getpid()} backfill {number}"


def moment_ns(moment: datetime) -> int:
    """A time with a zone, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * MICROSECOND


def _runs(worker: str, host: str) -> bool:
    """Whether the process of a claim lives. This one's are from before its start: it has claimed nothing yet."""
    number = worker.removeprefix(f"{host}:").partition(" ")[0]
    if not number.isdigit() or int(number) == os.getpid():
        return not number.isdigit()
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
