"""From the collectors to the writers: bounded in memory, and beyond that on disk.

`put` never waits, so that a frame is taken whole; the reader of a socket asks `full` after each frame and awaits
`room`, and the venue feels it as TCP back-pressure. Nothing is dropped here: batches that the database does not take
(it is away, or slower than the venues) go to the spool, in order, and only when the spool is full too does intake wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

from msgspec import Struct

from ingest import clock, events, retry
from ingest.errors import IngestError, Retryable
from ingest.pipeline.batch import Batch
from ingest.pipeline.batcher import Batcher, Limits
from ingest.pipeline.inherited import Inherited, Key, inherited
from ingest.pipeline.parcel import NAME_OF
from ingest.pipeline.spool import Spool, SpoolError
from ingest.records import Gap, Item, Mark
from ingest.store.copy_writer import CopyWriter, Written

_SPILL_SECONDS = 0.05
_SPILLED_AT_ONCE = 8  # batches in one call: each call waits for the disk
_FULL_SECONDS = 1.0
_BLOCKED_SECONDS = 0.1

Result = TypeVar("Result")


class Intake(Protocol):
    """Where collectors put rows. `put` takes everything; whoever reads a socket waits for `room` when it is `full`."""

    @property
    def full(self) -> bool: ...

    async def room(self) -> None: ...

    def put(self, items: Iterable[Item]) -> None: ...


class Counts(Struct):
    """Running totals since the start."""

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    spooled: int = 0
    lag_ns: int = 0  # receipt to commit of the latest batch's oldest row


class _Lane:
    """One writer's way: the batches that wait in memory, behind those of it that are on disk."""

    def __init__(self, writer: CopyWriter) -> None:
        self.writer = writer
        self.queue: deque[Batch] = deque()
        self.arrived = asyncio.Event()
        self.spills = 0  # how often something went to disk
        self.on_disk = False
        self.away = False  # the database did not take the latest batch
        self.took_ns = 0  # how long the latest one that it took had lasted
        self.backoff = retry.Backoff(first_seconds=0.2, cap_seconds=10.0)


class Pipeline:
    """Batches records and delivers them through `writers`, each batch by the writer that its streams belong to.

    Without a `spool` all waits in memory, and intake waits sooner.
    """

    def __init__(
        self,
        writers: list[CopyWriter],
        limits: Limits,
        *,
        queue_max_rows: int = 500_000,
        queue_max_bytes: int = 512_000_000,
        spool: Spool | None = None,
        emit: events.Emit = events.say,
        now_ns: clock.Clock = clock.now_ns,
    ) -> None:
        self._emit = emit
        self._batcher = Batcher(len(writers), limits)
        self._age_seconds = limits.max_age_ns / clock.SECOND
        self._max_rows = queue_max_rows
        self._max_bytes = queue_max_bytes
        self._queued_bytes = 0
        self._spool = spool
        self._disk = ThreadPoolExecutor(1, "spool") if spool is not None else None
        self._spilling = asyncio.Lock()
        self._now_ns = now_ns
        self._lanes = [_Lane(writer) for writer in writers]
        for lane in self._lanes:
            lane.on_disk = spool is not None
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._unbounded = False
        self.held_rows = 0  # in memory: neither committed nor on disk
        self.counts = Counts()
        self.spooling_since_ns = _oldest_ns(spool) or now_ns()  # while something is on disk: since when

    @property
    def held_bytes(self) -> int:
        return self._queued_bytes + self._batcher.open_bytes

    @property
    def full(self) -> bool:
        over = self.held_rows >= self._max_rows or self.held_bytes >= self._max_bytes
        return over and not self._unbounded

    async def room(self) -> None:
        """Wait until there is room again. The bound may be passed by the records of one frame."""
        if self.full:
            self._room.clear()
            self._emit(events.PipelineFull(self.held_rows))
            await self._room.wait()

    def take_the_rest(self) -> None:
        """Intake is ending: nobody has to wait for room any more, so that what was received comes in."""
        self._unbounded = True
        self._room.set()

    def put(self, items: Iterable[Item]) -> None:
        """Take rows and notes. Raises RuntimeError after `close`: intake must end first."""
        if self._closed:
            raise RuntimeError("the pipeline is closed")
        now_ns = self._now_ns()
        add = self._batcher.add
        for item in items:
            kind = item.__class__
            if kind is not Mark and kind is not Gap:
                self.held_rows += 1
            sealed = add(item, now_ns)
            if sealed is not None:
                self._enqueue(sealed)

    def close(self) -> None:
        """Take nothing more and seal what is here; `deliver` ends when it is delivered, or safe on disk."""
        if not self._closed:
            self._closed = True
            self._enqueue_all(self._batcher.seal_all())
            for lane in self._lanes:
                lane.arrived.set()

    async def seal_by_age(self) -> None:
        """Seal batches as they come of age, until `close`."""
        while not self._closed:
            await asyncio.sleep(self._age_seconds / 4)
            self._enqueue_all(self._batcher.due(self._now_ns()))

    # Delivery

    async def deliver(self, index: int) -> None:
        """Write this lane's batches in order, trying for ever while the database is away; ends after `close`.

        What is on disk is older than what is in memory. A lane that is closed while the database is away leaves there
        what is there, and puts its last batches behind it.
        """
        lane = self._lanes[index]
        try:
            while True:
                if lane.on_disk and self._closed and lane.away:
                    if await self._spill(lane):
                        return
                    await asyncio.sleep(_BLOCKED_SECONDS)  # and the database may be back
                if not (lane.on_disk or lane.queue):
                    if self._closed:
                        return
                    lane.arrived.clear()
                    await lane.arrived.wait()
                    continue
                try:
                    await (self._deliver_from_disk if lane.on_disk else self._deliver_from_memory)(lane, index)
                except SpoolError as error:
                    self._emit(events.SpoolFailed(str(error)))
                    await asyncio.sleep(_FULL_SECONDS)
        finally:
            await lane.writer.close()

    async def _deliver_from_memory(self, lane: _Lane, index: int) -> None:
        batch = lane.queue[0]
        written = await self._try(lane, batch)
        if lane.queue and lane.queue[0] is batch:
            if written is not None:
                # Only now is it delivered: had we been cancelled above, it would still count as held.
                self._let_go(lane.queue.popleft())
            elif self._spool is not None:
                await self._spill(lane)
        elif written is not None:  # it went to disk meanwhile, where it is the lane's first
            entry = await self._on_disk(lambda spool: spool.oldest(index))
            if entry is not None:
                await self._on_disk(lambda spool: spool.remove(entry))
        if written is not None:
            self._count(lane, batch, written)

    async def _deliver_from_disk(self, lane: _Lane, index: int) -> None:
        spills = lane.spills
        entry = await self._on_disk(lambda spool: spool.oldest(index))
        if entry is not None:
            written = await self._try(lane, entry.batch)
            if written is not None:
                await self._on_disk(lambda spool: spool.remove(entry))
                self._count(lane, entry.batch, written)
        elif not await self._on_disk(lambda spool: spool.blocked(index)):
            lane.on_disk = lane.spills != spills
            if not lane.on_disk and spills:
                self._emit(events.SpoolDrained(self.counts.spooled))
        elif self._closed:
            lane.away = True  # the batches before ours are another lane's, and may take long
        else:
            await asyncio.sleep(_BLOCKED_SECONDS)

    async def _try(self, lane: _Lane, batch: Batch) -> Written | None:
        """Write a batch; None, after a pause, when the database did not take it.

        Never gives up: even an error that waiting will not mend may be mended by a person, and the rows are kept.
        """
        began_ns = clock.monotonic_ns()
        try:
            written = await lane.writer.write(batch.records, gaps=batch.gaps, marks=list(batch.marks.values()))
        except IngestError as error:
            refused = events.DatabaseAway if isinstance(error, Retryable) else events.DatabaseRefuses
            self._emit(refused(str(error), self.held_rows))
            lane.away = True
            if self._spool is not None and lane.queue:
                await self._spill(lane)
            await asyncio.sleep(0.1 if self._closed else lane.backoff.next_seconds())
            return None
        lane.took_ns = clock.monotonic_ns() - began_ns
        lane.away = False
        lane.backoff.reset()
        return written

    # The spool

    async def spill_over(self) -> None:
        """For ever: batches that the database does not take go to disk: all of a lane once it is away, or half full."""
        while self._spool is not None:
            await asyncio.sleep(_SPILL_SECONDS)
            for lane in self._lanes:
                crowded = self.held_rows * 2 > self._max_rows or self._queued_bytes * 2 > self._max_bytes
                if lane.queue and (lane.away or crowded) and not await self._spill(lane):
                    await asyncio.sleep(_FULL_SECONDS)

    async def spill_rest(self) -> None:
        """At the end of the daemon's patience: all that is not delivered goes to disk, where it is safe."""
        for lane in self._lanes:
            await self._spill(lane)
        if self._disk is not None:
            self._disk.shutdown()

    async def _spill(self, lane: _Lane) -> bool:
        """Move what a lane holds in memory to disk, also a batch that is being written: twice is harmless.

        False when there is no room for all; the rest stays in memory then.
        """
        async with self._spilling:
            while self._spool is not None and lane.queue:
                batches = list(islice(lane.queue, _SPILLED_AT_ONCE))
                if not self._spool.batches:
                    self.spooling_since_ns = self._now_ns()
                try:
                    await self._on_disk(lambda spool, batches=batches: spool.append(batches))  # type: ignore[misc]
                except SpoolError as error:
                    self._emit(events.SpoolRefuses(str(error), self.held_rows))
                    return False
                if not lane.on_disk:
                    self._emit(events.SpoolFilling(self.held_rows))
                lane.on_disk = True
                lane.spills += 1
                for batch in batches:
                    self.counts.spooled += len(batch.records)
                    if lane.queue and lane.queue[0] is batch:  # else it was delivered meanwhile
                        self._let_go(lane.queue.popleft())
            return True

    async def _on_disk(self, call: Callable[[Spool], Result]) -> Result:
        """Calls of the spool wait for the disk, so they run in its own thread, one at a time."""
        assert self._spool is not None  # noqa: S101 - lanes are on disk only where there is one
        spool = self._spool
        return await asyncio.get_running_loop().run_in_executor(self._disk, lambda: call(spool))

    async def inherited(self) -> dict[Key, Inherited]:
        """What batches that an earlier process left on disk say of their streams, as long as they wait."""
        return {} if self._spool is None else inherited(await self._on_disk(lambda spool: spool.inherited()))

    # Counting

    def _let_go(self, batch: Batch) -> None:
        """It is not held in memory any more."""
        self.held_rows -= len(batch.records)
        self._queued_bytes -= batch.size_bytes
        if self.held_rows <= self._max_rows * 3 // 4 and self._queued_bytes <= self._max_bytes * 3 // 4:
            self._room.set()

    def _count(self, lane: _Lane, batch: Batch, written: Written) -> None:
        self.counts.stored += written.stored
        self.counts.duplicate += written.duplicate
        self.counts.rejected += written.rejected
        now_ns = self._now_ns()
        self.counts.lag_ns = now_ns - batch.opened_ns
        if not batch.records:
            return
        channel = NAME_OF[batch.table]
        self._emit(
            events.BatchCommitted(
                channel,
                batch.records,
                written.stored,
                written.duplicate,
                written.rejected,
                opened_ns=batch.opened_ns,
                committed_ns=now_ns,
                seconds=lane.took_ns / clock.SECOND,
            )
        )
        if written.rejected:
            self._emit(events.RowsRejected(channel, written.rejected))

    def _enqueue_all(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self._enqueue(batch)

    def _enqueue(self, batch: Batch) -> None:
        self._queued_bytes += batch.size_bytes
        lane = self._lanes[batch.writer]
        lane.queue.append(batch)
        lane.arrived.set()


def _oldest_ns(spool: Spool | None) -> int | None:
    """When the oldest batch that an earlier process left on disk was spooled."""
    try:
        return None if spool is None else spool.status().oldest_ns
    except SpoolError:  # whoever delivers says so, and tries again
        return None
