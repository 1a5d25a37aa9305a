"""One venue: its instruments, its connections, its books. A fault here stays here."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import structlog
from msgspec import Struct

from ingest import clock
from ingest.collect.catchup import Catchup
from ingest.collect.feed import Control, Feed, tick_after
from ingest.collect.session import Session, Tap
from ingest.collect.supervise import Supervisor
from ingest.errors import Blocked, Retryable
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import Rest
from ingest.pipeline.pipeline import Intake
from ingest.records import Channel, Instrument, Stream
from ingest.retry import BLOCKED_RETRY_SECONDS, Backoff
from ingest.store.registry import State

log = structlog.get_logger()

Register = Callable[[Sequence[Instrument]], Awaitable[dict[str, int]]]
Admit = Callable[[Sequence[Stream], Mapping[Channel, str]], Awaitable[list[Stream]]]


class Subscription(Struct, frozen=True):
    """Symbols or globs over them, and the channels to collect of each."""

    symbols: tuple[str, ...]
    channels: tuple[Channel, ...]


class Settings(Struct, frozen=True):
    """How a venue is collected."""

    exchange: str
    subscriptions: tuple[Subscription, ...]
    book_depth: int = 20
    book_cadence_ns: int = clock.SECOND
    warmup: int = 120
    proxy: str | None = None


class Collector:
    """Runs until `stop`. Rows go to the pipeline; each stream's state to `states`, where the daemon finds it.

    `load` fetches the venue's instruments, `register` makes them known to the database, `admit` its streams;
    all three may raise Retryable and are then tried again. `new_adapter` makes a translator for one connection.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Intake,
        instruments: dict[int, Instrument],
        *,
        new_adapter: Callable[[Mapping[str, int]], Adapter],
        load: Callable[[], Awaitable[list[Instrument]]],
        register: Register,
        admit: Admit,
        session_tap: Callable[[], Tap] | None = None,
        rest_tap: Callable[[str, int, bytes], None] | None = None,
    ) -> None:
        self.states: dict[Stream, tuple[State, str | None]] = {}
        self._settings = settings
        self._pipeline = pipeline
        self._instruments = instruments
        self._new_adapter = new_adapter
        self._load, self._register, self._admit = load, register, admit
        self._session_tap, self._rest_tap = session_tap, rest_tap
        self._native_ids: dict[str, int] = {}
        self._supervisors: list[Supervisor] = []
        self._stopping = asyncio.Event()
        self._preparing: asyncio.Timeout | None = None
        self._live_before: set[Stream] = set()
        self._catchup: Catchup | None = None
        self.feed = Feed(settings.exchange, pipeline.put, self._want_book, cadence_ns=settings.book_cadence_ns)

    # What sessions need of their sink

    @property
    def full(self) -> bool:
        return self._pipeline.full

    async def room(self) -> None:
        await self._pipeline.room()

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Control] | None:
        return self.feed.take(adapter, frame, received_ns)

    # Running

    def stop(self) -> None:
        """End intake: `run` returns when everything that was received is in the pipeline."""
        self._stopping.set()
        if self._preparing is not None and not self._preparing.expired():
            self._preparing.reschedule(0)
        for supervisor in self._supervisors:
            supervisor.stop()

    async def run(self) -> None:
        try:
            async with asyncio.timeout(None) as self._preparing:
                streams = await self._prepare()
        except TimeoutError:  # `stop` ended it
            return
        finally:
            self._preparing = None
        if not streams:
            return
        adapter = self._new_adapter(self._native_ids)
        self.feed.follow(streams, self._settings.book_depth, adapter)
        limits, settings = adapter.limits, self._settings
        slots = Limiter(int(limits.connections_per_window * 60 / limits.connection_window_seconds))
        limiter = Limiter(limits.weight_per_minute)
        async with Rest(settings.exchange, limiter, proxy=settings.proxy, tap=self._rest_tap) as rest:
            self._catchup = Catchup(rest, adapter, self._instruments, self._pipeline, depth=settings.book_depth)
            self._supervisors = [
                Supervisor(
                    streams[start : start + limits.streams_per_connection],
                    self._new_session,
                    slot=lambda: slots.take(1),
                    lifetime_seconds=limits.connection_lifetime_seconds,
                    on_live=self._on_live,
                    on_lost=self._on_lost,
                )
                for start in range(0, len(streams), limits.streams_per_connection)
            ]
            if self._stopping.is_set():
                self.stop()
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._sample()),
                    group.create_task(self._catchup.fetch_books(self.feed)),
                    group.create_task(self._catchup.fetch_candles(self.feed.reject)),
                ]
                async with asyncio.TaskGroup() as sessions:
                    for supervisor in self._supervisors:
                        sessions.create_task(supervisor.run())
                for helper in helpers:
                    helper.cancel()
        self._set_state(streams, "stopped", None)

    async def _prepare(self) -> list[Stream]:
        """The streams to run; tries until it has them."""
        backoff = Backoff(first_seconds=1.0)
        while True:
            try:
                listed = await self._load()
                wanted = select(self._settings, listed)
                chosen = list({instrument.symbol: instrument for instrument, _ in wanted}.values())
                ids = await self._register(chosen)
                self._instruments.update({ids[instrument.symbol]: instrument for instrument in chosen})
                self._native_ids.update({instrument.native: ids[instrument.symbol] for instrument in chosen})
                streams = [Stream(ids[instrument.symbol], instrument, channel) for instrument, channel in wanted]
                return await self._admitted(streams)
            except Retryable as error:
                delay = BLOCKED_RETRY_SECONDS if isinstance(error, Blocked) else backoff.next_seconds()
                log.warning(
                    "exchange.unreachable",
                    exchange=self._settings.exchange,
                    error=str(error),
                    retry_seconds=round(delay, 1),
                )
                await asyncio.sleep(delay)

    async def _admitted(self, streams: list[Stream]) -> list[Stream]:
        adapter = self._new_adapter(self._native_ids)
        id_spaces = {stream.channel: adapter.id_space(stream.channel) for stream in streams}
        admitted = await self._admit(streams, id_spaces)
        for stream in streams:
            if stream not in admitted:
                log.error(
                    "stream.refused",
                    stream=str(stream),
                    reason=f"its stored ids are not of kind {id_spaces[stream.channel]!r}, and kinds are never mixed",
                    remedy=f"set [exchanges.{stream.instrument.exchange}] trade_stream back",
                )
        self._set_state(admitted, "starting", None)
        return admitted

    def _new_session(self, streams: Sequence[Stream], on_change: Callable[[], None]) -> Session:
        return Session(
            self._new_adapter(self._native_ids),
            streams,
            self,
            proxy=self._settings.proxy,
            tap=self._session_tap() if self._session_tap else None,
            on_change=on_change,
        )

    def _on_live(self, streams: Sequence[Stream]) -> None:
        log.info("streams.live", exchange=self._settings.exchange, streams=len(streams))
        self._set_state(streams, "live", None)
        assert self._catchup is not None  # noqa: S101 - sessions start after it
        for stream in streams:
            if stream.channel == "candles":
                minutes = 0 if stream in self._live_before else self._settings.warmup
                self._catchup.want_candles(stream, max(minutes, self.feed.minutes_without_candle(stream)))
        self._live_before.update(streams)

    def _on_lost(self, streams: Sequence[Stream], error: Retryable) -> None:
        self.feed.disconnected(streams, str(error))
        self._set_state(streams, "blocked" if isinstance(error, Blocked) else "reconnecting", str(error))

    def _set_state(self, streams: Sequence[Stream], state: State, detail: str | None) -> None:
        for stream in streams:
            self.states[stream] = (state, detail)

    def _want_book(self, instrument_id: int) -> None:
        if self._catchup is not None:
            self._catchup.want_book(instrument_id)

    async def _sample(self) -> None:
        """Emit the books at each tick, also when no frame comes."""
        while True:
            await asyncio.sleep(tick_after(clock.now_ns(), self._settings.book_cadence_ns))
            self.feed.sample(clock.now_ns())


def select(settings: Settings, listed: Sequence[Instrument]) -> list[tuple[Instrument, Channel]]:
    """The listed instruments and channels that the subscriptions name, each once, in the order of the listing.

    A symbol that the venue does not list is logged with the nearest one that it does, and the rest goes on: one
    delisting must not keep a daemon from starting.
    """
    active = [instrument for instrument in listed if instrument.active]
    wanted: dict[tuple[str, Channel], tuple[Instrument, Channel]] = {}
    for subscription in settings.subscriptions:
        for pattern in subscription.symbols:
            found = [instrument for instrument in active if fnmatchcase(instrument.symbol, pattern)]
            if not found:
                near = difflib.get_close_matches(pattern, [instrument.symbol for instrument in active], n=1)
                log.error(
                    "symbol.unknown",
                    exchange=settings.exchange,
                    symbol=pattern,
                    remedy=f"did you mean {near[0]}?" if near else "the exchange lists nothing like it",
                )
            for instrument in found:
                for channel in subscription.channels:
                    wanted[instrument.symbol, channel] = (instrument, channel)
    return list(wanted.values())
