"""From the collectors to the writers: a bounded number of rows between receipt and commit.

`put` never waits, so that a frame is taken whole; the reader of a socket asks `full` after each frame and
awaits `room`, and the venue feels it as TCP back-pressure. Nothing is dropped here.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import structlog
from msgspec import Struct
from tenacity import RetryCallState

from ingest import clock, retry
from ingest.errors import Retryable
from ingest.pipeline.batcher import Batch, Batcher, Limits
from ingest.records import Row
from ingest.store.copy_writer import CopyWriter, Record, Written

log = structlog.get_logger()


class Intake(Protocol):
    """Where collectors put rows. `put` takes everything; whoever reads a socket waits for `room` when it is `full`."""

    @property
    def full(self) -> bool: ...

    async def room(self) -> None: ...

    def put(self, records: Iterable[Record]) -> None: ...


class Counts(Struct):
    """Running totals since the start."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    lag_ns: int = 0  # receipt to commit of the latest batch's oldest row


class Pipeline:
    """Batches records and delivers them through `writers`, each batch by the writer that its streams belong to."""

    def __init__(
        self,
        writers: list[CopyWriter],
        limits: Limits,
        *,
        queue_max_rows: int = 500_000,
        queue_max_bytes: int = 512_000_000,
        now_ns: clock.Clock = clock.now_ns,
    ) -> None:
        self._writers = writers
        self._batcher = Batcher(len(writers), limits)
        self._age_seconds = limits.max_age_ns / clock.SECOND
        self._max_rows = queue_max_rows
        self._max_bytes = queue_max_bytes
        self._queued_bytes = 0
        self._now_ns = now_ns
        self._queues: list[deque[Batch]] = [deque() for _ in writers]
        self._arrived = [asyncio.Event() for _ in writers]
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._unbounded = False
        self.held_rows = 0
        self.counts = Counts()

    @property
    def full(self) -> bool:
        over = self.held_rows >= self._max_rows or self._queued_bytes + self._batcher.open_bytes >= self._max_bytes
        return over and not self._unbounded

    async def room(self) -> None:
        """Wait until there is room again. The bound may be passed by the records of one frame."""
        if self.full:
            self._room.clear()
            log.warning("pipeline.full", held_rows=self.held_rows, remedy="the database is slower than the venues")
            await self._room.wait()

    def take_the_rest(self) -> None:
        """Intake is ending: nobody has to wait for room any more, so that what was received comes in."""
        self._unbounded = True
        self._room.set()

    def put(self, records: Iterable[Record]) -> None:
        """Take records. Raises RuntimeError after `close`: intake must end first."""
        if self._closed:
            raise RuntimeError("the pipeline is closed")
        now_ns = self._now_ns()
        add = self._batcher.add
        for record in records:
            self.held_rows += 1
            sealed = add(record, now_ns)
            if sealed is not None:
                self._enqueue(sealed)

    def close(self) -> None:
        """Take nothing more and seal what is here; `deliver` ends when it is delivered."""
        if not self._closed:
            self._closed = True
            self._enqueue_all(self._batcher.seal_all())
            for event in self._arrived:
                event.set()

    async def seal_by_age(self) -> None:
        """Seal batches as they come of age, until `close`."""
        while not self._closed:
            await asyncio.sleep(self._age_seconds / 4)
            self._enqueue_all(self._batcher.due(self._now_ns()))

    async def deliver(self, index: int) -> None:
        """Write this writer's batches in order, trying for ever while the database is away; ends after `close`."""
        queue, arrived, writer = self._queues[index], self._arrived[index], self._writers[index]
        try:
            while True:
                while not queue:
                    if self._closed:
                        return
                    arrived.clear()
                    await arrived.wait()
                written = await self._write(writer, queue[0])
                # Only now is it delivered: had we been cancelled above, it would still count as held.
                self._count(queue.popleft(), written)
        finally:
            await writer.close()

    async def _write(self, writer: CopyWriter, batch: Batch) -> Written:
        """Never gives up: even an error that waiting will not mend may be mended by a person, and the rows are kept."""
        async for attempt in retry.database(_say_retry):
            with attempt:
                return await writer.write(batch.records)
        raise AssertionError("unreachable: the policy never gives up")

    def _count(self, batch: Batch, written: Written) -> None:
        rows = len(batch.records)
        self.held_rows -= rows
        self._queued_bytes -= batch.size_bytes
        self.counts.stored += written.stored
        self.counts.duplicate += written.duplicate
        self.counts.rejected += written.rejected
        self.counts.lag_ns = self._now_ns() - batch.opened_ns
        first = batch.records[0]
        log.debug(
            "batch.committed",
            table=type(first).__name__,
            rows=rows,
            stored=written.stored,
            duplicate=written.duplicate,
            rejected=written.rejected,
            lag_ms=self.counts.lag_ns // clock.MILLISECOND,
        )
        if written.rejected:
            log.warning("rows.rejected", table=type(first).__name__, rows=written.rejected, see="ingest.rejected")
        if self.held_rows <= self._max_rows * 3 // 4 and self._queued_bytes <= self._max_bytes * 3 // 4:
            self._room.set()

    def _enqueue_all(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self._enqueue(batch)

    def _enqueue(self, batch: Batch) -> None:
        if isinstance(batch.records[0], Row):
            self.counts.received += len(batch.records)
        self._queued_bytes += batch.size_bytes
        self._queues[batch.writer].append(batch)
        self._arrived[batch.writer].set()


def _say_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    say = log.warning if isinstance(error, Retryable) else log.error
    say("database.retry", error=str(error), attempt=state.attempt_number)
