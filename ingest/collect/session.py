"""One websocket connection: connect, subscribe, read until it ends.

Everything that was received is taken, also after `close`: what waits in the library's own queue is read out
before the session ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ingest import clock
from ingest.errors import Retryable
from ingest.exchanges.adapter import Ack, Adapter, Ping, Shutdown, Subscription
from ingest.exchanges.rest import blocked
from ingest.records import Stream

log = structlog.get_logger()

_FRAME_MAX_BYTES = 16 * 1024 * 1024
_QUEUED_FRAMES = 1024
PING_SECONDS = 20.0
_ACK_SECONDS = 10.0
_CLOSE_SECONDS = 5.0


class Sink(Protocol):
    """Where frames go, and whether there is room for more."""

    @property
    def full(self) -> bool: ...

    async def room(self) -> None: ...

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Ack | Shutdown] | None:
        """What is addressed to the connection; None when the frame brought nothing, as a heartbeat does."""

    def defer(self, adapter: Adapter) -> None: ...

    def proceed(self, adapter: Adapter) -> None: ...

    def forget(self, adapter: Adapter) -> None: ...

    def refuse(self, streams: Sequence[Stream], said: str) -> None:
        """The venue will not deliver these, in its own words; the others of the connection go on."""

    def renewed(self, streams: Sequence[Stream]) -> None:
        """These were subscribed anew on their living connection, and the venue has acknowledged it."""


class Tap(Protocol):
    """Sees the raw traffic of a session, for `ingest record`."""

    def opened(self, url: str) -> None: ...

    def sent(self, frame: str) -> None: ...

    def received(self, frame: bytes, received_ns: int) -> None: ...


class Session:
    """Delivers `streams` to the sink until the connection ends.

    `live` is set when every subscription is acknowledged, `expiring` when another session should take over, and
    `delivering` at the first frame of data, which an answer or a heartbeat is not. `on_change` is called at the first
    two.
    """

    def __init__(
        self,
        adapter: Adapter,
        streams: Sequence[Stream],
        sink: Sink,
        *,
        proxy: str | None = None,
        ping_seconds: float = PING_SECONDS,
        tap: Tap | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._adapter = adapter
        self._streams = streams
        self._sink = sink
        self._proxy = proxy
        self._ping_seconds = ping_seconds
        self._tap = tap
        self._on_change = on_change
        self._socket: ClientConnection | None = None
        self._connecting: asyncio.Timeout | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._sending = asyncio.Lock()
        self._resubscribing: set[asyncio.Task[None]] = set()
        self._next_request_id = 1
        self._asked: dict[int, Subscription] = {}  # by request: what is not acknowledged yet
        self._refused: set[str] = set()  # what the venue called the streams that it refused
        self._answered = asyncio.Event()
        self._failure: Retryable | None = None
        self._closing = asyncio.Event()
        self.live = asyncio.Event()
        self.expiring = False
        self.delivering = False
        self.heard_ns = 0  # when the latest frame was received

    async def run(self) -> None:
        """Return after `close`; raise Retryable (or Blocked) when the venue or the line ended it."""
        if self._closing.is_set():
            return
        url = self._adapter.url(self._streams)
        try:
            async with asyncio.timeout(None) as self._connecting:
                self._socket = await self._connect(url)
        except TimeoutError:
            if self._closing.is_set():
                return
            raise Retryable(f"{self._adapter.exchange}: {_host(url)}: no answer to the handshake") from None
        except (OSError, WebSocketException) as error:
            raise self._explain(error, url) from error
        finally:
            self._connecting = None
        if self._tap is not None:
            self._tap.opened(url)
        async with self._socket, asyncio.TaskGroup() as group:
            self._tasks = group
            talking = [group.create_task(self._subscribe(self._socket))]
            if self._adapter.ping is not None:
                talking.append(group.create_task(self._beat(self._socket, self._adapter.ping)))
            closed = await self._read(self._socket)
            for task in (*talking, *self._resubscribing):
                task.cancel()
        if not self._closing.is_set():
            raise self._explain(self._failure or closed, url) from closed

    async def _connect(self, url: str) -> ClientConnection:
        # A line that is dead is given up two pings after it broke: by then one was sent, had its time to be answered,
        # and so had the closing, which the library waits for, too.
        close_seconds = min(_CLOSE_SECONDS, self._ping_seconds / 2)
        return await connect(
            url,
            compression=None,  # costs more CPU than the bytes are worth
            max_size=_FRAME_MAX_BYTES,
            max_queue=_QUEUED_FRAMES,
            ping_interval=self._ping_seconds,
            ping_timeout=self._ping_seconds - close_seconds,
            close_timeout=close_seconds,
            proxy=self._proxy or True,
        )

    async def close(self) -> None:
        """End the connection politely; `run` returns when everything received is taken."""
        self._closing.set()
        if self._socket is not None:
            await self._socket.close()
        elif self._connecting is not None:
            self._connecting.reschedule(0)
            self._connecting = None

    def defer(self) -> None:
        """It is to take over from another session: its book changes wait until `proceed`."""
        self._sink.defer(self._adapter)

    def proceed(self) -> None:
        self._sink.proceed(self._adapter)

    def forget(self) -> None:
        """It will not take over after all."""
        self._sink.forget(self._adapter)

    async def _subscribe(self, socket: ClientConnection) -> None:
        subscriptions = self._ask(self._streams)
        try:
            for subscription in subscriptions:
                await self._send(socket, subscription.frame)
            async with asyncio.timeout(_ACK_SECONDS):
                await self._answered.wait()
        except ConnectionClosed:
            return  # `_read` sees it too, and tells
        except TimeoutError:
            self._failure = Retryable(f"a subscription was not acknowledged within {_ACK_SECONDS:.0f} s")
        if self._failure is not None:
            await socket.close()  # and `_read` takes what came before

    def _ask(self, streams: Sequence[Stream]) -> Sequence[Subscription]:
        subscriptions = self._adapter.subscribe(streams, self._next_request_id)
        self._next_request_id += len(subscriptions)
        self._asked.update((subscription.request_id, subscription) for subscription in subscriptions)
        return subscriptions

    async def _send(self, socket: ClientConnection, frame: str) -> None:
        """Within the venue's limit, of which pings and pongs use some."""
        async with self._sending:
            await socket.send(frame)
            if self._tap is not None:
                self._tap.sent(frame)
            await asyncio.sleep(1.0 / max(1.0, self._adapter.limits.messages_per_second - 2))

    async def _beat(self, socket: ClientConnection, ping: Ping) -> None:
        """For ever: what the venue wants to hear of a client that is alive."""
        while True:
            await asyncio.sleep(ping.seconds)
            try:
                await self._send(socket, ping.frame)
            except ConnectionClosed:
                return

    def resubscribe(self, stream: Stream) -> bool:
        """End a subscription and begin it anew on this connection; False where the venue cannot."""
        if self._socket is None or self._tasks is None or not self.live.is_set() or self._closing.is_set():
            return False
        subscriptions = self._adapter.resubscribe(stream, self._next_request_id)
        self._next_request_id += len(subscriptions)
        for subscription in subscriptions[-1:]:  # those before it end the old one
            self._asked[subscription.request_id] = subscription
        self._send_beside(subscriptions)
        return bool(subscriptions)

    def _send_beside(self, subscriptions: Sequence[Subscription]) -> None:
        if subscriptions and self._socket is not None and self._tasks is not None:
            task = self._tasks.create_task(self._send_all(self._socket, subscriptions))
            self._resubscribing.add(task)
            task.add_done_callback(self._resubscribing.discard)

    async def _send_all(self, socket: ClientConnection, subscriptions: Sequence[Subscription]) -> None:
        try:
            for subscription in subscriptions:
                await self._send(socket, subscription.frame)
        except ConnectionClosed:
            return

    async def _read(self, socket: ClientConnection) -> ConnectionClosed:
        """Take frames until the connection is closed and the library's queue is empty; return how it was closed."""
        recv, sink, now_ns, adapter, tap = socket.recv, self._sink, clock.now_ns, self._adapter, self._tap
        take = sink.take
        while True:
            try:
                frame = await recv(decode=False)
            except ConnectionClosed as closed:
                return closed
            self.heard_ns = received_ns = now_ns()
            if tap is not None:
                tap.received(frame, received_ns)
            controls = take(adapter, frame, received_ns)
            if controls:
                for control in controls:
                    self._control(control)
            elif controls is not None:
                self.delivering = True
            if sink.full:
                await sink.room()

    def _control(self, control: Ack | Shutdown) -> None:
        if isinstance(control, Shutdown):
            self.expiring = True
            self._on_change()
            return
        if control.error is not None:
            if self._leave_out(control.request_id, control.error):
                return
            self._failure = Retryable(f"the venue refused a subscription: {control.error}")
            self._answered.set()
            if self.live.is_set() and self._tasks is not None and self._socket is not None:  # nobody waits any more
                self._resubscribing.add(self._tasks.create_task(self._socket.close()))
            return
        answered = self._asked.pop(control.request_id, None)
        if answered is not None and self.live.is_set():
            self._sink.renewed(answered.streams)
        self._acknowledge()

    def _leave_out(self, request_id: int, said: str) -> bool:
        """Go on without the streams that the venue refuses by name; False where it names none that were asked for."""
        refuses = self._adapter.refuses
        topics = set() if refuses is None else refuses.topics(said)
        one = self._asked.get(request_id)
        asked = [one] if one is not None else [] if request_id else list(self._asked.values())
        whole, left, refused = refuses is not None and refuses.whole, list[Stream](), list[Stream]()
        for subscription in asked:
            named = [stream for stream in subscription.streams if self._adapter.topic(stream) in topics]
            refused += named
            if named and whole:
                del self._asked[subscription.request_id]
                left += [stream for stream in subscription.streams if stream not in named]
        if not refused:  # unless it is said again, of another request that was asked before
            return bool(topics) and topics <= self._refused
        self._refused |= topics
        self._sink.refuse(refused, said)
        self._send_beside(self._ask(left) if left else ())
        self._acknowledge()
        return True

    def _acknowledge(self) -> None:
        if not self._asked and not self.live.is_set():
            self._answered.set()
            self.live.set()
            self._on_change()

    def _explain(self, error: BaseException, url: str) -> Retryable:
        exchange, host = self._adapter.exchange, _host(url)
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            if status in (403, 451):
                return blocked(exchange, status)
            after = error.response.headers.get("Retry-After", "")
            return Retryable(
                f"{exchange}: HTTP {status} from {host}",
                retry_after_seconds=min(float(after), 3600.0) if after.isascii() and after.isdigit() else None,
            )
        return Retryable(f"{exchange}: {host}: {error or type(error).__name__}")


def _host(url: str) -> str:
    return url.split("/")[2]
