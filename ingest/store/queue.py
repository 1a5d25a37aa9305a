"""The queue of windows to fetch by REST, shared by any number of processes, and the life of the gaps they close."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Self

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from ingest.errors import IngestError
from ingest.store import database
from ingest.store.gap_parts import Fetched, Lost, Settled, conclude, execute, fetch_all, settle, shown, time_text
from ingest.store.window import Range, Window

Purpose = Literal["repair", "backfill"]
PURPOSES: tuple[Purpose, ...] = ("repair", "backfill")


class Job(Struct, frozen=True):
    """A window that `worker` has claimed. `attempts` counts the tries since the last one that brought something."""

    job_id: int
    purpose: Purpose
    attempts: int
    window: Window
    worker: str


class Planned(Struct, frozen=True):
    """A gap that was taken up, and the windows that were queued for it."""

    span: Window
    windows: int


class Count(Struct, frozen=True):
    """Jobs in one state; `waiting_seconds` is the age of the oldest unfinished one."""

    purpose: Purpose
    state: str
    jobs: int
    waiting_seconds: float | None


Plan = Callable[[Window], Sequence[Window]]


class Queue:
    """One connection. Every call opens what it needs, raises Retryable while the database is away, and may be made
    again when it is not known whether it took effect.
    """

    def __init__(self, url: str, *, role: str = "queue") -> None:
        self._url = url
        self._role = role
        self._connection: AsyncConnection | None = None
        self._one = asyncio.Lock()  # transactions of one connection must not mix

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # Into the queue

    async def take_gaps(
        self, instrument_ids: Sequence[int], plan: Plan, *, count: int = 100
    ) -> tuple[list[Planned], Settled]:
        """Queue the windows of open gaps whose end is known.

        Gaps that have no window left, because nothing was missing or a crash kept them from being closed, are closed.
        """
        async with self._transaction() as connection:
            found = await fetch_all(connection, "queue_open_gaps", instrument_ids=list(instrument_ids), count=count)
            gaps = {gap_id: Window(*span) for gap_id, *span in found}
            planned = {gap_id: plan(span) for gap_id, span in gaps.items()}
            if gaps:
                pairs = [(gap_id, window) for gap_id, windows in planned.items() for window in windows]
                await add_windows(connection, "repair", pairs)
                await execute(connection, "queue_begin_gaps", gap_ids=list(gaps))
            repaired = await settle(connection, instrument_ids)
        return [Planned(gaps[gap_id], len(windows)) for gap_id, windows in planned.items()], Settled(repaired, [])

    # Out of it

    async def claim(
        self,
        instrument_ids: Sequence[int],
        worker: str,
        *,
        count: int = 1,
        seconds: float = 120.0,
        purposes: Sequence[Purpose] = PURPOSES,
        ranges: Sequence[Range] | None = None,
    ) -> list[Job]:
        """Windows that are due, for `seconds`: repairs first, then the oldest. No two callers get the same one.

        With `ranges` of those alone that reach into one of them.
        """
        async with self._transaction() as connection:
            rows = await fetch_all(
                connection,
                "queue_claim",
                instrument_ids=list(instrument_ids),
                worker=worker,
                count=count,
                seconds=seconds,
                purposes=list(purposes),
                **encode_ranges(ranges),
            )
        return [Job(job_id, purpose, attempts, Window(*span), worker) for job_id, purpose, attempts, *span in rows]

    async def extend(self, job: Job, seconds: float) -> bool:
        """Keep a claim for `seconds` from now; False when it has passed to another worker."""
        async with self._transaction() as connection:
            return bool(
                await fetch_all(connection, "queue_extend", job_id=job.job_id, worker=job.worker, seconds=seconds)
            )

    @asynccontextmanager
    async def keep(self, job: Job, seconds: float) -> AsyncIterator[None]:
        """Keep a claim as long as the work on it lasts: fifty pages of a slow venue take longer than it was made for.

        Else another worker would begin anew, and lose it in its turn. What cannot be said to the database now is said
        a little later, or the claim expires.
        """
        keeper = asyncio.create_task(self._keep(job, seconds))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, job: Job, seconds: float) -> None:
        is_held = True
        while is_held:
            await asyncio.sleep(seconds / 4)
            with suppress(IngestError):
                is_held = await self.extend(job, seconds)

    async def identify(self, job: Job, span: Window, windows: Sequence[Window]) -> bool:
        """A window that went by time goes by id from now on, as these `windows`; so does its gap.

        It is done itself: its time holds these ids and no others, and what of them cannot be had will be named.
        False, and nothing is done, when the claim has passed to another worker.
        """
        async with self._held(job) as held:
            if held is None:
                return False
            connection, gap_id = held
            ids = (span.from_id, span.to_id, gap_id)
            await connection.execute("UPDATE ingest.gaps SET from_id = %s, to_id = %s WHERE gap_id = %s", ids)
            await add_windows(connection, job.purpose, [(gap_id, window) for window in windows])
            await _end(connection, job, Fetched(), state="done", error="its ids are known: it goes on by id")
            return True

    async def cut(self, job: Job, first: int, last: int, page: int) -> bool:
        """A backfill's window that went by time goes by id from now on, in windows of `page` ids.

        It is done when they are, and until then nobody counts its time as fetched. The server makes them: they may be
        many. False, and nothing is done, when the claim has passed to another worker.
        """
        async with self._held(job) as held:
            if held is not None:
                ids = {"from_id": first, "to_id": last, "page": page}
                await execute(held[0], "queue_cut", job_id=job.job_id, **ids)
            return held is not None

    # The next five do nothing, and return None, when the claim has passed to another worker.

    async def finish(
        self, job: Job, fetched: Fetched, lost: Sequence[Lost] = (), *, remark: str | None = None
    ) -> Settled | None:
        """All that can be had of the window is stored, or is in `lost`."""
        return await self._end(job, fetched, lost, state="done", error=remark)

    async def fail(self, job: Job, lost: Lost) -> Settled | None:
        """The window cannot be fetched; `lost` says what becomes of it.

        A backfill's is only reported: nobody has missed it before, and the next backfill of its range tries it again.
        """
        named = () if job.purpose == "backfill" else (lost,)
        return await self._end(job, Fetched(), named, state="failed", error=lost.detail)

    async def begin_at(self, job: Job, first_ns: int, fetched: Fetched, remark: str) -> Settled | None:
        """A venue's candles begin at `first_ns`, in a backfill's window or behind it: before it nothing is missing.

        That is so for the stream's other windows, too.
        """
        async with self._held(job) as held:
            if held is None:
                return None
            connection, gap_id = held
            await _end(connection, job, fetched, state="done", error=remark)
            before = {"first_time": time_text(first_ns), "error": shown(remark)}
            await execute(connection, "queue_before_listing", job_id=job.job_id, **before)
            return await conclude(connection, gap_id, job.window, fetched, ())

    async def advance(
        self, job: Job, rest: Window, fetched: Fetched, lost: Sequence[Lost] = (), *, seconds: float, error: str
    ) -> Settled | None:
        """All that can be had of the window before `rest`, its last part, is stored; `rest` is tried in `seconds`."""
        part = job.window.before(rest)
        assert part is not None  # noqa: S101 - else nothing has advanced, and it is to be postponed
        async with self._held(job) as held:
            if held is None:
                return None
            connection, gap_id = held
            await execute(
                connection,
                "queue_part_done",
                job_id=job.job_id,
                from_time=time_text(rest.from_ns),
                from_id=rest.from_id,
                error=shown(error),
                seconds=seconds,
                part_from_time=time_text(part.from_ns if part.from_id is None else fetched.first_ns or part.from_ns),
                part_to_time=time_text(part.to_ns if part.from_id is None else fetched.last_ns or part.to_ns),
                part_from_id=part.from_id,
                part_to_id=part.to_id,
                rows_stored=fetched.stored,
                rows_known=fetched.known,
            )
            return await conclude(connection, gap_id, part, fetched, lost)

    async def postpone(self, job: Job, seconds: float, error: str | None, *, counted: bool = False) -> None:
        """Give it back, to be tried in `seconds`; `counted` where the try counts against it."""
        async with self._transaction() as connection:
            await execute(
                connection,
                "queue_postpone",
                job_id=job.job_id,
                worker=job.worker,
                seconds=seconds,
                error=None if error is None else shown(error),
                counted=int(counted),
            )

    async def release(self, job: Job) -> None:
        """Give it back untried."""
        await self.postpone(job, 0.0, None)

    async def counts(self) -> list[Count]:
        """How many windows are in which state."""
        async with self._transaction() as connection:
            return [Count(*row) for row in await fetch_all(connection, "queue_counts")]

    async def _end(
        self, job: Job, fetched: Fetched, lost: Sequence[Lost], *, state: str, error: str | None
    ) -> Settled | None:
        async with self._held(job) as held:
            if held is None:
                return None
            connection, gap_id = held
            await _end(connection, job, fetched, state=state, error=error)
            return await conclude(connection, gap_id, job.window, fetched, lost)

    @asynccontextmanager
    async def _held(self, job: Job) -> AsyncIterator[tuple[AsyncConnection, int | None] | None]:
        """A transaction in which the claim holds, and its gap; None when it does not hold any more."""
        async with self._transaction() as connection:
            await execute(connection, "queue_lock", instrument_id=job.window.instrument_id)
            rows = await fetch_all(connection, "queue_held", job_id=job.job_id, worker=job.worker)
            yield (connection, rows[0][0]) if rows else None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._one:
            try:
                if self._connection is None or self._connection.broken or self._connection.closed:
                    await self.close()
                    self._connection = await database.connect(self._url, role=self._role)
                async with self._connection.transaction():
                    yield self._connection
            except psycopg.Error as error:
                await self.close()
                raise database.translate(error) from error


async def _end(connection: AsyncConnection, job: Job, fetched: Fetched, *, state: str, error: str | None) -> None:
    await execute(
        connection,
        "queue_end",
        job_id=job.job_id,
        state=state,
        error=None if error is None else shown(error),
        rows_stored=fetched.stored,
        rows_known=fetched.known,
        first_time=time_text(fetched.first_ns),
        last_time=time_text(fetched.last_ns),
    )
    await execute(connection, "queue_join", job_id=job.job_id)


async def add_windows(
    connection: AsyncConnection, purpose: Purpose, windows: Sequence[tuple[int | None, Window]]
) -> None:
    await execute(
        connection,
        "queue_add",
        purpose=purpose,
        gap_ids=[gap_id for gap_id, _ in windows],
        instrument_ids=[window.instrument_id for _, window in windows],
        channels=[window.channel for _, window in windows],
        from_times=[time_text(window.from_ns) for _, window in windows],
        to_times=[time_text(window.to_ns) for _, window in windows],
        from_ids=[window.from_id for _, window in windows],
        to_ids=[window.to_id for _, window in windows],
        timeframes=[None if window.timeframe == "1m" else window.timeframe for _, window in windows],
    )


def encode_ranges(ranges: Sequence[Range] | None) -> dict[str, Any]:
    """For `queue_claim` and the statements of a backfill; None: no bounds at all."""
    if ranges is None:
        return dict.fromkeys(("range_ids", "range_channels", "range_timeframes", "range_froms", "range_tos"))
    return {
        "range_ids": [each.instrument_id for each in ranges],
        "range_channels": [each.channel for each in ranges],
        "range_timeframes": [each.stored_timeframe for each in ranges],
        "range_froms": [time_text(each.from_ns) for each in ranges],
        "range_tos": [time_text(each.to_ns) for each in ranges],
    }
