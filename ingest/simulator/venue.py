"""The venue: one market, its ledger, and a server on 127.0.0.1 that tells of them as Binance does.

In real time the market follows the wall clock on a fixed grid of steps, so that the same seed and start give the same
events however the machine is loaded. In manual time nothing moves but by `Venue.advance`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal, Self

from aiohttp import web
from msgspec import Struct

from ingest.simulator.chaos import Mix
from ingest.simulator.control import Control
from ingest.simulator.door import Door
from ingest.simulator.feeds import Feeds
from ingest.simulator.history import History
from ingest.simulator.ledger import Ledger
from ingest.simulator.limits import SECOND_US, Limits
from ingest.simulator.listing import DEFAULT_SYMBOLS, Listed, listings
from ingest.simulator.market import Dynamics, Market
from ingest.simulator.rest import Rest
from ingest.simulator.rest_faults import RestFaults
from ingest.simulator.saboteur import Saboteur
from ingest.simulator.stream_faults import StreamFaults
from ingest.simulator.streams import Streams
from ingest.simulator.tape import Tape
from ingest.simulator.wire import Scribe

_STEPS_AT_ONCE: Final = 8
_URL_MAX_BYTES: Final = 64 * 1024  # 1024 streams may be named in it
_WAIT_ABOVE_BYTES: Final = 4 * 1024 * 1024


class VenueConfig(Struct, frozen=True, kw_only=True):
    """`start_us` is the market's first moment, the wall clock's by default; it is rounded down to a step.

    `slow_client`: `close` cuts a client off whose unread bytes pass the bound, `wait` holds the market until it has
    read (to measure what a client can take).
    """

    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    synthetic: int = 0
    seed: int = 7
    port: int = 0
    start_us: int | None = None
    realtime: bool = True
    history_minutes: int = 1_000
    history_trades_per_minute: int = 10
    dynamics: Dynamics = Dynamics()
    limits: Limits = Limits()
    slow_client: Literal["close", "wait"] = "close"
    chaos: Mix | None = None


class Venue:
    """A running venue. `rest_url` and `ws_url` are what a client takes in place of Binance's hosts.

    `faults` makes it misbehave towards its clients; the ledger stays the truth.
    """

    def __init__(self, config: VenueConfig) -> None:
        self.config = config
        self.paused = False
        self.stopped = asyncio.Event()
        self.port = 0
        tick_us = config.dynamics.tick_us
        begun_us = time.monotonic_ns() // 1_000
        start_us = time.time_ns() // 1_000 if config.start_us is None else config.start_us
        late_us = start_us % tick_us
        start_us -= late_us
        chosen = listings(config.symbols, config.synthetic)
        histories = [
            History(listing, config.seed, start_us, config.history_minutes, config.history_trades_per_minute)
            for listing in chosen
        ]
        mids, first_ids = tuple(past.close for past in histories), tuple(past.next_id for past in histories)
        self.market = Market(chosen, config.seed, start_us, config.dynamics, mids=mids, first_ids=first_ids)
        tapes = tuple(Tape(listing, history) for listing, history in zip(chosen, histories, strict=True))
        self.ledger = Ledger(chosen, tapes, self.market)
        scribes = tuple(Scribe(listing) for listing in chosen)
        self.feeds = Feeds(self.market, self.ledger, scribes)
        self.faults = Saboteur(self, config.seed, tuple(listing.native for listing in chosen), tick_us)
        self._stream_faults, self._rest_faults = StreamFaults(self.faults, self), RestFaults(self.faults, self)
        self.streams = Streams(self.feeds, config.limits, self.now_us, self._stream_faults)
        self.rest = Rest(
            self.market, self.ledger, scribes, config.limits, self.now_us, faults=self._rest_faults, told=self.told_us
        )
        if config.start_us is not None:  # a moment of its own begins when the venue is ready
            begun_us, late_us = time.monotonic_ns() // 1_000, 0
        self._door: Door | None = None
        self._offset_us = start_us + late_us - begun_us
        self._tended_us = start_us
        if config.chaos:
            self.faults.chaos(config.chaos)

    @classmethod
    @asynccontextmanager
    async def serve(cls, config: VenueConfig | None = None) -> AsyncIterator[Self]:
        """Serve until the block ends. In real time the market moves meanwhile."""
        venue = cls(config or VenueConfig())
        runner = web.AppRunner(
            venue._app(), access_log=None, handle_signals=False, shutdown_timeout=1.0, max_line_size=_URL_MAX_BYTES
        )
        await runner.setup()
        try:
            venue._door = Door(runner, venue.config.port)
            await venue._door.open()
            venue.port = venue._door.port
            running = asyncio.create_task(venue._run()) if venue.config.realtime else None
            try:
                yield venue
            finally:
                await venue._end(running)
        finally:
            await runner.cleanup()
            if venue._door:
                venue._door.release()

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def now_us(self) -> int:
        """The venue's clock: the wall's in real time, the market's in manual time. Never behind the market."""
        if not self.config.realtime:
            return self.market.time_us
        return max(self._offset_us + time.monotonic_ns() // 1_000, self.market.time_us)

    def told_us(self) -> int:
        """The clock as clients are told: a fault may make it jump."""
        return self.now_us() + self.faults.jump_us

    @property
    def market_us(self) -> int:
        """How far the market has come."""
        return self.market.time_us

    def native(self, symbol: str) -> str:
        """An instrument's own name, by either. Raises `KeyError` for one not listed."""
        return self.ledger.listings[self.ledger.index(symbol)].native

    @property
    def lag_us(self) -> int:
        """How far the market is behind the clock, paused or overloaded."""
        return self.now_us() - self.market.time_us

    def tick(self, to_us: int | None = None) -> None:
        """One step of the market, kept in the ledger and sent to whoever listens. `to_us` may skip quiet time."""
        tick_us = self.market.tick_us
        now_us = self.market.time_us + tick_us if to_us is None else to_us
        self.faults.step(now_us)
        self.ledger.advance(now_us - tick_us)
        batches = self.market.step(now_us)
        self.ledger.record(batches)
        self._release()
        for batch in batches:
            self.feeds.on_batch(batch)
        self.ledger.advance(now_us)
        self.feeds.on_time(now_us)
        for connection in self.streams.connections.values():
            connection.flush()

    async def advance(self, seconds: float) -> None:
        """Let that much market time pass at once, the clients reading meanwhile. For manual time."""
        for step in range(round(seconds * SECOND_US) // self.market.tick_us):
            self.tick()
            if step % 10 == 9:
                await self._tend()
        await self._tend()

    def pause(self, *, paused: bool) -> None:
        """Freeze the market, or let it go on from the clock's present: the time between stays empty."""
        self.paused = paused

    def burst(self, symbol: str, trades: int) -> None:
        """Let one instrument make that many trades in the next step. Raises `KeyError` for one not listed."""
        self.market.burst(self.ledger.index(symbol), trades)

    def list_as(self, symbol: str, listed: Listed) -> None:
        """Let the listing say this of an instrument; its market goes on. Raises `KeyError` for one that never was."""
        self.rest.listed[self.native(symbol)] = listed

    def stop(self) -> None:
        """Ask whoever runs the venue to end it: sets `stopped`."""
        self.stopped.set()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ws", self.streams.connect)
        app.router.add_get("/ws/{streams:.*}", self.streams.connect)
        app.router.add_get("/stream", self.streams.connect)
        app.router.add_get("/stream/{rest:.*}", self.streams.connect)
        app.router.add_get("/api/v3/{path:.*}", self.rest.answer)
        app.add_routes(Control(self.ledger, self).routes())
        return app

    async def _run(self) -> None:
        try:
            await self._follow_clock()
        finally:
            self.stopped.set()

    async def _follow_clock(self) -> None:
        tick_us = self.market.tick_us
        resumed = False
        while True:
            now_us = self.now_us()
            if self.paused:
                resumed = True
            else:
                if resumed:
                    self.tick(max(now_us - now_us % tick_us, self.market.time_us + tick_us))
                    resumed = False
                for _ in range(_STEPS_AT_ONCE):
                    if self.market.time_us + tick_us > now_us or self._must_wait():
                        break
                    self.tick()
            self._release()
            await self._tend()
            wait_us = self.market.time_us + tick_us - self.now_us()
            await asyncio.sleep(max(wait_us, tick_us if self.paused else 0) / SECOND_US)

    def _must_wait(self) -> bool:
        if self.config.slow_client == "close":
            return False
        return any(connection.buffered > _WAIT_ABOVE_BYTES for connection in self.streams.connections.values())

    async def _end(self, running: asyncio.Task[None] | None) -> None:
        """Owned here rather than by a TaskGroup, which would wrap what a test raises inside `serve`."""
        if running:
            running.cancel()
            await asyncio.wait([running])
        self._rest_faults.release(None)
        await self.streams.close()
        if running and not running.cancelled():
            running.result()

    def _release(self) -> None:
        """Let go on what faults held back until now, by the clock: also while the market is paused."""
        now_us = self.now_us()
        self._stream_faults.release(now_us)
        self._rest_faults.release(now_us)

    async def _tend(self) -> None:
        """What is due by the clock beside the market; then clients have their turn."""
        if self._door and self._door.is_open != self.faults.listening:
            await (self._door.close() if self._door.is_open else self._door.open())
        now_us = self.now_us()
        if now_us - self._tended_us >= SECOND_US // 10:
            self._tended_us = now_us
            self.streams.tend()
        await asyncio.sleep(0)
