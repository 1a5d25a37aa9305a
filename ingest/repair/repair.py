"""What was missed, fetched from the venue's REST history through the same writer, without being asked.

One task a venue. It plans the windows of open gaps, claims one after the other, fetches each by one call of the
collector's own `Rest`, stores what came and says what became of the gap. Live data never waits: repair's calls
are made one at a time, and only while half of what the venue allows at once is free.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog
from msgspec import structs

from ingest import clock, retry
from ingest.clock import MINUTE, SECOND, Clock
from ingest.errors import Blocked, Fatal, IngestError, Rejected, Retryable
from ingest.exchanges.adapter import Adapter, Bad, Request
from ingest.exchanges.rest import Reply
from ingest.records import Candle, CandleSource, Instrument, Reject, Trade
from ingest.repair.gather import Gathered, gather, page_of
from ingest.repair.locate import find
from ingest.repair.page import Absent, Page, Why, of_candles, of_trades
from ingest.repair.says import Says
from ingest.repair.windows import plan
from ingest.retry import BLOCKED_RETRY_SECONDS, Backoff
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.gap_parts import Fetched, Lost, LostState, Settled
from ingest.store.queue import PURPOSES, Job, Planned, Purpose, Queue
from ingest.store.window import Window

log = structlog.get_logger()

Result = TypeVar("Result")

PATIENCE_NS = 15 * MINUTE
"""How long history may trail the stream before what it still lacks is named."""

_TRIES: dict[Why, int] = {"forgotten": 2, "skipped": 2, "unreadable": 3}
_REFUSALS = 5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2.0, 60.0
_IDLE_SECONDS = 1.0
_KEPT_FOR_LIVE = 0.5  # of the venue's limit
_CLAIM_SECONDS = 120.0
_RELEASE_SECONDS = 2.0
_TRAILING_KEPT = 1_000
_GRACE_NS = 10 * SECOND
"""A minute counts as over this long after its end, by the venue's clock: its last trades must have arrived there."""
_ALL_NS = 2**63 - 1
_FORGOTTEN = "the venue's history does not reach back to it"
_SETTLED_NS = MINUTE
"""A range of time that nothing follows counts as over so long after its end: history can trail the stream."""
_IDS_MAX = 10_000_000
"""More are not fetched a page at a time: that is what a venue's daily files are for."""


class _BrokenError(Exception):
    """A statement that cannot succeed: it concerns one window, and the others are not to wait for it."""


class Source(Protocol):
    """What repair needs of `Rest`."""

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply: ...


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
        now: Clock = clock.monotonic_ns,
    ) -> None:
        """`instruments` by id; it may grow, and those of other venues are left alone. `worker_name` must be its own.

        `queue` and `writer` serve nobody else; who made them closes them.
        """
        self._exchange = exchange
        self._rest = rest
        self._adapter = adapter
        self._instruments = instruments
        self._queue = queue
        self._writer = writer
        self._says = Says(exchange, instruments)
        self._worker_name = worker_name
        self._purposes = purposes
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
        planned, settled = await self._ask(lambda: self._queue.take_gaps(instrument_ids, plan_with(self._adapter)))
        self._says.planned(planned)
        self._says.settled(settled)
        if self._now() < self._resting_until_ns:
            return False
        jobs = await self._ask(
            lambda: self._queue.claim(
                instrument_ids, self._worker_name, seconds=_CLAIM_SECONDS, purposes=self._purposes
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
            if window.channel == "trades" and not by_id:
                found = await self._gathered(job, instrument)
                if found is None:
                    return
                page, bad, received_ns = page_of(window, found), found.bad, found.as_of_ns
            else:
                reply = await self._fetch(self._request(instrument, window))
                (page, bad), received_ns = self._read(window, reply), reply.received_ns
            forgotten = window.channel == "candles" and any(absent.why == "forgotten" for absent in page.absent)
            if forgotten and await self._reaches_back(instrument, window):
                page = structs.replace(page, absent=())
        except Retryable as error:
            await self._rest_after(job, error)
            return
        self._backoff.reset()
        await self._keep_bad(instrument, window, bad, received_ns)
        written = await self._store(page.rows)
        tries = job.attempts + 1
        if any(tries < _TRIES[absent.why] for absent in page.absent):
            await self._wait(job, _FIRST_WAIT_SECONDS * 2**job.attempts, _said(page.absent[0], bad), counted=True)
            return
        lost = [self._lost(absent, bad) for absent in page.absent]
        fetched = _fetched(page.rows, written)
        if page.rest is None:
            await self._finish(job, fetched, lost)
        elif page.open_seconds is not None:
            why = "its last minute is not over" if page.open_seconds else "there is more of it"
            await self._go_on(job, page.rest, fetched, lost, page.open_seconds, why)
        else:
            await self._trail(job, page.rest, fetched, lost)

    async def _gathered(self, job: Job, instrument: Instrument) -> Gathered | None:
        """The trades of a window by its times; None when it waits, or cannot be asked for."""
        window = job.window
        if window.from_ns is None or window.to_ns is None:
            await self._give_up(job, self._beyond_rest(), "its times are not known, and REST is asked by time alone")
            return None
        found = await gather(self._fetch, self._adapter, instrument, window)
        if found.goes_on_behind(window.to_ns) or found.as_of_ns >= window.to_ns + _SETTLED_NS:
            return found
        await self._wait(job, _FIRST_WAIT_SECONDS, "the venue's history may trail its stream")
        return None

    async def _identify(self, job: Job, instrument: Instrument) -> None:
        """Of trades that are known by time alone find the ids, by which they are fetched then."""
        window = job.window
        if self._adapter.promises["trades"] != "ids":
            await self._give_up(job, self._beyond_rest(), "its ids are not known, and REST is asked by id alone")
            return
        try:
            found, as_of_ns = await find(self._fetch, self._adapter, instrument, window)
        except Retryable as error:
            await self._rest_after(job, error)
            return
        self._backoff.reset()
        if not found.followed and as_of_ns < window.last + _SETTLED_NS:
            seconds = (window.last + _SETTLED_NS - as_of_ns) / SECOND
            await self._wait(job, seconds, "the venue's history may trail its stream")
        elif found.begins_ns is not None and found.begins_ns > window.last:
            await self._give_up(job, self._beyond_rest(), _FORGOTTEN)
        elif found.begins_ns is not None:
            rest = structs.replace(window, from_ns=found.begins_ns)
            lost = Lost(structs.replace(window, to_ns=found.begins_ns - window.step), self._beyond_rest(), _FORGOTTEN)
            await self._go_on(job, rest, Fetched(), [lost], 0.0, "its ids are known now")
        elif found.last - found.first >= _IDS_MAX:
            reason = f"{found.last - found.first + 1:,} trades are too many to fetch by REST"
            await self._give_up(job, self._beyond_rest(), reason)
        elif found.last < found.first:
            await self._finish(job, Fetched(), [])
        else:
            span = structs.replace(window, from_id=found.first, to_id=found.last)
            windows = plan(span, self._adapter.limits)
            if await self._ask(lambda: self._queue.identify(job, span, windows)):
                self._says.planned([Planned(span, len(windows))])
            else:
                self._says.taken_over(job)

    async def _fetch(self, request: Request) -> Reply:
        return await self._rest.fetch(request, keep=_KEPT_FOR_LIVE)

    def _request(self, instrument: Instrument, window: Window) -> Request:
        if window.channel == "trades":
            limit = window.last - window.first + 1
            return self._adapter.trades_request(instrument, start=window.first, end=window.last, limit=limit)
        minutes = (window.last - window.first) // MINUTE + 1
        return self._adapter.candles_request(instrument, start_ns=window.first, limit=minutes)

    async def _reaches_back(self, instrument: Instrument, window: Window) -> bool:
        """Whether history holds a candle before the window: then what it lacks at its start had no trades."""
        page = self._adapter.limits.candles_page
        start_ns = window.first - page * MINUTE
        reply = await self._fetch(self._adapter.candles_request(instrument, start_ns=start_ns, limit=page))
        before, _ = self._adapter.decode_candles(
            reply.body, window.instrument_id, reply.received_ns, CandleSource.REST, as_of_ns=window.first
        )
        return bool(before)

    def _read(self, window: Window, reply: Reply) -> tuple[Page, list[Bad]]:
        number, received_ns = window.instrument_id, reply.received_ns
        if window.channel == "trades":
            trades, bad = self._adapter.decode_trades(reply.body, number, received_ns)
            return of_trades(window, trades, bad), bad
        candles, bad = self._adapter.decode_candles(
            reply.body, number, received_ns, CandleSource.REST, as_of_ns=_ALL_NS
        )
        as_of_ns = (reply.venue_ns or received_ns - MINUTE) - _GRACE_NS
        return of_candles(window, candles, bad, as_of_ns=as_of_ns), bad

    # What becomes of it

    async def _finish(self, job: Job, fetched: Fetched, lost: Sequence[Lost]) -> None:
        self._ended(job, await self._ask(lambda: self._queue.finish(job, fetched, lost)))

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
            await self._finish(job, fetched, [*lost, Lost(rest, self._beyond_rest(), reason)])
            return
        seconds = min(max(trailed_ns / SECOND, _FIRST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
        await self._go_on(job, rest, fetched, lost, seconds, "the venue's history trails its stream")

    async def _refused(self, job: Job, reason: str) -> None:
        if job.attempts + 1 >= _REFUSALS:
            await self._give_up(job, "unrecoverable", reason)
        else:
            seconds = min(_FIRST_WAIT_SECONDS * 2**job.attempts, _LONGEST_WAIT_SECONDS)
            await self._wait(job, seconds, reason, counted=True)

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

    def _beyond_rest(self) -> LostState:
        """What becomes of rows that REST does not have any more."""
        return "awaiting_dump" if self._adapter.limits.daily_dumps else "unrecoverable"

    def _lost(self, absent: Absent, bad: Sequence[Bad]) -> Lost:
        state = self._beyond_rest() if absent.why == "forgotten" else "unrecoverable"
        return Lost(absent.window, state, _said(absent, bad))

    # Rows

    async def _store(self, records: Sequence[Trade] | Sequence[Candle] | Sequence[Reject]) -> Written:
        if not records:
            return Written(0, 0, 0)
        return await self._ask(lambda: self._writer.write(records, staged=True))

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


def plan_with(adapter: Adapter) -> Callable[[Window], list[Window]]:
    """The plan for gaps of a venue. Trades stay in one piece where their ids are not known yet, or of no use."""

    def windows(span: Window) -> list[Window]:
        by = adapter.history.by
        if span.channel == "trades" and (by == "recent" or (by == "id") == (span.from_id is None)):
            return [span] if span.first <= span.last else []
        return plan(span, adapter.limits)

    return windows


def _said(absent: Absent, bad: Sequence[Bad]) -> str:
    if absent.why == "forgotten":
        return _FORGOTTEN
    if absent.why == "skipped":
        return "the venue's history skips it"
    return f"the venue's rows cannot be read: {bad[0].reason}"


def _fetched(rows: Sequence[Trade] | Sequence[Candle], written: Written) -> Fetched:
    times = [row.time_ns for row in rows]
    return Fetched(written.stored, written.duplicate, min(times, default=None), max(times, default=None))
