"""Keeps one set of streams connected for ever: restart with back-off, replace before the venue closes.

A connection that the venue will end (after its lifetime, or announced by `Shutdown`) is replaced while it
still delivers: the new one is live before the old one is closed, so nothing falls between them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import structlog

from ingest import events
from ingest.errors import Blocked, Retryable
from ingest.records import Stream
from ingest.retry import BLOCKED_RETRY_SECONDS, Backoff

log = structlog.get_logger()

_LIFETIME_SHARE = 0.97
"""Of what the venue allows a connection: the rest is room for the hand-over."""


class Connection(Protocol):
    """What a supervisor needs of a session. `run` delivers until `close` (or raises Retryable)."""

    live: asyncio.Event
    expiring: bool
    delivering: bool
    heard_ns: int

    async def run(self) -> None: ...

    async def close(self) -> None: ...

    def defer(self) -> None: ...

    def proceed(self) -> None: ...

    def forget(self) -> None: ...

    def resubscribe(self, stream: Stream) -> bool: ...


NewSession = Callable[[Sequence[Stream], Callable[[], None]], Connection]


class _Running:
    """A session's task: how long it may live, and how it ended."""

    def __init__(self, session: Connection, streams: Sequence[Stream], expires_at: float) -> None:
        self.session = session
        self.streams = streams
        self.expires_at = expires_at
        self.announced = False
        self.loss_told = False
        self.tried = False  # to hand over, and it failed: the next try has its time
        self.done = asyncio.Event()
        self.ended = False
        self.error: Retryable | None = None


class Supervisor:
    """One set of streams that fits into one connection.

    `on_live` is called when the streams are subscribed, by a first connection or by one that took over; `on_lost` when
    they are lost, with the time of the last frame. Both are called in the supervisor's own task. `slot` waits until the
    venue allows another connection.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        new_session: NewSession,
        *,
        group: str = "",
        slot: Callable[[], Awaitable[None]],
        lifetime_seconds: float,
        on_live: Callable[[Sequence[Stream]], None],
        on_lost: Callable[[Sequence[Stream], Retryable, int], None],
        backoff: Backoff | None = None,
        exchange: str = "",
        emit: events.Emit = events.say,
    ) -> None:
        self.streams = list(streams)
        self.group = group
        self._session: Connection | None = None  # the one that delivers
        self._new_session = new_session
        self._slot = slot
        self._lifetime_seconds = lifetime_seconds * _LIFETIME_SHARE
        self._on_live = on_live
        self._on_lost = on_lost
        self._exchange = exchange
        self._emit = emit
        self._backoff = backoff or Backoff()
        self._changed = asyncio.Event()
        self._stopping = False
        self._renewing = False
        self._queueing: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Close what is open; `run` returns when everything received is taken."""
        self._stopping = True
        if self._queueing is not None and not self._queueing.expired():
            self._queueing.reschedule(0)
            self._queueing = None
        self._changed.set()

    def change(self, streams: Sequence[Stream]) -> None:
        """Deliver these instead: another connection is made for them and takes over."""
        self.streams = list(streams)  # another list: a connection is known by the one that it was made for
        self._changed.set()

    def leave_out(self, streams: Collection[Stream]) -> None:
        """The venue does not deliver these: the connection goes on without them, and none to come asks for them."""
        self.streams[:] = [stream for stream in self.streams if stream not in streams]

    def renew(self) -> None:
        """Let another connection take over: a subscription of this one is dead."""
        self._renewing = True
        self._changed.set()

    @property
    def live(self) -> bool:
        """Whether there is a connection that has all its subscriptions."""
        return self._session is not None and self._session.live.is_set()

    def resubscribe(self, stream: Stream) -> bool:
        """Subscribe one stream anew on the living connection; False where the venue cannot, or there is none."""
        return self._session is not None and self._session.resubscribe(stream)

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            current = await self._start(group)
            successor: _Running | None = None
            while not self._stopping:
                self._session = None if current.ended else current.session
                if current.ended and successor is None:
                    await self._recover(current)
                    if not self._stopping:
                        current = await self._start(group)
                elif successor is not None and (current.ended or successor.session.live.is_set() or successor.ended):
                    current, successor = await self._hand_over(current, successor), None
                elif successor is None and self._expires(current):
                    log.info("session.expiring", streams=len(self.streams))
                    successor = await self._start(group)
                    successor.session.defer()
                else:
                    if current.session.live.is_set() and not current.announced:
                        current.announced, current.loss_told = True, False
                        self._on_live(current.streams)
                    await self._wait(None if successor is not None else current.expires_at)
            for running in (successor, current):
                if running is not None:
                    await running.session.close()

    async def _start(self, group: asyncio.TaskGroup) -> _Running:
        try:
            async with asyncio.timeout(None) as self._queueing:
                await self._slot()
        except TimeoutError:  # `stop` ended it; the session is closed before it begins
            pass
        finally:
            self._queueing = None
        self._renewing = False
        session = self._new_session(self.streams, self._changed.set)
        running = _Running(session, self.streams, asyncio.get_running_loop().time() + self._lifetime_seconds)
        group.create_task(self._run(running))
        return running

    async def _run(self, running: _Running) -> None:
        try:
            await running.session.run()
        except Retryable as error:
            running.error = error
        finally:
            running.ended = True
            running.done.set()
            self._changed.set()

    async def _hand_over(self, current: _Running, successor: _Running) -> _Running:
        """The one of the two that goes on; the other one is closed, or has ended."""
        if successor.ended and not current.ended:
            log.warning("session.handover_failed", error=str(successor.error))
            successor.session.forget()
            current.tried = True
            current.expires_at = asyncio.get_running_loop().time() + self._backoff.next_seconds()
            return current
        if current.ended and not successor.session.live.is_set():
            self._tell_loss(current)
            successor.loss_told = True
        await current.session.close()
        await current.done.wait()  # it has said its last
        successor.session.proceed()
        return successor

    async def _recover(self, lost: _Running) -> None:
        """Tell of the loss, and wait as long as the back-off says."""
        error = lost.error or Retryable("the connection was closed")
        if lost.session.delivering:
            self._backoff.reset()
        delay = self._backoff.next_seconds()
        if isinstance(error, Blocked):
            delay = max(delay, BLOCKED_RETRY_SECONDS)
        elif error.retry_after_seconds is not None:
            delay = max(delay, error.retry_after_seconds)
        if not lost.loss_told:
            self._tell_loss(lost)
        self._emit(events.SessionLost(self._exchange, str(error), len(self.streams), round(delay, 1)))
        await self._wait(asyncio.get_running_loop().time() + delay, until_stopped=True)

    def _tell_loss(self, lost: _Running) -> None:
        error = lost.error or Retryable("the connection was closed")
        self._on_lost(lost.streams, error, lost.session.heard_ns)

    def _expires(self, running: _Running) -> bool:
        wanted = running.session.expiring or self._renewing or running.streams is not self.streams
        return (wanted and not running.tried) or asyncio.get_running_loop().time() >= running.expires_at

    async def _wait(self, until: float | None, *, until_stopped: bool = False) -> None:
        """Wait for a change, or only for `stop`, at the longest until the loop's time `until` (None: for ever)."""
        try:
            async with asyncio.timeout_at(until):
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    if self._stopping or not until_stopped:
                        return
        except TimeoutError:
            return
