"""Faults as a plain client meets them, in manual time: what it is told, what the ledger says of it, how it ends."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from ingest.simulator.__main__ import configuration, parser
from ingest.simulator.chaos import WEIGHTS, Mix
from ingest.simulator.faults import (
    KINDS,
    Burst,
    ClockJump,
    Drop,
    Fault,
    ForgottenHistory,
    LaggingHistory,
    Lapse,
    Malformed,
    Mute,
    NoAck,
    Refuse,
    Reorder,
    Repeat,
    RestCut,
    RestEmpty,
    RestError,
    RestMalformed,
    RestSilent,
    RestTruncated,
    Skip,
    StaleDepth,
    Stall,
    Unreachable,
    fields,
    read_fault,
)  # fmt: skip
from ingest.simulator.limits import Limits
from ingest.simulator.market import Dynamics
from ingest.simulator.saboteur import Incident
from ingest.simulator.venue import Venue, VenueConfig

START_US = 1_760_000_015_000_000
SECOND_US = 1_000_000
TRADES = "ws/btcusdt@trade?timeUnit=MICROSECOND"
HANDSHAKE = (
    b"GET /ws/btcusdt@trade?timeUnit=MICROSECOND HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Socket = aiohttp.ClientWebSocketResponse


class Visit:
    """A venue and one client of it."""

    def __init__(self, venue: Venue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self.session = session

    async def connect(self, path: str = TRADES) -> Socket:
        socket = await self.session.ws_connect(f"{self.venue.ws_url}/{path}", max_msg_size=0)
        await heard(socket)
        return socket

    async def get(self, path: str, status: int = 200) -> Any:
        url = f"{self.venue.rest_url}/api/v3/{path}"
        async with self.session.get(url, headers={"X-MBX-TIME-UNIT": "MICROSECOND"}) as reply:
            assert reply.status == status, await reply.text()
            return orjson.loads(await reply.read())

    async def post(self, path: str, said: Any, status: int = 200) -> str:
        async with self.session.post(f"{self.venue.rest_url}{path}", data=orjson.dumps(said)) as reply:
            assert reply.status == status, await reply.text()
            return await reply.text()

    def did(self) -> list[tuple[str, str, str, int, list[tuple[int, int]]]]:
        return [(one.kind, one.target, one.did, one.times, one.ids) for one in self.venue.faults.happened]


@asynccontextmanager
async def visiting(*faults: Fault, chaos: Mix | None = None, rate: float = 20.0) -> AsyncIterator[Visit]:
    config = VenueConfig(
        symbols=("BTC/USDT", "ETH/USDT"),
        start_us=START_US,
        realtime=False,
        history_minutes=60,
        dynamics=Dynamics(trades_per_second=rate, book_levels=50, burst=1.0),
        limits=Limits(messages_per_second=1_000, weight_per_minute=100_000),
        chaos=chaos,
    )
    async with Venue.serve(config) as venue, aiohttp.ClientSession() as session:
        for fault in faults:
            venue.faults.add(fault)
        yield Visit(venue, session)


async def heard(socket: Socket) -> list[str]:
    """Everything sent so far: up to the answer of a question asked now."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 999})
    found: list[str] = []
    while True:
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        if message.data.endswith('"id":999}'):
            return found
        found.append(message.data)


def truth(venue: Venue) -> tuple[Any, ...]:
    ledger = venue.ledger
    names = ("BTCUSDT", "ETHUSDT")
    return (
        ledger.summary(),
        [list(ledger.trades(name)) for name in names],
        [list(ledger.candles(name)) for name in names],
        [ledger.books(name, [ledger.trails[index].sequence], 20) for index, name in enumerate(names)],
    )


async def told(*faults: Fault, seconds: float = 5, path: str = TRADES) -> tuple[list[str], list[Incident], Any]:
    """What one client reads, the ledger of faults, and the truth, which must not depend on them."""
    async with visiting(*faults) as visit:
        socket = await visit.connect(path)
        await visit.venue.advance(seconds)
        texts = await heard(socket)
        return texts, visit.venue.faults.happened, truth(visit.venue)


def ids(texts: list[str]) -> list[int]:
    return [orjson.loads(text)["t"] for text in texts]


# Messages


async def test_one_message_repeated_swapped_or_skipped_and_the_market_is_the_same() -> None:
    clean, none, market = await told()
    assert (len(clean) > 30, none) == (True, [])
    number = ids(clean)
    expected: list[tuple[Fault, list[str], str, list[tuple[int, int]]]] = [
        (Repeat(2, after=3), clean[:4] + [clean[3]] * 2 + clean[4:], "sent 2 more", [(number[3],) * 2]),
        (Reorder(after=3), [*clean[:3], clean[4], clean[3], *clean[5:]], "sent after the next", [(number[3],) * 2]),
        (
            Reorder(after=3, count=2),
            [*clean[:3], clean[4], clean[3], clean[6], clean[5], *clean[7:]],
            "sent after the next",
            [(number[3],) * 2, (number[5],) * 2],
        ),
        (Skip(after=2, count=3), clean[:2] + clean[5:], "skipped", [(number[2], number[4])]),
        (Skip(symbol="BTC/USDT", stream="trade"), clean[1:], "skipped", [(number[0],) * 2]),
    ]
    for fault, texts, did, touched in expected:
        found, happened, same_market = await told(fault)
        assert found == texts
        assert same_market == market
        (one,) = happened
        assert (one.fault, one.random, one.target, one.did) == (1, False, "connection 1 btcusdt@trade", did)
        assert (one.times, one.ids) == (fault.count or 1, touched)
    for fault in (Skip(symbol="ETHUSDT"), Skip(stream="btcusdt@aggTrade"), Skip(at_us=START_US + 60 * SECOND_US)):
        assert (await told(fault))[:2] == (clean, [])


async def test_a_message_held_back_or_repeated_later() -> None:
    clean, _, market = await told()
    event = [orjson.loads(text)["E"] for text in clean]
    due = next(place for place, time in enumerate(event) if time >= event[3] + 300_000)
    held, _, same_market = await told(Reorder(300, after=3))
    assert held == [*clean[:3], *clean[4:due], clean[3], *clean[due:]]
    assert same_market == market
    repeated, _, _ = await told(Repeat(1, 300, after=3))
    assert repeated == [*clean[:due], clean[3], *clean[due:]]


async def test_a_swapped_message_does_not_wait_for_ever() -> None:
    async with visiting(Reorder(after=0)) as visit:
        socket = await visit.connect()
        while visit.venue.ledger.summary().symbols[0].trades == 0:
            visit.venue.tick()
        first = visit.venue.ledger.summary().symbols[0].first_trade_id
        visit.venue.market.pits[0]._rate = 0.0
        await visit.venue.advance(0.9)
        assert await heard(socket) == []
        await visit.venue.advance(0.2)
        assert ids(await heard(socket)) == [first]


async def test_messages_lost_by_chance_are_named_and_come_from_the_seed() -> None:
    clean, _, market = await told(seconds=20)
    found, happened, same_market = await told(Skip(0.3, seconds=10), seconds=20)
    (one,) = happened
    lost = {number for first, last in one.ids for number in range(first, last + 1)}
    assert len(lost) == one.times > 10
    assert found == [text for text, number in zip(clean, ids(clean), strict=True) if number not in lost]
    assert same_market == market
    assert max(orjson.loads(text)["E"] for text in clean if orjson.loads(text)["t"] in lost) < START_US + 10 * SECOND_US
    assert await told(Skip(0.3, seconds=10), seconds=20) == (found, happened, market)


async def test_a_stall_holds_all_and_then_sends_all_in_order() -> None:
    clean, _, market = await told(seconds=6)
    async with visiting(Stall(seconds=3, stream="trade", at_us=START_US + SECOND_US)) as visit:
        socket = await visit.connect()
        await visit.venue.advance(3.98)
        before = await heard(socket)
        assert before == [text for text in clean if orjson.loads(text)["E"] < START_US + SECOND_US]
        await visit.venue.advance(2.02)
        assert before + await heard(socket) == clean
        assert truth(visit.venue) == market
        (one,) = visit.venue.faults.happened
        held = [number for text, number in zip(clean, ids(clean), strict=True) if text not in before]
        held = held[: one.times]
        assert (one.did, one.ids) == ("held back", [(held[0], held[-1])])
    async with visiting() as visit:
        socket = await visit.connect()
        visit.venue.faults.add(Stall(seconds=2))
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await visit.venue.advance(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await socket.receive()
        visit.venue.faults.clear()
        await visit.venue.advance(0.01)
        late = [orjson.loads(await socket.receive_str())]
        while "id" not in late[-1]:
            late.append(orjson.loads(await socket.receive_str()))
        assert [said["t"] for said in late[:-1]] == [number for number in ids(clean) if number <= late[-2]["t"]]


WRONG: dict[str, Callable[[Any], bool]] = {
    "wrong_type": lambda said: (type(said["p"]), type(said["T"])) != (str, int),
    "missing_field": lambda said: not {"p", "T"} <= said.keys(),
    "negative_price": lambda said: said["p"].startswith("-"),
    "nan_price": lambda said: said["p"] == "NaN",
    "infinite_price": lambda said: said["p"] == "Infinity",
    "future": lambda said: said["T"] > START_US + 9 * 365 * 86_400 * SECOND_US,
    "1970": lambda said: said["T"] == 1_000_000,
    "unknown_event": lambda said: said["e"] == "neverHeardOf",
    "unknown_symbol": lambda said: said["s"] == "NOPE",
    "huge": lambda said: len(said["padding"]) > 9_999_000,
}


@pytest.mark.parametrize("what", [*WRONG, "truncated", "other_price"])
async def test_a_malformed_message_beside_or_instead_of_the_right_one(what: Any) -> None:
    clean, _, market = await told(seconds=1)
    found, happened, same_market = await told(Malformed(what, after=2), seconds=1)
    assert [*found[:3], *found[4:]] == clean
    assert same_market == market
    right, wrong = orjson.loads(clean[2]), found[3]
    (one,) = happened
    assert one.ids == [(right["t"], right["t"])]
    if what == "truncated":
        assert clean[2].startswith(wrong)
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(wrong)
        assert one.did == "then truncated"
    elif what == "other_price":
        said = orjson.loads(wrong)
        assert said | {"p": right["p"]} == right
        assert said["p"] == f"{int(right['p'].split('.')[0]) + 1}.{right['p'].split('.')[1]}"
    else:
        assert WRONG[what](orjson.loads(wrong))
        assert not WRONG[what](right | {"padding": ""})
    if what == "huge":
        assert len(wrong) == 10_000_000
    instead, _, _ = await told(Malformed(what, instead=True, after=2), seconds=1)
    assert instead == [*clean[:2], wrong, *clean[3:]]


@pytest.mark.parametrize("kind", ["kline_1m", "depth@100ms", "bookTicker", "depth5@100ms", "ticker", "aggTrade"])
async def test_every_stream_can_be_malformed(kind: str) -> None:
    path = f"stream?streams=btcusdt@{kind}"
    clean, _, _ = await told(seconds=4, path=path)
    for what in [*WRONG, "truncated", "other_price"]:
        found, happened, _ = await told(Malformed(what), seconds=4, path=path)  # type: ignore[arg-type]
        assert [found[0], *found[2:]] == clean
        assert found[1] != found[0]
        assert len(happened[0].ids) == (kind != "ticker")


async def test_the_told_clock_jumps_and_the_times_of_trades_stay() -> None:
    clean, _, market = await told(seconds=4)
    async with visiting(ClockJump(-7_000, seconds=2, at_us=START_US + SECOND_US)) as visit:
        socket = await visit.connect()
        await visit.venue.advance(2)
        assert await visit.get("time") == {"serverTime": START_US - 5 * SECOND_US}
        async with visit.session.get(f"{visit.venue.rest_url}/api/v3/ping") as reply:
            assert reply.headers["Date"] == "Thu, 09 Oct 2025 08:53:30 GMT"
        await visit.venue.advance(2)
        assert await visit.get("time") == {"serverTime": START_US + 4 * SECOND_US}
        found = [orjson.loads(text) for text in await heard(socket)]
        expected = [orjson.loads(text) for text in clean]
        for said in expected:
            if START_US + SECOND_US <= said["E"] < START_US + 3 * SECOND_US:
                said["E"] -= 7 * SECOND_US
        assert found == expected
        assert truth(visit.venue) == market
        assert visit.did() == [("clock_jump", "clock", "told -7000 ms", 1, [])]


# Connections


@pytest.mark.parametrize("how", ["close", "abort", "half_open", "mid_frame"])
async def test_a_connection_ends_at_a_message_and_a_new_one_serves(how: Any) -> None:
    clean, _, market = await told(seconds=10)
    async with visiting(Drop(how, after=4)) as visit:
        socket = await visit.connect()
        await visit.venue.advance(5)
        assert [(await socket.receive()).data for _ in range(4)] == clean[:4]
        if how == "half_open":
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await visit.venue.advance(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await socket.receive()
            assert len(visit.venue.streams.connections) == 1
        else:
            message = await socket.receive()
            kinds = aiohttp.WSMsgType
            assert message.type in ({kinds.CLOSE} if how == "close" else {kinds.CLOSED, kinds.CLOSING, kinds.ERROR})
            assert how != "close" or (message.data, message.extra) == (1001, "going away")
            await visit.venue.advance(1)
        again = await visit.connect()
        await visit.venue.advance(4)
        rest = await heard(again)
        assert rest == clean[-len(rest) :]
        assert len(rest) > 20
        assert truth(visit.venue) == market
        lost = orjson.loads(clean[4])["t"]
        assert visit.did() == [("drop", "connection 1 btcusdt@trade", f"dropped: {how}", 1, [(lost, lost)])]
        await socket.close()


async def test_the_bytes_of_a_reset_and_of_a_frame_cut_in_its_middle() -> None:
    clean, _, _ = await told(seconds=1)
    for how in ("abort", "mid_frame"):
        async with visiting(Drop(how, after=1)) as visit:
            reader, writer = await asyncio.open_connection("127.0.0.1", visit.venue.port)
            writer.write(HANDSHAKE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            await visit.venue.advance(0.1)
            first = b"\x81\x7e" + len(clean[0]).to_bytes(2, "big") + clean[0].encode()
            frame = b"\x81\x7e" + len(clean[1]).to_bytes(2, "big") + clean[1].encode()
            await visit.venue.advance(0.9)
            if how == "abort":
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            else:
                assert await reader.read() == first + frame[: len(frame) // 2]
            writer.close()


async def test_handshakes_are_refused_for_a_while() -> None:
    async with visiting(Refuse(429, seconds=5, at_us=START_US + SECOND_US)) as visit:
        await visit.connect()
        await visit.venue.advance(2.5)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await visit.connect()
        assert (refused.value.status, dict(refused.value.headers or {}).get("Retry-After")) == (429, "4")
        await visit.venue.advance(3.5)
        await visit.connect()
        visit.venue.faults.add(Refuse(503, stream="ethusdt@trade"))
        await visit.connect()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await visit.connect("stream?streams=btcusdt@trade/ethusdt@trade")
        visit.venue.faults.add(Refuse(418, retry_after=120))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await visit.connect()
        assert (refused.value.status, dict(refused.value.headers or {}).get("Retry-After")) == (418, "120")
        visit.venue.faults.add(Refuse(0, count=2))
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", visit.venue.port)
            writer.write(HANDSHAKE)
            assert await reader.read() == b""
            writer.close()
        await visit.connect()
        assert [(kind, did, times) for kind, _, did, times, _ in visit.did()] == [
            ("refuse", "refused with 429", 1), ("refuse", "refused with 503", 1), ("refuse", "refused with 418", 1),
            ("refuse", "closed without an answer", 2),
        ]  # fmt: skip


async def test_nothing_listens_for_a_while_and_the_market_and_connections_go_on() -> None:
    clean, _, market = await told(seconds=5)
    async with visiting(Unreachable(seconds=2, at_us=START_US + SECOND_US)) as visit:
        socket = await visit.connect()
        await visit.venue.advance(1.5)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", visit.venue.port)
            await visit.venue.advance(0.5)
        await visit.venue.advance(2.5)
        await (await visit.connect()).close()
        assert await heard(socket) == clean
        assert truth(visit.venue) == market
        assert visit.did() == [("unreachable", "venue", "does not listen for 2 s", 1, [])]


# Subscriptions


async def subscribe(socket: Socket, *names: str) -> list[str]:
    """Ask for streams; what was said until the acknowledgement, which is not among it."""
    await socket.send_json({"method": "SUBSCRIBE", "params": list(names), "id": 7})
    found: list[str] = []
    while (text := await socket.receive_str()) != '{"result":null,"id":7}':
        found.append(text)
    return found


async def test_an_acknowledged_subscription_is_silent_until_a_new_connection() -> None:
    async with visiting(Mute(stream="btcusdt@trade")) as visit:
        socket = await visit.connect("ws")
        await subscribe(socket, "btcusdt@trade", "ethusdt@trade")
        await visit.venue.advance(2)
        await subscribe(socket, "btcusdt@trade")
        await visit.venue.advance(2)
        symbols = {orjson.loads(text)["s"] for text in await heard(socket)}
        assert symbols == {"ETHUSDT"}
        again = await visit.connect()
        await visit.venue.advance(2)
        assert len(await heard(again)) > 10
        assert await heard(socket)
        trades = list(visit.venue.ledger.trades("BTCUSDT"))
        assert visit.did() == [
            ("mute", "connection 1 btcusdt@trade", "muted", 1, []),
            ("mute", "connection 1 btcusdt@trade", "sent nothing", len(trades), [(trades[0].id, trades[-1].id)]),
        ]


async def test_a_subscription_is_silent_until_it_is_asked_again_or_for_ever() -> None:
    async with visiting(Mute("resubscribe")) as visit:
        socket = await visit.connect()
        await visit.venue.advance(2)
        assert await heard(socket) == []
        await subscribe(socket, "btcusdt@trade")
        await visit.venue.advance(2)
        assert len(await heard(socket)) > 10
        visit.venue.faults.add(Mute("ever", symbol="BTC/USDT"))
        for _ in range(3):
            again = await visit.connect()
            await visit.venue.advance(1)
            assert await heard(again) == []
        visit.venue.faults.clear()
        await visit.venue.advance(1)
        assert len(await heard(again)) > 3


async def test_a_running_subscription_lapses_in_silence() -> None:
    clean, _, market = await told(seconds=6)
    async with visiting(Lapse(after=5)) as visit:
        socket = await visit.connect()
        await visit.venue.advance(3)
        assert await heard(socket) == clean[:5]
        await subscribe(socket, "btcusdt@trade")
        await visit.venue.advance(3)
        rest = await heard(socket)
        assert rest == clean[-len(rest) :]
        assert truth(visit.venue) == market
        first, last = orjson.loads(clean[5])["t"], orjson.loads(rest[0])["t"] - 1
        silent = [("lapse", "connection 1 btcusdt@trade", "sent nothing", last - first + 1, [(first, last)])]
        assert visit.did() == silent


@pytest.mark.parametrize("subscribed", [True, False])
async def test_a_subscription_is_never_acknowledged(subscribed: bool) -> None:
    async with visiting(NoAck(subscribed)) as visit:
        socket = await visit.connect("ws")
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7})
        assert await heard(socket) == []
        await visit.venue.advance(2)
        texts = await heard(socket)
        assert bool(texts) is subscribed
        assert all('"e":"trade"' in text for text in texts)
        assert await subscribe(socket, "btcusdt@trade") == []
        word = "subscribed" if subscribed else "not subscribed"
        assert visit.did() == [("no_ack", "connection 1 btcusdt@trade", f"not acknowledged, {word}", 1, [])]


async def test_a_burst_is_the_markets_own() -> None:
    async with visiting(Burst(symbol="ETHUSDT", trades=40_000, at_us=START_US + SECOND_US)) as visit:
        await visit.venue.advance(0.98)
        before = visit.venue.ledger.summary().symbols[1].trades
        await visit.venue.advance(0.02)
        assert visit.venue.ledger.summary().symbols[1].trades - before >= 40_000
        assert visit.did() == [("burst", "ETHUSDT", "40000 more trades in a step", 1, [])]


# REST


async def until_told(visit: Visit, count: int) -> None:
    """Until so many faults have acted."""
    while len(visit.venue.faults.happened) < count:  # noqa: ASYNC110 - the venue tells nobody
        await asyncio.sleep(0)


async def test_rest_refuses_for_a_while() -> None:
    async with visiting(RestError(429, path="klines", seconds=5)) as visit:
        await visit.venue.advance(1.5)
        assert await visit.get("ping") == {}
        query = "klines?symbol=BTCUSDT&interval=1m&limit=1"
        async with visit.session.get(f"{visit.venue.rest_url}/api/v3/{query}") as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (429, "4")
            assert (await reply.json())["code"] == -1003
        await visit.venue.advance(3.5)
        assert len(await visit.get(query)) == 1
        visit.venue.faults.add(RestError(502, symbol="BTC/USDT"))
        assert len(await visit.get(query.replace("BTC", "ETH"))) == 1
        async with visit.session.get(f"{visit.venue.rest_url}/api/v3/{query}") as reply:
            assert (reply.status, reply.content_type, "Retry-After" in reply.headers) == (502, "text/html", False)
        visit.venue.faults.add(RestError(418, retry_after=60, after=1))
        assert await visit.get("ping") == {}
        async with visit.session.get(f"{visit.venue.rest_url}/api/v3/ping") as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (418, "60")
        assert await visit.get("ping") == {}
        assert visit.did() == [
            ("rest_error", "klines BTCUSDT", "refused with 429", 1, []),
            ("rest_error", "klines BTCUSDT", "refused with 502", 1, []),
            ("rest_error", "ping", "refused with 418", 1, []),
        ]


async def test_a_call_without_an_answer() -> None:
    async with visiting(RestSilent(3)) as visit:
        asked = asyncio.create_task(visit.get("time"))
        await until_told(visit, 1)
        await visit.venue.advance(2.9)
        assert await visit.get("ping") == {}
        assert not asked.done()
        await visit.venue.advance(0.1)
        assert await asked == {"serverTime": START_US + 3 * SECOND_US}
        visit.venue.faults.add(RestSilent(3_000))
        asked = asyncio.create_task(visit.get("ping"))
        await until_told(visit, 2)
        visit.venue.faults.clear()
        await visit.venue.advance(0.01)
        assert await asked == {}


async def test_bodies_truncated_cut_and_empty() -> None:
    query = "historicalTrades?symbol=BTCUSDT&fromId=1&limit=20"
    async with visiting() as visit:
        url = f"{visit.venue.rest_url}/api/v3/{query}"
        async with visit.session.get(url) as reply:
            whole = await reply.read()
        visit.venue.faults.add(RestTruncated(0.5))
        async with visit.session.get(url) as reply:
            assert await reply.read() == whole[: len(whole) // 2]
        visit.venue.faults.add(RestCut(0.25, path="historicalTrades"))
        reader, writer = await asyncio.open_connection("127.0.0.1", visit.venue.port)
        writer.write(f"GET /api/v3/{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Content-Length: {len(whole)}\r\n".encode() in head
        assert await reader.read() == whole[: len(whole) // 4]
        writer.close()
        visit.venue.faults.add(RestCut(1.0))
        with pytest.raises(aiohttp.ClientPayloadError):
            await visit.get(query)
        visit.venue.faults.add(RestEmpty())
        assert await visit.get(query) == []
        async with visit.session.get(url) as reply:
            assert await reply.read() == whole
        assert [did for _, _, did, _, _ in visit.did()] == [
            "body truncated to 0.5", "cut after 0.25 of the body", "cut after 1 of the body", "empty list",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "historicalTrades?symbol=BTCUSDT&fromId=1&limit=20", "aggTrades?symbol=BTCUSDT&fromId=1&limit=20",
        "klines?symbol=BTCUSDT&interval=1m&limit=20",
    ],
)  # fmt: skip
async def test_a_wrong_row_beside_or_instead_of_the_right_one(query: str) -> None:
    async with visiting() as visit:
        right = await visit.get(query)
        for what in (*WRONG, "any", "other_price"):
            visit.venue.faults.add(RestMalformed(what))  # type: ignore[arg-type]
            rows = await visit.get(query)
            place = next(place for place in range(21) if right[place : place + 1] != rows[place : place + 1])
            assert [*rows[:place], *rows[place + 1 :]] == right
            one = visit.venue.faults.happened[-1]
            number = right[place - 1][0] if "klines" in query else next(iter(right[place - 1].values()))
            assert (one.target.split()[1], one.ids) == ("BTCUSDT", [(number, number)])
        visit.venue.faults.add(RestMalformed("negative_price", instead=True))
        rows = await visit.get(query)
        assert sum(left != shown for left, shown in zip(right, rows, strict=True)) == 1
        visit.venue.faults.add(RestMalformed("wrong_type"))
        assert await visit.get("depth?symbol=BTCUSDT&limit=5") != await visit.get("depth?symbol=BTCUSDT&limit=5")


async def test_a_snapshot_that_is_older_than_the_stream() -> None:
    async with visiting(StaleDepth(150, symbol="BTC/USDT")) as visit:
        await visit.venue.advance(10)
        ledger = visit.venue.ledger
        sequence = ledger.trails[0].sequence
        stale = await visit.get("depth?symbol=BTCUSDT&limit=20")
        (book,) = ledger.books("BTCUSDT", [sequence - 150], 20)
        assert stale == {
            "lastUpdateId": sequence - 150,
            "bids": [list(level) for level in book.bids],
            "asks": [list(level) for level in book.asks],
        }
        assert (await visit.get("depth?symbol=BTCUSDT&limit=20"))["lastUpdateId"] == sequence
        assert visit.did() == [("stale_depth", "depth BTCUSDT", "150 changes behind", 1, [])]


async def test_history_that_lags_behind_the_stream() -> None:
    async with visiting(LaggingHistory(10, seconds=60, at_us=START_US + SECOND_US)) as visit:
        await visit.venue.advance(59)
        ledger, now_us = visit.venue.ledger, visit.venue.market.time_us
        known = [row for row in ledger.trades("BTCUSDT", 1) if row.time_us < now_us - 10 * SECOND_US]
        last = known[-1].id
        for path in ("trades", "historicalTrades"):
            page = await visit.get(f"{path}?symbol=BTCUSDT&limit=50")
            assert [row["id"] for row in page] == list(range(last - 49, last + 1))
        assert [row["id"] for row in await visit.get(f"historicalTrades?symbol=BTCUSDT&fromId={last - 2}")] == [
            last - 2, last - 1, last,
        ]  # fmt: skip
        assert await visit.get(f"historicalTrades?symbol=BTCUSDT&fromId={last + 1}") == []
        runs = await visit.get("aggTrades?symbol=BTCUSDT&limit=5")
        assert last - 40 < runs[-1]["l"] <= last
        candles = await visit.get("klines?symbol=BTCUSDT&interval=1m&limit=3")
        assert candles[-1][6] < now_us - 10 * SECOND_US
        assert candles[-1][0] == 1_759_999_980_000_000
        await visit.venue.advance(2)
        newest = ledger.tapes[0].next_id - 1
        assert (await visit.get("trades?symbol=BTCUSDT&limit=1"))[0]["id"] == newest
        visit.venue.faults.add(LaggingHistory(lag_trades=7))
        assert (await visit.get("trades?symbol=BTCUSDT&limit=1"))[0]["id"] == newest - 7
        assert {did for _, _, did, _, _ in visit.did()} == {"lags by 10 s and 0 trades", "lags by 0 s and 7 trades"}


async def test_history_that_has_forgotten() -> None:
    async with visiting() as visit:
        venue = visit.venue
        await venue.advance(60)
        whole = await visit.get("historicalTrades?symbol=BTCUSDT&fromId=100&limit=100")
        newest = venue.ledger.tapes[0].next_id - 1
        venue.faults.add(ForgottenHistory(from_id=120, to_id=149, symbol="BTC/USDT"))
        page = await visit.get("historicalTrades?symbol=BTCUSDT&fromId=100&limit=70")
        assert page == whole[:20] + whole[50:]
        assert (await visit.get("historicalTrades?symbol=BTCUSDT&fromId=130&limit=1")) == [whole[50]]
        runs = await visit.get("aggTrades?symbol=BTCUSDT&fromId=115&limit=10")
        assert [run["f"] for run in runs] == [*range(115, 120), *range(150, 155)]
        assert [row["id"] for row in await visit.get("historicalTrades?symbol=ETHUSDT&fromId=130&limit=1")] == [130]
        venue.faults.clear()
        venue.faults.add(ForgottenHistory(before_id=newest - 4))
        assert [row["id"] for row in await visit.get("historicalTrades?symbol=BTCUSDT&fromId=1")] == [
            *range(newest - 4, newest + 1)
        ]
        assert [row["id"] for row in await visit.get("trades?symbol=BTCUSDT")] == [*range(newest - 4, newest + 1)]
        venue.faults.clear()
        venue.faults.add(ForgottenHistory(before_us=START_US + 20 * SECOND_US))
        first = next(row for row in venue.ledger.trades("BTCUSDT") if row.time_us >= START_US + 20 * SECOND_US)
        assert (await visit.get("historicalTrades?symbol=BTCUSDT&fromId=1&limit=1"))[0]["id"] == first.id
        candles = await visit.get("klines?symbol=BTCUSDT&interval=1m&limit=5")
        assert [row[0] for row in candles] == [START_US + 25 * SECOND_US]
        venue.faults.clear()
        assert await visit.get("historicalTrades?symbol=BTCUSDT&fromId=100&limit=100") == whole


async def test_a_live_aggregate_that_lost_a_trade_is_forgotten_whole() -> None:
    async with visiting(rate=400.0) as visit:
        await visit.venue.advance(3)
        first = visit.venue.ledger.tapes[0].first_live_id
        runs = await visit.get(f"aggTrades?symbol=BTCUSDT&fromId={first}&limit=1000")
        long = next(run for run in runs if run["l"] - run["f"] >= 2)
        visit.venue.faults.add(ForgottenHistory(from_id=long["f"] + 1, to_id=long["f"] + 1))
        kept = await visit.get(f"aggTrades?symbol=BTCUSDT&fromId={first}&limit=1000")
        assert kept == [run for run in runs if run != long]
        newest = await visit.get("aggTrades?symbol=BTCUSDT&limit=3")
        assert newest == runs[-3:]


# Chaos


async def life(mix: Mix) -> tuple[list[str], list[Incident], Any]:
    """What one client after another reads, two connections a second."""
    async with visiting(chaos=mix) as visit:
        texts: list[str] = []
        for _ in range(30):
            for name in ("btcusdt@trade", "ethusdt@depth@100ms"):
                socket = await visit.connect(f"ws/{name}?timeUnit=MICROSECOND")
                await visit.venue.advance(0.5)
                texts += await heard(socket)
                await socket.close()
        return texts, visit.venue.faults.happened, truth(visit.venue)


async def test_the_same_seed_gives_the_same_faults() -> None:
    plain = Mix(seed=3, per_minute=60, weights={kind: 0 for kind in KINDS if kind not in {"skip", "repeat", "reorder"}})
    first, second = await life(plain), await life(plain)
    assert first == second
    assert len(first[1]) > 5
    other = await life(Mix(seed=4, per_minute=60, weights=plain.weights))
    assert other[1] != first[1]
    assert other[2] == first[2]
    assert all(one.random for one in first[1])


async def test_the_usual_mix_holds_every_kind_but_forgotten_history_and_ends_when_told() -> None:
    assert {kind for kind in KINDS if not WEIGHTS[kind]} == {"forgotten_history"}
    assert WEIGHTS.keys() == KINDS.keys()
    async with visiting(chaos=Mix(seed=5, per_minute=600)) as visit:
        await visit.venue.advance(30)
        seen = {str(armed.fault.__struct_config__.tag) for armed in visit.venue.faults._all}
        assert seen | {"burst"} >= {kind for kind, weight in WEIGHTS.items() if weight >= 2}
        assert len(visit.venue.faults._all) > 200
        visit.venue.faults.chaos(None)
        await visit.venue.advance(2)
        socket = await visit.connect()
        await visit.venue.advance(5)
        found = await heard(socket)
        last = visit.venue.ledger.tapes[0].next_id - 1
        assert ids(found) == list(range(last - len(found) + 1, last + 1))
        assert len(found) > 30
        assert [row["id"] for row in await visit.get("trades?symbol=BTCUSDT&limit=2")] == [last - 1, last]


# Control


async def test_faults_by_http() -> None:
    async with visiting() as visit:
        await visit.post("/control/fault", {"kind": "skip", "stream": "btcusdt@trade", "after": 2, "count": 3})
        socket = await visit.connect()
        await visit.venue.advance(2)
        await heard(socket)
        first = visit.venue.ledger.summary().symbols[0].first_trade_id
        trade = next(row for row in visit.venue.ledger.trades("BTCUSDT") if row.id == first + 2)
        async with visit.session.get(f"{visit.venue.rest_url}/ledger/faults") as reply:
            (line,) = [orjson.loads(line) for line in (await reply.read()).splitlines()]
        assert 0 <= line.pop("time_us") - trade.time_us <= 10_000
        assert line == {
            "fault": 1, "kind": "skip", "random": False, "target": "connection 1 btcusdt@trade", "did": "skipped",
            "times": 3, "ids": [[first + 2, first + 4]],
        }  # fmt: skip
        assert orjson.loads(await visit.post("/control/fault", {"kind": "drop", "how": "abort"})) == {"fault": 2}
        await visit.post("/control/calm", {})
        await visit.venue.advance(1)
        assert await heard(socket)
        assert orjson.loads(await visit.post("/control/chaos", {"seed": 5, "per_minute": 30})) == {
            "seed": 5, "per_minute": 30.0, "weights": {},
        }  # fmt: skip
        mixes = [visit.venue.faults.mix]
        assert orjson.loads(await visit.post("/control/chaos", {"off": True})) == {"off": True}
        assert [*mixes, visit.venue.faults.mix] == [Mix(seed=5, per_minute=30), None]
        for path, said, status, words in (
            ("/control/fault", {"kind": "dropp"}, 400, "unknown kind 'dropp'; did you mean 'drop'?"),
            ("/control/fault", {"kind": "drop", "hoe": 1}, 400, "drop has no field 'hoe'; did you mean 'how'?"),
            (
                "/control/fault",
                {"kind": "stall", "count": 1},
                400,
                "stall has no field 'count'; known: stream, symbol, after",
            ),
            (
                "/control/fault",
                {"kind": "drop", "how": "gently"},
                400,
                "drop: Invalid enum value 'gently' - at `$.how`",
            ),
            ("/control/fault", {"kind": "skip", "probability": 2}, 400, "skip: Expected `float` <= 1.0"),
            ("/control/fault", {"how": "abort"}, 400, 'a fault is an object with a "kind": one of drop, refuse'),
            ("/control/fault", {"kind": "skip", "symbol": "NOPE"}, 404, "symbol 'NOPE' is not listed"),
            ("/control/chaos", {"seed": 1, "weights": {"skpi": 1}}, 400, "did you mean 'skip'?"),
            ("/control/chaos", {"seed": 1, "per_minute": 0}, 400, "per_minute"),
            ("/control/chaos", {"sead": 1}, 400, "sead"),
            ("/control/chaos", {}, 400, 'say {"seed"'),
        ):
            assert words in await visit.post(path, said, status)
        await visit.post("/control/fault", {"kind": "stall", "seconds": 0}, 400)


def test_every_kind_and_field_is_documented(pytestconfig: pytest.Config) -> None:
    page = (pytestconfig.rootpath / "docs/reference/simulator.md").read_text()
    for name, kind in KINDS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), None)
        assert row, f"{name} has no row"
        own = [field for field in kind.__struct_fields__ if field not in Fault.__struct_fields__]
        assert [field for field in own if field not in {"stream", "path"} and f"`{field}" not in row] == []
        assert re.search(rf"\| {WEIGHTS[name]:g} \|", row), f"{name} has weight {WEIGHTS[name]:g}"
        made = read_fault(orjson.dumps({"kind": name}))
        assert (type(made), made) == (kind, kind())
        assert set(fields(kind)) <= set(kind.__struct_fields__)


def test_the_flags_of_chaos() -> None:
    said = ["--faults", "9", "--faults-per-minute", "40", "--faults-mix", "drop=0,skip=3.5"]
    assert configuration(parser().parse_args(said)).chaos == Mix(
        seed=9, per_minute=40, weights={"drop": 0.0, "skip": 3.5}
    )
    assert configuration(parser().parse_args([])).chaos is None
    with pytest.raises(ValueError, match="did you mean 'drop'"):
        configuration(parser().parse_args(["--faults", "9", "--faults-mix", "dorp=1"]))
