"""Channels that no stream of the venue brings: asked for by REST, again and again."""

import asyncio
import heapq
from collections.abc import Sequence
from typing import Protocol

from ingest import clock
from ingest.clock import MINUTE, SECOND
from ingest.collect.catchup import Catchup
from ingest.collect.feed import Feed
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.rest import Rest
from ingest.records import Stream

_CANDLE_LATE_NS = 3 * SECOND
"""A candle is asked for this long after its minute: before, venues hold it back as not yet final."""
KEPT_FOR_OTHERS = 0.25  # of the venue's limit: books and candles that a stream lost come first
_IDLE_SECONDS = 1.0


class Keeper(Protocol):
    """Whose streams they are: it hears when they are delivered, and when not."""

    feed: Feed

    def on_live(self, subscribed: Sequence[Stream]) -> None: ...

    def on_lost(self, subscribed: Sequence[Stream], error: Retryable, heard_ns: int) -> None: ...

    async def room(self) -> None: ...


class Poller:
    """`run` serves the streams that it is told to follow; as many calls are made at a time as tasks run it."""

    def __init__(self, rest: Rest, adapter: Adapter, keeper: Keeper, catchup: Catchup) -> None:
        self._rest = rest
        self._adapter = adapter
        self._keeper = keeper
        self._catchup = catchup
        self._due: list[tuple[int, int, Stream]] = []  # a heap: when (monotonic), a number that breaks ties, which
        self._heard_ns: dict[Stream, int] = {}  # 0 while the last call failed
        self._numbers = 0

    def follow(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            self._heard_ns[stream] = 0
            self._put(stream, clock.monotonic_ns())

    def unfollow(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            self._heard_ns.pop(stream, None)

    async def run(self) -> None:
        """For ever."""
        while True:
            now_ns = clock.monotonic_ns()
            if not self._due or self._due[0][0] > now_ns:
                wait_ns = self._due[0][0] - now_ns if self._due else SECOND
                await asyncio.sleep(min(wait_ns / SECOND, _IDLE_SECONDS))
                continue
            _, _, stream = heapq.heappop(self._due)
            if stream not in self._heard_ns:
                continue
            if stream.channel == "candles":
                self._ask_for_candles(stream)
            else:
                await self._poll(stream)

    def _ask_for_candles(self, stream: Stream) -> None:
        """The latest, and those that did not come before."""
        now_ns = clock.now_ns()
        if not self._heard_ns[stream]:
            self._keeper.on_live([stream])  # which asks for what was missed
        else:
            self._catchup.want_candles(
                stream.instrument_id, max(1, self._keeper.feed.minutes_without_candle(stream, now_ns) - 1)
            )
        self._heard_ns[stream] = now_ns
        into_ns = (now_ns - _CANDLE_LATE_NS) % MINUTE
        self._put(stream, clock.monotonic_ns() + MINUTE - into_ns)

    async def _poll(self, stream: Stream) -> None:
        began_ns = clock.monotonic_ns()
        keeper, before_ns = self._keeper, self._heard_ns[stream]
        try:
            reply = await self._rest.fetch(self._adapter.poll_request(stream), keep=KEPT_FOR_OTHERS)
            await keeper.room()
            if not before_ns:
                keeper.on_live([stream])
            keeper.feed.take_poll(self._adapter, stream, reply.body, reply.received_ns)
            self._heard(stream, reply.received_ns)
        except (Retryable, Rejected) as error:
            if before_ns:
                lost = error if isinstance(error, Retryable) else Retryable(str(error))
                keeper.on_lost([stream], lost, before_ns)
            self._heard(stream, 0)
        self._put(stream, began_ns + int(self._adapter.polled(stream.instrument)[stream.channel] * SECOND))

    def _heard(self, stream: Stream, at_ns: int) -> None:
        if stream in self._heard_ns:  # it may be collected no more
            self._heard_ns[stream] = at_ns

    def _put(self, stream: Stream, due_ns: int) -> None:
        self._numbers += 1
        heapq.heappush(self._due, (due_ns, self._numbers, stream))
