"""What only the database, or the spool's disk, can tell: asked for at a modest pace, kept for whoever scrapes."""

import asyncio
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import structlog
from msgspec import Struct, field
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from psycopg import AsyncConnection

from ingest.clock import SECOND, monotonic_ns
from ingest.errors import IngestError
from ingest.operate.catalogue import METRICS
from ingest.operate.health import Part, Parts
from ingest.store import database
from ingest.store.sqlfiles import query, read_folder, sql_root

log = structlog.get_logger()

EVERY_SECONDS = 15.0
_TABLES_SECONDS = 300.0  # sizes of thousands of chunks cost the server something
_PATIENCE_SECONDS = 30.0


class _Told(Struct):
    """The latest answers; empty before the first one."""

    up: bool = False
    error: str = ""
    schema: str = ""
    breaks: str = ""
    gaps: list[tuple[str, str, str, int, float]] = field(default_factory=list)
    jobs: list[tuple[str, int]] = field(default_factory=list)
    tables: list[tuple[str, int, int | None, int]] = field(default_factory=list)


class Figures(Collector):
    """`run` asks for ever; `collect` gives what was answered last."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._told = _Told()
        self._tables_due_ns = 0
        self._connection: AsyncConnection | None = None

    def parts(self) -> Parts:
        """The database, and its schema, by the latest question."""
        told = self._told
        return {
            "database": Part(told.up, "answers" if told.up else told.error or "not asked yet"),
            "schema": schema_part(told.schema, told.breaks, _newest_migration()),
        }

    async def run(self) -> None:
        """Until cancelled; what fails is tried again."""
        try:
            while True:
                await self.ask()
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            await self._close()

    async def ask(self) -> None:
        """Once. Never raises: without an answer the database counts as away."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._ask_database()
            self._told.up, self._told.error = True, ""
        except (IngestError, psycopg.Error, TimeoutError, OSError) as error:
            self._told.up, self._told.error = False, str(error) or "no answer in time"
            await self._close()
            log.debug("figures.not_told", error=str(error))
        except Exception:
            self._told.up, self._told.error = False, "its figures cannot be read; see the log"
            log.exception("figures.crashed")  # collecting goes on without them

    async def _ask_database(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await database.connect(self._url, role="metrics")
        ((self._told.schema, self._told.breaks),) = await self._rows("newest_migration")
        self._told.gaps = await self._rows("metrics_gaps")
        self._told.jobs = await self._rows("metrics_jobs")
        if monotonic_ns() >= self._tables_due_ns:
            self._told.tables = await self._rows("metrics_tables")
            self._tables_due_ns = monotonic_ns() + int(_TABLES_SECONDS * SECOND)

    async def _rows(self, name: str) -> list[Any]:
        assert self._connection is not None  # noqa: S101 - its caller has made it
        return await (await self._connection.execute(query(name))).fetchall()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # For Prometheus

    def collect(self) -> Iterator[Metric]:
        told = self._told
        up = METRICS["ingest_database_up"].family()
        up.add_metric((), float(told.up))
        yield up
        gaps, oldest = METRICS["ingest_gaps"].family(), METRICS["ingest_gap_oldest_seconds"].family()
        ages: dict[str, float] = {}
        for exchange, channel, state, count, age in told.gaps:
            gaps.add_metric((exchange, channel, state), count)
            ages[exchange] = max(ages.get(exchange, 0.0), age)
        for exchange, age in ages.items():
            oldest.add_metric((exchange,), age)
        yield from (gaps, oldest)
        failing = METRICS["ingest_jobs_failing"].family()
        for table, count in told.jobs:
            failing.add_metric((table,), count)
        yield failing
        yield from self._sizes()

    def _sizes(self) -> Iterator[Metric]:
        sizes, chunks = METRICS["ingest_table_bytes"].family(), METRICS["ingest_table_chunks"].family()
        whole, free = METRICS["ingest_database_bytes"].family(), METRICS["ingest_disk_free_bytes"].family()
        for table, size, count, _ in self._told.tables:
            sizes.add_metric((table,), size)
            if count is not None:
                chunks.add_metric((table,), count)
        for *_, database_bytes in self._told.tables[:1]:
            whole.add_metric((), database_bytes)
        if self._folder.exists():
            free.add_metric((), shutil.disk_usage(self._folder).free)
        yield from (sizes, chunks, whole, free)


def schema_part(found: str, breaks: str, wanted: str) -> Part:
    """From the newest migration of the database, the newest that breaks earlier programs, and our own newest one."""
    if not found:
        return Part(ok=False, detail="not known yet")
    if found < wanted:
        return Part(ok=False, detail=f"{found}, and this program wants {wanted}: `ingest migrate`")
    if breaks > wanted:
        return Part(ok=False, detail=f"{breaks} is a later version's, which this program cannot work with")
    return Part(ok=True, detail=found)


@cache
def _newest_migration() -> str:
    return read_folder(sql_root() / "migrations")[-1].name
