"""`ingest import`: files into the database, several at a time; each goes on where it was stopped.

While blocks of a file are on their way to the server, by a few connections, a thread unpacks and turns the next one: of
all that is held there are a few blocks, however long the file is.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from threading import Lock

from msgspec import Struct, structs

from ingest import clock
from ingest.clock import MICROSECOND, SECOND
from ingest.errors import ConfigError, IngestError
from ingest.importing import job as jobs
from ingest.importing import source, table
from ingest.importing.fast import Target
from ingest.importing.job import Job, Request
from ingest.importing.kept import day, edge, fetched, too_old
from ingest.importing.ledger import Kept, Ledger, Progress
from ingest.importing.reader import Read, Reader, Rows
from ingest.importing.run import Run
from ingest.importing.telling import Watermark, refusing, telling
from ingest.records import Instrument
from ingest.retry import rest_calls
from ingest.store.block_writer import Block, BlockWriter, Refuse, Told
from ingest.store.copy_writer import Written
from ingest.store.recompress import Place
from ingest.store.rows import TABLES

_DAY_NS = 86_400 * SECOND

Advance = Callable[[Written], None]
Locate = Callable[[Request, Job], Awaitable[tuple[int, Instrument, str]]]
"""Finds what a job's rows belong to: the instrument with its id, and what the exchange's stream counts as ids."""


class Outcome(Struct, frozen=True):
    """What became of a file. `known_file`: it was imported before, and nothing was read; the figures are of then.

    `place` is where its rows are, None where nothing was read; `old` says of rows that were passed over how many, and
    what stands in the way.
    """

    symbol: str
    written: Written
    seconds: float
    known_file: bool = False
    verified: bool = False
    repaired: int = 0
    place: Place | None = None
    old: str | None = None


class Importer:
    """Imports files, by `workers` connections that they share: one file takes them all. `close` ends them."""

    def __init__(self, url: str, locate: Locate, *, workers: int, block_bytes: int = source.BLOCK_BYTES) -> None:
        self._url = url
        self._locate = locate
        self._room = asyncio.Semaphore(workers)  # of blocks that are held, over all files
        self._block_bytes = block_bytes
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="import")
        self._writers = [BlockWriter(url, role=f"import {number}", instruments={}) for number in range(workers)]
        self._idle = asyncio.Queue[BlockWriter]()
        for writer in self._writers:
            self._idle.put_nowait(writer)

    async def close(self) -> None:
        self._threads.shutdown()
        for writer in self._writers:
            await writer.close()

    async def file(self, path: Path, request: Request, advance: Advance) -> Outcome:
        """Import one file. Raises ConfigError where it is refused, Retryable when the database stays away."""
        started = clock.monotonic_ns()
        loop = asyncio.get_running_loop()
        job = await loop.run_in_executor(self._threads, jobs.plan, path, request)
        sha256 = await loop.run_in_executor(self._threads, source.digest, path)
        verified = source.verify(path, sha256)
        ledger = Ledger(self._url)
        try:
            instrument_id, instrument, counted = await self._locate(request, job)
            layout = job.layout
            await ledger.hold(f"rows {instrument_id}" if layout.numbered else f"{sha256} {instrument_id}")
            kept = await ledger.kept(TABLES[layout.kind].name)
            begun = await self._begin(ledger, job, sha256, instrument_id, instrument, counted, kept)
            if begun.finished:
                written = Written(begun.stored, begun.known, begun.rejected)
                old = too_old(layout, begun.old, kept)
                return Outcome(instrument.symbol, written, 0.0, known_file=True, verified=verified, old=old)
            written, begun = await self._rows(ledger, job, instrument_id, instrument, begun, advance, kept)
            old = too_old(layout, begun.old, kept)
            if old is not None and begun.first_ns is None:
                raise ConfigError(f"{path.name}: {old}")
            span = fetched(job, begun, kept)
            repaired = await ledger.finish(begun, instrument_id, layout.channel, span, path.name)
        finally:
            await ledger.close()
        seconds = (clock.monotonic_ns() - started) / SECOND
        place = None
        if begun.first_ns is not None and begun.last_ns is not None:
            place = Place(TABLES[layout.kind].name, begun.first_ns, begun.last_ns)
        return Outcome(instrument.symbol, written, seconds, verified=verified, repaired=repaired, place=place, old=old)

    async def _begin(
        self,
        ledger: Ledger,
        job: Job,
        sha256: str,
        instrument_id: int,
        instrument: Instrument,
        counted: str,
        kept: Kept | None,
    ) -> Progress:
        layout, name = job.layout, job.path.name
        if kept is not None and job.named.period is not None:
            ends_ns = int(job.named.period.ends.timestamp()) * SECOND
            if ends_ns <= kept.from_ns:
                raise ConfigError(f"{name}: it ends before {day(ends_ns)}, and {edge(layout, kept)}")
        id_space = layout.id_space or counted
        if not await ledger.admit(instrument_id, layout.channel, id_space) and layout.channel == "trades":
            stored = await ledger.stored_ids(instrument_id, layout.channel)
            raise ConfigError(
                f"{name}: its trade ids count {id_space!r}, those stored of {instrument.symbol} count {stored!r}: one "
                "trade would be two rows. Import it into a database where this stream has no such rows."
            )
        size = job.path.stat().st_size
        return await ledger.begin(sha256, instrument_id, layout, name, size, kept)

    async def _rows(
        self,
        ledger: Ledger,
        job: Job,
        instrument_id: int,
        instrument: Instrument,
        begun: Progress,
        advance: Advance,
        kept: Kept | None,
    ) -> tuple[Written, Progress]:
        """Store all rows behind those that are committed; return the whole file's counts, and its first and last."""
        target = Target(instrument_id, instrument.native, begun.started_ns)
        edge_ns = 0 if kept is None else kept.from_ns
        reader = Reader(job.layout, job.columns, target, json_lines=job.is_json, kept_from_ns=edge_ns)
        reads, old = self._reads(job, reader, begun.lines), begun.old
        mark = Watermark(begun.lines, begun.last_place)
        total = Written(begun.stored, begun.known, begun.rejected)
        span, before, days = (begun.first_ns, begun.last_ns), _before(begun), set[int]()
        begins_bad = ends_bad = begun.rejected > 0

        async def store(read: Read, told: Callable[[], Told]) -> None:
            nonlocal total
            written = await self._write(read, told, refusing(job, instrument, begun.started_ns, read))
            mark.committed(read.until)
            total += written
            advance(written)

        try:
            async with asyncio.TaskGroup() as group, aclosing(self._ahead(reads)) as ahead:
                async for read in ahead:
                    block = read.block
                    old += read.old
                    begins_bad = begins_bad or (span[0] is None and read.begins_bad)
                    ends_bad = read.ends_bad
                    if block.rows:
                        span = min(span[0] or block.first_ns, block.first_ns), max(span[1] or 0, block.last_ns)
                        await self._hold_days(ledger, block, days)
                        if job.layout.numbered:
                            await self._refuse_numbered(ledger, job, begun.import_id, read)
                    elif span[0] is None and not old:
                        raise ConfigError(_unlike(job, read))
                    await self._room.acquire()
                    mark.begin(read.until, read.run.last if read.run is not None else None)
                    task = group.create_task(store(read, telling(job, instrument, begun, read, before, mark)))
                    task.add_done_callback(lambda _: self._room.release())  # also of one that never began
                    before = read.run if block.rows else before
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        lines, place = mark.at
        come = structs.replace(begun, lines=lines, last_place=place, old=old, begins_bad=begins_bad, ends_bad=ends_bad)
        return total, structs.replace(come, first_ns=span[0], last_ns=span[1])

    async def _ahead(self, reads: "_Reads") -> AsyncGenerator[Read, None]:
        """What is read, while the next one is being read."""
        loop = asyncio.get_running_loop()
        ahead = loop.run_in_executor(self._threads, next, reads, None)
        try:
            while (read := await ahead) is not None:
                ahead = loop.run_in_executor(self._threads, next, reads, None)
                yield read
        finally:
            with suppress(ConfigError, asyncio.CancelledError):  # what is ahead belongs to a file that is given up
                await ahead
            reads.close()

    def _reads(self, job: Job, reader: Reader, committed: int) -> "_Reads":
        if job.is_parquet:
            parts: Iterator[source.Lines | Rows] = table.rows(job.path, job.layout, skip=committed)
        else:
            skip = max(committed, int(job.header))
            parts = source.lines(job.path, skip=skip, block_bytes=self._block_bytes)
        return _Reads(parts, reader)

    async def _write(self, read: Read, told: Callable[[], Told], refuse: Refuse) -> Written:
        writer = await self._idle.get()
        try:
            async for attempt in rest_calls(attempts=6):
                with attempt:
                    return await writer.write_block(read.block, told(), refuse)
        finally:
            self._idle.put_nowait(writer)
        raise AssertionError  # the last attempt raises

    async def _hold_days(self, ledger: Ledger, block: Block, held: set[int]) -> None:
        """Held until the file is done: of two files that wait for each other the server refuses one."""
        days = sorted({*range(block.first_ns // _DAY_NS, block.last_ns // _DAY_NS + 1)} - held)
        if days:
            await ledger.hold_days(block.instrument_id, days)
            held.update(days)

    async def _refuse_numbered(self, ledger: Ledger, job: Job, import_id: int, read: Read) -> None:
        block = read.block
        other = await ledger.overlapping(
            import_id, block.instrument_id, job.layout.channel, block.first_ns, block.last_ns
        )
        if other is not None:
            raise ConfigError(
                f"{job.path.name}: {other} has brought rows of the same time, and the ids of these files number their "
                "rows: one trade would be two. Import one of them."
            )


class _Reads:
    """Parts of a file as they are read, one `next` at a time; in any thread."""

    def __init__(self, parts: Iterator[source.Lines | Rows], reader: Reader) -> None:
        self._parts = parts
        self._reader = reader
        self._busy = Lock()  # whoever was cancelled does not wait for the thread that still reads

    def __iter__(self) -> "_Reads":
        return self

    def __next__(self) -> Read:
        with self._busy:
            return self._reader.read(next(self._parts))

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        with self._busy:
            if close is not None:
                close()


def _before(begun: Progress) -> Run | None:
    """The last committed row, as a run of one."""
    if begun.last_place is None or begun.last_ns is None:
        return None
    at_us = begun.last_ns // MICROSECOND
    return Run(begun.last_place, begun.last_place, at_us, at_us)


def _unlike(job: Job, read: Read) -> str:
    first = read.bad[0]
    return (
        f"{job.path.name}: none of its first {len(read.bad):,} lines is a row of {job.layout.name} "
        f"(line {first.number}: {first.reason}). Is it another --format, or --symbol?"
    )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what ended a file's tasks, one that has a message for the user, if any has."""
    flat = list[BaseException]()
    waiting: list[BaseException] = [errors]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, IngestError)), flat[0])


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Without the checksums that a glob brings along, each once."""
    return [path for path in dict.fromkeys(paths) if path.suffix != jobs.CHECKSUM]
