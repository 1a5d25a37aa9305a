"""Channels that only REST brings: asked for in time, told as delivered while it answers, and as lost when not."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from ingest.collect.poll import Poller
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Event, Options, Request
from ingest.exchanges.binance import Binance
from ingest.exchanges.rest import Reply
from ingest.records import Channel, Instrument, Stream

SWAP = Instrument("binance", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT")
INTEREST = Stream(1, SWAP, "open_interest")
CANDLES = Stream(1, SWAP, "candles")


class Venue(Binance):
    def polled(self, _instrument: Instrument) -> Mapping[Channel, float]:
        return {"open_interest": 0.01, "candles": 60.0}

    def poll_request(self, stream: Stream) -> Request:
        return Request(f"http://venue/{stream.channel}", 1)

    def decode_poll(self, _stream: Stream, _body: bytes, _received_ns: int) -> Sequence[Event]:
        return ()


class Keeper:
    """Notes what it hears, in order; stands in for the feed and the catch-up as well."""

    def __init__(self, answers: Sequence[bytes | Exception]) -> None:
        self.heard: list[object] = []
        self.feed: Any = self
        self._answers = list(answers)

    async def fetch(self, _request: Request, *, keep: float = 0.0) -> Reply:
        assert 0.0 < keep < 1.0
        if not self._answers:
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, 7, None)

    def on_live(self, subscribed: Sequence[Stream]) -> None:
        self.heard.append(("live", [stream.channel for stream in subscribed]))

    def on_lost(self, subscribed: Sequence[Stream], error: Retryable, heard_ns: int) -> None:
        self.heard.append(("lost", [stream.channel for stream in subscribed], str(error), heard_ns))

    async def room(self) -> None:
        return

    def take_poll(self, _adapter: object, stream: Stream, body: bytes, received_ns: int) -> None:
        self.heard.append((stream.channel, body, received_ns))

    def minutes_without_candle(self, _stream: Stream, _now_ns: int) -> int:
        return 3

    def want_candles(self, instrument_id: int, minutes: int) -> None:
        self.heard.append(("candles", instrument_id, minutes))


@asynccontextmanager
async def polling(keeper: Keeper, *streams: Stream) -> AsyncIterator[Poller]:
    poller = Poller(keeper, Venue({"BTCUSDT": 1}, Options()), keeper, keeper)  # type: ignore[arg-type]
    poller.follow(streams)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_heard(keeper: Keeper, count: int) -> None:
    async with asyncio.timeout(5):
        while len(keeper.heard) < count:  # noqa: ASYNC110 - there is nothing to wait for but the clock
            await asyncio.sleep(0.001)


async def test_it_is_live_at_the_first_answer_lost_at_a_failure_and_live_again() -> None:
    keeper = Keeper([b"1", b"2", Retryable("cut"), Rejected("HTTP 400"), b"3"])
    async with polling(keeper, INTEREST):
        await until_heard(keeper, 6)
    assert keeper.heard == [
        ("live", ["open_interest"]),
        ("open_interest", b"1", 7),
        ("open_interest", b"2", 7),
        ("lost", ["open_interest"], "cut", 7),
        ("live", ["open_interest"]),
        ("open_interest", b"3", 7),
    ]


async def test_what_is_not_followed_any_more_is_not_asked_for() -> None:
    keeper = Keeper([b"1"] * 1000)
    async with polling(keeper, INTEREST) as poller:
        await until_heard(keeper, 3)
        poller.unfollow([INTEREST])
        await asyncio.sleep(0.03)
        before = len(keeper.heard)
        await asyncio.sleep(0.05)
    assert len(keeper.heard) == before


async def test_candles_begin_with_what_a_new_stream_asks_for() -> None:
    keeper = Keeper([])
    async with polling(keeper, CANDLES):
        await until_heard(keeper, 1)
    assert keeper.heard == [("live", ["candles"])]
