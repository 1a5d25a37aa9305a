"""The database's upkeep: rollups brought up to date and old rows dropped, as `ingest.policies` says.

A task of the daemon, and `ingest maintain` for cron. Any number of processes may run it: an advisory lock lets one
at a time. It works on a connection of its own, in autocommit, as the owner of the tables where it may.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import psycopg
import structlog
from msgspec import Struct, field
from psycopg import AsyncConnection
from rich.console import Console

from ingest import clock
from ingest.clock import SECOND, Clock
from ingest.errors import Exit, Fatal, IngestError
from ingest.retry import Backoff
from ingest.store import database, retention, rollup
from ingest.store.roles import become_owner
from ingest.store.rollup import Situation
from ingest.store.sqlfiles import query
from ingest.terminal import cell

log = structlog.get_logger()

LOCK = 0x1A6E58
"""The advisory lock of whoever maintains this database."""

_QUICK = ("candles",)  # few rows: they are looked at thrice as often
_SLOW = ("trades", "book")
_RETENTION_SECONDS = 3_600.0
_FORBIDDEN_SECONDS = 300.0
_SETTINGS = "SET lock_timeout = '10s'; SET max_parallel_workers_per_gather = 0"  # collecting goes first


class Forbidden(Fatal):
    """The login may write, and maintenance is another's."""


class Done(Struct, frozen=True):
    """What a pass did. Under Community the server's own jobs do the rest."""

    buckets: int = 0
    requests: int = 0
    chunks: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Maintenance:
    """`run` maintains for ever; `once` makes one whole pass. `close` ends the connection."""

    def __init__(self, url: str, *, now: Clock = clock.monotonic_ns) -> None:
        self._url = url
        self._now = now
        self._connection: AsyncConnection | None = None
        self._every_seconds = 60.0
        self._slow_due_ns = self._retention_due_ns = 0

    async def run(self) -> None:
        """Until cancelled. Whatever fails is logged and tried again."""
        backoff, forbidden = Backoff(first_seconds=5.0, cap_seconds=300.0), False
        try:
            while True:
                pause = 0.0
                try:
                    done = await self.step()
                    backoff.reset()
                    if done is not None:
                        _say(done)
                except Forbidden as error:
                    if not forbidden:
                        log.warning("maintenance.forbidden", error=str(error))
                    forbidden, pause = True, _FORBIDDEN_SECONDS
                except IngestError as error:
                    log.warning("maintenance.failed", error=str(error), remedy="it is tried again; see `ingest doctor`")
                    pause = backoff.next_seconds()
                except Exception:
                    log.exception("maintenance.crashed")
                    pause = backoff.next_seconds()
                await asyncio.sleep(max(self._every_seconds / 3, pause))
        finally:
            await self.close()

    async def once(self) -> Done | None:
        """All there is to do; None when another process is at it."""
        self._slow_due_ns = self._retention_due_ns = 0
        return await self.step()

    async def step(self) -> Done | None:
        """What is due now; None when another process is at it. Raises Retryable or Fatal."""
        try:
            connection = await self._connected()
            if not await _lock(connection):
                return None
            try:
                return await self._pass(connection)
            finally:
                if not (connection.closed or connection.broken):
                    await connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        except psycopg.Error as error:
            await self.close()
            raise database.translate(error) from error
        except (Forbidden, asyncio.CancelledError):
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _pass(self, connection: AsyncConnection) -> Done:
        now, moment = await rollup.look(connection), self._now()
        if not now.policies:
            raise Fatal("ingest.policies is empty: `ingest migrate`")
        self._every_seconds = _refresh_every(now).total_seconds()
        slow = moment >= self._slow_due_ns
        buckets = await rollup.refresh_changed(connection, now, (*_QUICK, *_SLOW) if slow else _QUICK)
        if slow:
            self._slow_due_ns = moment + int(self._every_seconds * SECOND)
        requests, errors = await rollup.refresh_requested(connection, now)
        await _note(connection, "refresh", now, errors)
        chunks: dict[str, int] = {}
        rows: dict[str, int] = {}
        if slow:
            await retention.note_removals(connection)
        if moment >= self._retention_due_ns:
            chunks = await retention.drop_chunks(connection, now)
            rows = await retention.delete_rows(connection)
            await _note(connection, "retention", now)
            self._retention_due_ns = moment + int(_RETENTION_SECONDS * SECOND)
        return Done(buckets, requests, chunks, rows, errors)

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self.close()
            self._connection = await database.connect(self._url, role="maintenance")
            await self._connection.execute(_SETTINGS)
            await become_owner(self._connection)
            await _check_rights(self._connection)
        return self._connection


async def _note(connection: AsyncConnection, policy: str, now: Situation, errors: Sequence[str] = ()) -> None:
    """For `ingest.policy_jobs` and `ingest doctor`: this part has run."""
    said = {"policy": policy, "started_at": now.now, "error": "; ".join(errors) or None}
    await connection.execute(query("note_maintenance"), said)


def once(url: str, console: Console) -> Exit:
    """`ingest maintain`: one pass, and what it did. FAILED when a refresh that was requested failed."""

    async def work() -> Done | None:
        maintenance = Maintenance(url)
        try:
            return await maintenance.once()
        finally:
            await maintenance.close()

    done = asyncio.run(work())
    if done is None:
        console.print("another process is maintaining this database: nothing was done")
        return Exit.OK
    console.print(f"{done.buckets:,} buckets rolled up, {done.requests:,} requested refreshes made")
    for counts, what in ((done.chunks, "chunks dropped"), (done.rows, "rows deleted")):
        for table, count in counts.items():
            console.print(f"{table}: {count:,} {what}")
    for error in done.errors:
        console.print(cell("failed", "red").append_text(cell(f": {error}", "not red")))
    return Exit.FAILED if done.errors else Exit.OK


async def _check_rights(connection: AsyncConnection) -> None:
    row = await (await connection.execute(query("may_maintain"))).fetchone()
    if row is None:
        raise Fatal("there is no table ingest.policies: run `ingest migrate`")
    if not row[0]:
        raise Forbidden(
            "this login may not maintain the database: it does not own its tables. GRANT it ingest_maintainer, or let "
            "cron run `ingest maintain` by a login that has it."
        )


async def _lock(connection: AsyncConnection) -> bool:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
    return row is not None and bool(row[0])


def _refresh_every(now: Situation) -> timedelta:
    return min(policy.refresh_every for policy in now.policies.values() if policy.refresh_every)


def _say(done: Done) -> None:
    for error in done.errors:
        log.warning("maintenance.request_failed", error=error, remedy="it is tried again; see ingest.refresh_requests")
    if done.requests or done.chunks or done.rows:
        log.info("maintenance.done", requests=done.requests, chunks_dropped=done.chunks, rows_deleted=done.rows)
