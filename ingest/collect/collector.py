"""One venue: its instruments, its connections, its books. A fault here stays here."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial

import structlog

from ingest import clock, events
from ingest.collect.catchup import Catchup
from ingest.collect.feed import Control, Feed, Wants
from ingest.collect.health import Health, health_of
from ingest.collect.listing import Admit, Listing, Register
from ingest.collect.poll import Poller
from ingest.collect.resync import SNAPSHOT_SECONDS, Pauses
from ingest.collect.selection import Settings, names, unlisted
from ingest.collect.session import Session, Tap
from ingest.collect.supervise import Connection, Supervisor
from ingest.collect.ticks import tick_after
from ingest.errors import Blocked, Retryable
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import Rest
from ingest.pipeline.pipeline import Intake
from ingest.records import Instrument, Progress, Stream
from ingest.retry import Backoff
from ingest.store.registry import State

log = structlog.get_logger()

Load = Callable[[Limiter], Awaitable[list[Instrument]]]
Repairing = Callable[[Rest, Adapter], Coroutine[None, None, None]]
Connect = Callable[..., Connection]
"""Makes what `Session` is: adapter, streams, sink, and by name proxy, ping_seconds, tap, on_change."""
Call = Callable[..., Rest]
"""Makes what `Rest` is: exchange, limiter, and by name proxy, tap."""

_QUIET_CANDLES = 3
_CANDLE_CALLS, _POLL_CALLS = 3, 3  # at a time
_LISTING_SECONDS = 3600.0
"""How often the venue's listing is asked for."""
_CONFIRM_SECONDS = 60.0
"""And how soon again, where it lacks what it had."""
_REFUSED_SECONDS = 0.5 * _LISTING_SECONDS
"""For how long at least a stream is not asked for that the venue refused: so until the next listing but one at most."""


class Collector:
    """Runs until `stop`. Rows go to the pipeline; each stream's state to `states`, where the daemon finds it.

    `ended` is set once everything that was received is in the pipeline; repair may take longer than that to stop.

    `load` fetches the venue's instruments, `register` makes them known to the database, `admit` its streams (and
    tells how far each had come); all three may raise Retryable and are then tried again. `new_adapter` makes a
    translator for one connection, `connect` the connection, `call` its REST calls; `repair` runs beside the sessions.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Intake,
        instruments: dict[int, Instrument],
        *,
        new_adapter: Callable[[Mapping[str, int]], Adapter],
        load: Load,
        register: Register,
        admit: Admit,
        repair: Repairing | None = None,
        connect: Connect = Session,
        call: Call = Rest,
        session_tap: Callable[[], Tap] | None = None,
        rest_tap: Callable[[str, int, bytes], None] | None = None,
        emit: events.Emit = events.say,
    ) -> None:
        self.states: dict[Stream, tuple[State, str | None]] = {}
        self.announced: str | None = None  # what the venue says of its own maintenance
        self.rest: Rest | None = None
        self.ended = asyncio.Event()
        self._settings = settings
        self._pipeline = pipeline
        self._instruments = instruments
        self._new_adapter = new_adapter
        self._repair = repair
        self._connect_with, self._call_with = connect, call
        self._session_tap, self._rest_tap, self._emit = session_tap, rest_tap, emit
        self._ids: dict[str, int] = {}  # by the adapter's key of the instrument
        self._adapter = new_adapter(self._ids)  # of no connection: for what is asked of any
        limits = self._adapter.limits
        self._limiter = Limiter(limits.weight_per_minute, limits.burst)
        self._slots = Limiter.in_windows(limits.connections_per_window, limits.connection_window_seconds)
        self._slots.divide(1 / settings.share.of, clock.monotonic_ns())  # shards may be behind one address
        loaded = partial(load, self._limiter)
        self._listing = Listing(self._adapter, self._ids, instruments, load=loaded, register=register, admit=admit)
        self._supervisors: list[Supervisor] = []
        self._stopping = asyncio.Event()
        self._preparing: asyncio.Timeout | None = None
        self._streams: set[Stream] = set()
        self._live_before: set[Stream] = set()
        self._refused: dict[Stream, float] = {}  # and when that may have changed
        self._catchup: Catchup | None = None
        self._resyncs = Pauses()
        self._poller: Poller | None = None
        self._tasks: asyncio.TaskGroup | None = None  # of the sessions
        self._changes: asyncio.Queue[Settings] = asyncio.Queue()
        wants = Wants(book=self._want_book, candles=self._want_candles, check=self._check, renew=self._renew)
        self.feed = Feed(
            settings.exchange,
            pipeline.put,
            wants,
            cadence_ns=settings.book_cadence_ns,
            silence_ns=settings.silence_ns,
            unchanged=settings.book_unchanged,
            emit=emit,
        )

    @property
    def health(self) -> Health:
        """How the venue is now."""
        return health_of(list(self.states.values()), self.rest, self._listing.unreachable, self.announced)

    # What sessions need of their sink

    @property
    def full(self) -> bool:
        return self._pipeline.full

    async def room(self) -> None:
        await self._pipeline.room()

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Control] | None:
        return self.feed.take(adapter, frame, received_ns)

    def defer(self, adapter: Adapter) -> None:
        self.feed.keeper.defer(adapter)

    def proceed(self, adapter: Adapter) -> None:
        self.feed.keeper.proceed(adapter)

    def forget(self, adapter: Adapter) -> None:
        self.feed.keeper.forget(adapter)

    def refuse(self, streams: Sequence[Stream], said: str) -> None:
        refused = [stream for stream in streams if stream in self._streams]
        for stream in refused:
            log.error(
                "stream.refused",
                exchange=self._settings.exchange,
                symbol=stream.instrument.symbol,
                channel=stream.channel,
                reason=said,
                remedy="take it out of the configuration, or wait: it is asked for again in an hour or two",
            )
            self._refused[stream] = asyncio.get_running_loop().time() + _REFUSED_SECONDS
        for supervisor in list(self._supervisors):
            supervisor.leave_out(refused)
            if not supervisor.streams:
                supervisor.stop()
                self._supervisors.remove(supervisor)
        self._end(dict.fromkeys(refused, f"refused by the venue: {said}"))

    def renewed(self, streams: Sequence[Stream]) -> None:
        self.feed.connected(streams, clock.now_ns())

    # Running

    def stop(self) -> None:
        """End intake: `run` returns when everything that was received is in the pipeline."""
        self._stopping.set()
        if self._preparing is not None and not self._preparing.expired():
            self._preparing.reschedule(0)
        for supervisor in self._supervisors:
            supervisor.stop()

    def change(self, settings: Settings) -> None:
        """Subscribe and unsubscribe the difference, while the streams that stay go on."""
        self._changes.put_nowait(settings)

    async def run(self) -> None:
        try:
            async with asyncio.timeout(None) as self._preparing:
                progress = await self._listing.streams(self._settings, (), ())
        except TimeoutError:
            if self._stopping.is_set():
                return
            raise
        finally:
            self._preparing = None
        adapter, settings = self._adapter, self._settings
        async with self._call_with(settings.exchange, self._limiter, proxy=settings.proxy, tap=self._rest_tap) as rest:
            self.rest = rest
            self._catchup = Catchup(rest, adapter, self._instruments, self._pipeline, depth=settings.book_depth)
            self._poller = Poller(rest, adapter, self, self._catchup)
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._sample()),
                    group.create_task(self._catchup.fetch_books(self.feed)),
                    *(group.create_task(self._catchup.fetch_candles(self.feed)) for _ in range(_CANDLE_CALLS)),
                    group.create_task(self._catchup.fetch_boundaries()),
                    group.create_task(self._catchup.check(self.feed)),
                    *(group.create_task(self._poller.run()) for _ in range(_POLL_CALLS)),
                    group.create_task(self._follow_changes()),
                ]
                repairing = None if self._repair is None else group.create_task(self._repair(rest, adapter))
                async with asyncio.TaskGroup() as self._tasks:
                    self._tasks.create_task(self._stopping.wait())
                    self._start(progress)
                for helper in helpers:
                    helper.cancel()
                await asyncio.wait(helpers)
                self.feed.finish(clock.now_ns())
                self._set_state(list(self._streams), "stopped", None)
                self.ended.set()
                if repairing is not None:
                    repairing.cancel()

    def _start(self, progress: Mapping[Stream, Progress | None]) -> None:
        """Follow these streams, and connect for them: where a connection has room, else anew."""
        assert self._poller is not None  # noqa: S101 - `run` made it
        streams, adapter = list(progress), self._adapter
        self._streams.update(streams)
        self._set_state(streams, "starting", None)
        self.feed.follow(streams, self._settings.book_depth, adapter, progress, clock.now_ns())
        polled = [stream for stream in streams if self._is_polled(stream)]
        self._poller.follow(polled)
        for group in dict.fromkeys(adapter.group(stream) for stream in streams):
            self._connect([s for s in streams if adapter.group(s) == group and s not in polled], group)

    def _connect(self, streams: list[Stream], group: str) -> None:
        """These streams of one group: where a connection has room, else over new ones."""
        assert self._tasks is not None  # noqa: S101 - `run` made it
        limits = self._adapter.limits
        size = limits.streams_per_connection
        for supervisor in self._supervisors:
            room = size - len(supervisor.streams) if supervisor.group == group else 0
            if room > 0 and streams:
                supervisor.change([*supervisor.streams, *streams[:room]])
                streams = streams[room:]
        for start in range(0, len(streams), size):
            supervisor = Supervisor(
                streams[start : start + size],
                self._new_session,
                group=group,
                slot=partial(self._slots.take, 1),
                lifetime_seconds=limits.connection_lifetime_seconds,
                on_live=self.on_live,
                on_lost=self.on_lost,
                exchange=self._settings.exchange,
                emit=self._emit,
            )
            self._supervisors.append(supervisor)
            if self._stopping.is_set():
                supervisor.stop()
            self._tasks.create_task(supervisor.run())

    def _is_polled(self, stream: Stream) -> bool:
        return stream.channel in self._adapter.polled(stream.instrument)

    async def _follow_changes(self) -> None:
        """For ever: what a new configuration, or the venue's listing, adds and takes away.

        A stream that runs goes on while the configuration names it, until two listings in turn lack it: one proves
        nothing.
        """
        again = Backoff(first_seconds=5.0, cap_seconds=300.0)
        settings, told, failed = self._settings, False, False
        while True:
            soon = failed or unlisted(settings, self._streams | self._refused.keys())
            wait = again.next_seconds() if soon else _LISTING_SECONDS
            try:
                async with asyncio.timeout(min(wait, _CONFIRM_SECONDS) if self._listing.doubted else wait):
                    settings, told = await self._changes.get(), True
                    again.reset()
            except TimeoutError:
                log.debug("exchange.listed_again", exchange=settings.exchange)
            try:
                progress = await self._listing.streams(settings, self.states, self._streams)
            except Exception:
                log.exception("exchange.listing_failed", exchange=settings.exchange)  # what runs goes on without it
                failed = True
                continue
            self._settings, changed = settings, told
            told = failed = False
            gone = self._listing.withdrawn(self._streams)
            gone |= {s: "not in the configuration any more" for s in self._streams if not names(settings, s)}
            now = asyncio.get_running_loop().time()
            self._refused = {stream: at for stream, at in self._refused.items() if at > now and not changed}
            out = self._streams | self._refused.keys()
            new = {stream: known for stream, known in progress.items() if stream not in out}
            if not (changed or new or gone):
                continue
            for supervisor in list(self._supervisors):
                stay = [stream for stream in supervisor.streams if stream not in gone]
                if not stay:
                    supervisor.stop()
                    self._supervisors.remove(supervisor)
                elif len(stay) < len(supervisor.streams):
                    supervisor.change(stay)
            self._end(gone)
            self._start(new)
            log.info("streams.changed", exchange=settings.exchange, added=len(new), removed=len(gone))

    def _end(self, gone: Mapping[Stream, str]) -> None:
        """These are collected no more, with the reason of each."""
        self.feed.unfollow(list(gone), clock.now_ns())
        if self._poller is not None:
            self._poller.unfollow(list(gone))
        self._streams.difference_update(gone)
        self._live_before.difference_update(gone)
        for stream, reason in gone.items():
            self._set_state([stream], "stopped", reason)

    def _new_session(self, streams: Sequence[Stream], on_change: Callable[[], None]) -> Connection:
        return self._connect_with(
            self._new_adapter(self._ids),
            streams,
            self,
            proxy=self._settings.proxy,
            ping_seconds=self._settings.ping_seconds,
            tap=self._session_tap() if self._session_tap else None,
            on_change=on_change,
        )

    def on_live(self, subscribed: Sequence[Stream]) -> None:
        streams = [stream for stream in subscribed if stream in self._streams]  # some may be collected no more
        log.info("streams.live", exchange=self._settings.exchange, streams=len(streams))
        self._set_state(streams, "live", None)
        assert self._catchup is not None  # noqa: S101 - sessions start after it
        now_ns = clock.now_ns()
        self.feed.connected(streams, now_ns)
        for stream in streams:
            if stream.channel == "candles":
                minutes = 0 if stream in self._live_before else self._settings.warmup
                missed = self.feed.minutes_without_candle(stream, now_ns)
                self._catchup.want_candles(stream.instrument_id, max(minutes, missed))
                self._catchup.want_boundary(stream.instrument_id)
        self._live_before.update(streams)

    def on_lost(self, subscribed: Sequence[Stream], error: Retryable, heard_ns: int) -> None:
        streams = [stream for stream in subscribed if stream in self._streams]
        cause = "no room for more" if self.full else "disconnected"
        now_ns = clock.now_ns()
        self.feed.disconnected(streams, cause, heard_ns or now_ns, now_ns, str(error))
        self._set_state(streams, "blocked" if isinstance(error, Blocked) else "reconnecting", str(error))

    def _set_state(self, streams: Sequence[Stream], state: State, detail: str | None) -> None:
        for stream in streams:
            self.states[stream] = (state, detail)

    def _want_book(self, instrument_id: int) -> None:
        if self._adapter.books.snapshot == "rest" and self._catchup is not None:
            self._catchup.want_book(instrument_id)
            return
        loop = asyncio.get_running_loop()
        for stream in self._streams:
            if (stream.instrument_id, stream.channel) == (instrument_id, "book"):
                pause = self._resyncs.next_seconds(instrument_id, loop.time())
                loop.call_later(pause, self._renew_book, stream)
                loop.call_later(pause + SNAPSHOT_SECONDS, self.feed.keeper.ask_again, instrument_id)

    def _want_candles(self, instrument_id: int, minutes: int) -> None:
        if self._catchup is not None:
            self._catchup.want_candles(instrument_id, minutes)

    def _check(self, stream: Stream) -> None:
        """A stream is quiet: ask the venue, where its REST can tell; else renew it, each time after a longer quiet."""
        assert self._catchup is not None  # noqa: S101 - streams are followed after it
        if self._adapter.tells_latest(stream):
            self._catchup.want_check(stream)
            return
        account = self.feed.ledger.accounts[stream.instrument_id, stream.channel]
        account.silence.real(clock.now_ns())
        if stream.channel == "liquidations" or (self._is_polled(stream) and stream.channel != "candles"):
            return  # there may be none for days: its line attests to it, or that a poll was answered
        self.feed.ledger.dead(account, clock.now_ns(), "nothing came for longer than ever")
        if stream.channel == "candles":
            self._catchup.want_candles(stream.instrument_id, _QUIET_CANDLES)

    def _renew_book(self, stream: Stream) -> None:
        """As long as it is out of sync: what came meanwhile may have mended it."""
        book = self.feed.books.get(stream.instrument_id)
        if stream in self._streams and book is not None and not book.in_sync:
            self._renew(stream)

    def _renew(self, stream: Stream) -> None:
        """Subscribe it anew: on its own connection where the venue lets us, else by another one that takes over.

        One that is not live has yet to subscribe it.
        """
        for supervisor in self._supervisors:
            if stream in supervisor.streams and supervisor.live and not supervisor.resubscribe(stream):
                supervisor.renew()

    async def _sample(self) -> None:
        """Emit the books at each tick, also when no frame comes."""
        while True:
            await asyncio.sleep(tick_after(clock.now_ns(), self._settings.book_cadence_ns))
            if self.full:
                self.feed.hold(clock.now_ns())
            else:
                self.feed.sample(clock.now_ns())
