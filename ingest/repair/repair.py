"""What was missed, fetched from the venue's REST history through the same writer, without being asked.

One task a venue. It plans the windows of open gaps, claims one after the other, fetches each by one call of the
collector's own `Rest`, stores what came and says what became of the gap. Live data never waits: repair's calls
are made one at a time, and only while half of what the venue allows at once is free.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from msgspec import structs

from ingest import clock, events, retry
from ingest.clock import MINUTE, SECOND, Clock
from ingest.errors import Blocked, Fatal, IngestError, Rejected, Retryable
from ingest.exchanges.adapter import Adapter, Bad
from ingest.records import Candle, Instrument, Reject, Trade
from ingest.repair.ask import Answer, Asker, Source, listed_ns
from ingest.repair.gather import Gathered, gather, page_of
from ingest.repair.locate import find
from ingest.repair.page import Absent, Why
from ingest.repair.says import FORGOTTEN, Says, said
from ingest.repair.windows import plan, plan_with
from ingest.retry import BLOCKED_RETRY_SECONDS, Backoff
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.gap_parts import Fetched, Lost, LostState, Settled
from ingest.store.queue import PURPOSES, Job, Planned, Purpose, Queue
from ingest.store.rows import timestamp
from ingest.store.window import Range, Window

log = structlog.get_logger()

Result = TypeVar("Result")

PATIENCE_NS = 15 * MINUTE
"""How long history may trail the stream before what it still lacks is named."""

_TRIES: dict[Why, int] = {"forgotten": 2, "skipped": 2, "unreadable": 3}
_REFUSALS = 5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2.0, 60.0
_IDLE_SECONDS = 1.0
_CLAIM_SECONDS = 120.0
_RELEASE_SECONDS = 2.0
_TRAILING_KEPT = 1_000
_EMPTY_TRIES = 3
_OLD_NS = 60 * MINUTE
"""History does not trail its stream by more: what it lacks of such a time is not to come."""
_SETTLED_NS = MINUTE
"""A range of time that nothing follows counts as over so long after its end: history can trail the stream."""
_IDS_MAX = 10_000_000
"""More are not fetched a page at a time: that is what a venue's daily files are for."""


class _BrokenError(Exception):
    """A statement that cannot succeed: it concerns one window, and the others are not to wait for it."""


class Repair:
    """`run` repairs for ever; several, in as many processes, may work on one queue."""

    def __init__(
        self,
        exchange: str,
        rest: Source,
        adapter: Adapter,
        instruments: Mapping[int, Instrument],
        queue: Queue,
        writer: CopyWriter,
        *,
        worker_name: str,
        purposes: Sequence[Purpose] = PURPOSES,
        ranges: Sequence[Range] | None = None,
        emit: events.Emit = events.say,
        now: Clock = clock.monotonic_ns,
    ) -> None:
        """`instruments` by id; it may grow, and those of other venues are left alone. `worker_name` must be its own.

        With `ranges` it takes up no gaps, and of the queue what reaches into one of them.

        `queue` and `writer` serve nobody else; who made them closes them.
        """
        self._exchange = exchange
        self._asker = Asker(exchange, rest, adapter)
        self._adapter = adapter
        self._instruments = instruments
        self._queue = queue
        self._writer = writer
        self._says = Says(exchange, instruments, emit)
        self._worker_name = worker_name
        self._purposes = purposes
        self._ranges = ranges
        self._now = now
        self._backoff = Backoff(first_seconds=_FIRST_WAIT_SECONDS, cap_seconds=_LONGEST_WAIT_SECONDS)
        self._resting_until_ns = 0
        self._trailing: dict[int, tuple[int, int]] = {}  # by job: where it stands, and since when
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to repair: look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Repair what there is, and wait for more, until cancelled."""
        crashes = Backoff(first_seconds=_FIRST_WAIT_SECONDS, cap_seconds=_LONGEST_WAIT_SECONDS)
        while True:
            try:
                if not await self.step():
                    await self._idle()
                crashes.reset()
            except Exception:
                log.exception("repair.crashed", exchange=self._exchange)  # the live streams are not to suffer for it
                await asyncio.sleep(crashes.next_seconds())

    async def step(self) -> bool:
        """Plan what is open and work on one window; False when none is due. Waits while the database is away."""
        instrument_ids = [number for number, i in self._instruments.items() if i.exchange == self._exchange]
        if self._ranges is None:
            planned, settled = await self._ask(lambda: self._queue.take_gaps(instrument_ids, plan_with(self._adapter)))
            self._says.planned(planned)
            self._says.settled(settled)
        if self._now() < self._resting_until_ns:
            return False
        jobs = await self._ask(
            lambda: self._queue.claim(
                instrument_ids, self._worker_name, seconds=_CLAIM_SECONDS, purposes=self._purposes, ranges=self._ranges
            )
        )
        for job in jobs:
            await self._work(job)
        return bool(jobs)

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    # One window

    async def _work(self, job: Job) -> None:
        try:
            async with self._queue.keep(job, _CLAIM_SECONDS):
                await self._repair(job)
        except asyncio.CancelledError:
            await self._release(job)
            raise
        except Rejected as error:
            await self._refused(job, str(error))
        except Exception as error:
            log.exception("repair.crashed", **self._says.named(job.window))
            await self._refused(job, f"{type(error).__name__}: {error}")

    async def _repair(self, job: Job) -> None:
        instrument, window = self._instruments[job.window.instrument_id], job.window
        by_id = self._adapter.history.by == "id"
        if window.channel == "trades" and by_id and window.from_id is None:
            await self._identify(job, instrument)
            return
        try:
            if window.channel == "candles":
                answer = await self._asker.candles(instrument, window)
                if self._is_before_all(job, answer):  # at once: meanwhile others would ask for what does not exist
                    answer = await self._asker.candles(instrument, window)
            elif by_id:
                answer = await self._asker.trades(instrument, window)
            else:
                found = await self._gathered(job, instrument)
                if found is None:
                    return
                answer = Answer(page_of(window, found), found.bad, found.as_of_ns)
            self._backoff.reset()
            await self._keep_bad(instrument, window, answer.bad, answer.received_ns)
            written = await self._store(answer.page.rows)
            await self._conclude(job, instrument, answer, _fetched(answer.page.rows, written))
        except Retryable as error:
            await self._rest_after(job, error)

    async def _conclude(self, job: Job, instrument: Instrument, answer: Answer, fetched: Fetched) -> None:
        """What a page means for its window."""
        page, bad, window = answer.page, answer.bad, job.window
        tries, begins = job.attempts + 1, self._is_before_all(job, answer)
        if not begins and any(tries < self._tries(absent.why) for absent in page.absent):
            await self._wait(job, _FIRST_WAIT_SECONDS * 2**job.attempts, said(page.absent[0], bad), counted=True)
            return
        lost = [self._lost(absent, bad) for absent in page.absent]
        remark = None
        if job.purpose == "backfill":
            if begins and (begun := answer.begins_ns) is not None:
                remark, lost = f"the venue's candles begin at {timestamp(begun)[:16]}", []
                if page.rest is None:
                    self._ended(job, await self._ask(lambda: self._queue.begin_at(job, begun, fetched, str(remark))))
                    return
            elif window.timeframe != "1m" and lost:  # gaps are about minutes
                remark, lost = lost[0].detail, []
            empty = page.rest is not None and page.rest.first == window.first
            if empty and window.channel == "candles" and answer.received_ns - window.last > _OLD_NS:
                await self._found_nothing(job, instrument)
                return
        if page.rest is None:
            await self._finish(job, fetched, lost, remark)
        elif page.open_seconds is not None:
            why = "its last minute is not over" if page.open_seconds else "there is more of it"
            await self._go_on(job, page.rest, fetched, lost, page.open_seconds, why)
        else:
            await self._trail(job, page.rest, fetched, lost)

    def _tries(self, why: Why) -> int:
        """Where only the latest trades are to be had, a second look finds fewer of them."""
        return 1 if why == "forgotten" and self._adapter.history.by == "recent" else _TRIES[why]

    def _is_before_all(self, job: Job, answer: Answer) -> bool:
        """Whether a backfill begins before all that a venue has, which is all there ever was."""
        kept = self._adapter.limits.candles_kept
        return job.purpose == "backfill" and answer.begins_ns is not None and kept is None

    async def _found_nothing(self, job: Job, instrument: Instrument) -> None:
        """The venue has no candle of a window that is long over, nor any behind it: a slip, or the truth?"""
        if job.attempts + 1 < _EMPTY_TRIES:
            await self._wait(job, _FIRST_WAIT_SECONDS * 2**job.attempts, "an empty page", counted=True)
            return
        listed = listed_ns(instrument)
        if listed is not None and job.window.last < listed:
            await self._finish(job, Fetched(), [], f"before its listing, {timestamp(listed)[:16]}")
        elif await self._asker.reaches_back(instrument, job.window):
            await self._finish(job, Fetched(), [], "nothing was traded")
        else:
            reason = f"the venue gave an empty page {_EMPTY_TRIES} times, and one before it"
            await self._give_up(job, "unrecoverable", reason)

    async def _gathered(self, job: Job, instrument: Instrument) -> Gathered | None:
        """The trades of a window by its times; None when it waits, or cannot be asked for."""
        window = job.window
        if window.from_ns is None or window.to_ns is None:
            await self._leave_to_files(job, "its times are not known, and REST is asked by time alone")
            return None
        found = await gather(self._asker.fetch, self._adapter, instrument, window)
        if found.goes_on_behind(window.to_ns) or found.as_of_ns >= window.to_ns + _SETTLED_NS:
            return found
        await self._wait(job, _FIRST_WAIT_SECONDS, "the venue's history may trail its stream")
        return None

    async def _identify(self, job: Job, instrument: Instrument) -> None:
        """Of trades that are known by time alone find the ids, by which they are fetched then."""
        window = job.window
        if self._adapter.promises["trades"] != "ids":
            await self._leave_to_files(job, "its ids are not known, and REST is asked by id alone")
            return
        try:
            found, as_of_ns = await find(self._asker.fetch, self._adapter, instrument, window)
        except Retryable as error:
            await self._rest_after(job, error)
            return
        self._backoff.reset()
        if not found.followed and as_of_ns < window.last + _SETTLED_NS:
            seconds = (window.last + _SETTLED_NS - as_of_ns) / SECOND
            await self._wait(job, seconds, "the venue's history may trail its stream")
        elif found.begins_ns is not None and found.begins_ns > window.last:
            await self._leave_to_files(job, FORGOTTEN)
        elif found.begins_ns is not None:
            rest = structs.replace(window, from_ns=found.begins_ns)
            before = structs.replace(window, to_ns=found.begins_ns - window.step)
            lost = Lost(before, self._beyond(before), FORGOTTEN)
            await self._go_on(job, rest, Fetched(), [lost], 0.0, "its ids are known now")
        elif found.last < found.first:
            remark = "before its first trade" if found.first <= 1 and job.purpose == "backfill" else None
            await self._finish(job, Fetched(), [], remark)
        elif job.purpose == "backfill":
            page = self._adapter.limits.trades_page
            if not await self._ask(lambda: self._queue.cut(job, found.first, found.last, page)):
                self._says.taken_over(job)
        elif found.last - found.first >= _IDS_MAX:
            reason = f"{found.last - found.first + 1:,} trades are too many to fetch by REST"
            await self._leave_to_files(job, reason)
        else:
            span = structs.replace(window, from_id=found.first, to_id=found.last)
            windows = plan(span, self._adapter.limits)
            if await self._ask(lambda: self._queue.identify(job, span, windows)):
                self._says.planned([Planned(span, len(windows))])
            else:
                self._says.taken_over(job)

    # What becomes of it

    async def _finish(self, job: Job, fetched: Fetched, lost: Sequence[Lost], remark: str | None = None) -> None:
        self._ended(job, await self._ask(lambda: self._queue.finish(job, fetched, lost, remark=remark)))

    async def _go_on(
        self, job: Job, rest: Window, fetched: Fetched, lost: Sequence[Lost], seconds: float, error: str
    ) -> None:
        """Later, with what is left of the window."""
        if rest.first == job.window.first:
            await self._wait(job, seconds, error)
            return
        self._says.waiting(job, seconds, error)
        settled = await self._ask(lambda: self._queue.advance(job, rest, fetched, lost, seconds=seconds, error=error))
        self._tell(job, settled)

    async def _trail(self, job: Job, rest: Window, fetched: Fetched, lost: list[Lost]) -> None:
        """The venue's history does not reach so far yet: ask again, each time after as long as it has taken so far."""
        now_ns = self._now()
        place, since_ns = self._trailing.get(job.job_id, (rest.first, now_ns))
        if place != rest.first:
            since_ns = now_ns
        self._trailing[job.job_id] = (rest.first, since_ns)
        if len(self._trailing) > _TRAILING_KEPT:  # those that another worker has ended
            self._trailing = {k: (at, ns) for k, (at, ns) in self._trailing.items() if now_ns - ns < 2 * PATIENCE_NS}
        trailed_ns = now_ns - since_ns
        if trailed_ns >= PATIENCE_NS:
            reason = f"the venue's history did not reach it within {PATIENCE_NS // MINUTE} minutes"
            await self._finish(job, fetched, [*lost, Lost(rest, self._beyond(rest), reason)])
            return
        seconds = min(max(trailed_ns / SECOND, _FIRST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
        await self._go_on(job, rest, fetched, lost, seconds, "the venue's history trails its stream")

    async def _refused(self, job: Job, reason: str) -> None:
        if job.attempts + 1 >= _REFUSALS:
            await self._give_up(job, "unrecoverable", reason)
        else:
            seconds = min(_FIRST_WAIT_SECONDS * 2**job.attempts, _LONGEST_WAIT_SECONDS)
            await self._wait(job, seconds, reason, counted=True)

    async def _leave_to_files(self, job: Job, reason: str) -> None:
        await self._give_up(job, self._beyond(job.window), reason)

    async def _give_up(self, job: Job, state: LostState, reason: str) -> None:
        lost = Lost(job.window, state, reason)
        self._ended(job, await self._ask(lambda: self._queue.fail(job, lost)))

    def _ended(self, job: Job, settled: Settled | None) -> None:
        self._trailing.pop(job.job_id, None)
        self._tell(job, settled)

    def _tell(self, job: Job, settled: Settled | None) -> None:
        if settled is None:
            self._says.taken_over(job)
        else:
            self._says.settled(settled)

    async def _rest_after(self, job: Job, error: Retryable) -> None:
        """The venue asks for a pause, or cannot be reached: that holds for every window."""
        seconds = self._backoff.next_seconds()
        if isinstance(error, Blocked):
            seconds = BLOCKED_RETRY_SECONDS
        elif error.retry_after_seconds is not None:
            seconds = error.retry_after_seconds
        self._resting_until_ns = self._now() + int(seconds * SECOND)
        await self._wait(job, seconds, str(error))

    async def _wait(self, job: Job, seconds: float, error: str, *, counted: bool = False) -> None:
        self._says.waiting(job, seconds, error)
        await self._ask(lambda: self._queue.postpone(job, seconds, error, counted=counted))

    async def _release(self, job: Job) -> None:
        """At the end of the process; if it does not work, the claim expires."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._queue.release(job)
        except (IngestError, TimeoutError) as error:
            self._says.not_released(job, error)

    def _beyond(self, window: Window) -> LostState:
        """What becomes of rows that REST does not have any more."""
        kind = self._instruments[window.instrument_id].kind
        return "awaiting_dump" if kind in self._adapter.limits.daily_dumps else "unrecoverable"

    def _lost(self, absent: Absent, bad: Sequence[Bad]) -> Lost:
        state = self._beyond(absent.window) if absent.why == "forgotten" else "unrecoverable"
        return Lost(absent.window, state, said(absent, bad))

    # Rows

    async def _store(self, records: Sequence[Trade] | Sequence[Candle] | Sequence[Reject]) -> Written:
        if not records:
            return Written(0, 0, 0)
        written = await self._ask(lambda: self._writer.write(records, staged=True))
        self._says.stored(records, written)
        return written

    async def _keep_bad(self, instrument: Instrument, window: Window, bad: Sequence[Bad], received_ns: int) -> None:
        stream = f"{instrument.symbol} {window.channel}"
        await self._store([Reject(self._exchange, stream, row.reason, row.payload, received_ns) for row in bad])

    async def _ask(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Call the database until it answers. Raises _BrokenError for what waiting will not mend."""
        async for attempt in retry.database(self._says.database_away):
            with attempt:
                try:
                    return await call()
                except Fatal as error:
                    raise _BrokenError(str(error)) from error
        raise AssertionError("unreachable: it is tried until it answers")


def _fetched(rows: Sequence[Trade] | Sequence[Candle], written: Written) -> Fetched:
    times = [row.time_ns for row in rows]
    return Fetched(written.stored, written.duplicate, min(times, default=None), max(times, default=None))
