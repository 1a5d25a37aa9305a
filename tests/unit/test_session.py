"""One connection against a scripted venue on this machine: how it begins, what it delivers, how it ends."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec import structs
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.collect import session as session_module
from ingest.collect.session import Session
from ingest.errors import Blocked, Retryable
from ingest.exchanges.adapter import Options, Refusal, Subscription
from ingest.records import Stream
from tests.unit.scripted import BTC, Quick, Sink, acknowledge, refused, serving, trade, until

pytestmark = pytest.mark.timeout(20)

STREAMS = [Stream(1, BTC, "trades"), Stream(1, BTC, "book")]


class Tap:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def opened(self, url: str) -> None:
        self.seen.append(("opened", url))

    def sent(self, frame: str) -> None:
        self.seen.append(("sent", frame))

    def received(self, frame: bytes, received_ns: int) -> None:
        assert received_ns > 0
        self.seen.append(("received", frame.decode()))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@asynccontextmanager
async def refusing(status: int, headers: dict[str, str] | None = None) -> AsyncIterator[str]:
    async def refuse(_connection: ServerConnection, _request: Request) -> Response:
        return refused(status, headers or {}, b"no")

    async with serving(_silent, refuse) as url:
        yield url


async def _silent(socket: ServerConnection) -> None:
    await socket.wait_closed()


def session(url: str, sink: Sink, streams: Sequence[Stream] = tuple(STREAMS), tap: Tap | None = None) -> Session:
    return Session(Quick({"BTCUSDT": 1}, Options(ws_url=url)), streams, sink, tap=tap)


async def test_subscribes_becomes_live_delivers_and_closes() -> None:
    paths: list[str] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        paths.append(socket.request.path)
        await acknowledge(socket)
        for number in range(3):
            await socket.send(trade(number))
        await socket.wait_closed()

    sink, tap, changes = Sink(), Tap(), list[tuple[bool, bool]]()
    async with serving(handler) as url:
        it = Session(
            Quick({"BTCUSDT": 1}, Options(ws_url=url)),
            STREAMS,
            sink,
            tap=tap,
            on_change=lambda: changes.append((it.live.is_set(), it.delivering)),
        )
        running = asyncio.create_task(it.run())
        await until(lambda: len(sink.trades) == 3)
        assert it.delivering
        assert not it.expiring
        await it.close()
        await running
    assert sink.trades == [0, 1, 2]
    assert sink.times == sorted(sink.times)
    assert changes == [(True, False)]  # once, at the acknowledgement, which is no data
    assert paths == ["/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"]
    request = '{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":1}'
    assert tap.seen == [
        ("opened", url + paths[0]),
        ("sent", request),
        *[("received", frame.decode()) for frame in sink.frames],
    ]
    assert len(sink.frames) == 4


async def test_live_only_when_every_subscription_is_acknowledged() -> None:
    go = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        ids = [json.loads(await socket.recv())["id"] for _ in range(3)]
        for number in (ids[2], ids[0], 77):
            await socket.send(json.dumps({"result": None, "id": number}))
        await socket.send(trade(1))
        await go.wait()
        await socket.send(json.dumps({"result": None, "id": ids[1]}))
        await socket.wait_closed()

    many = [Stream(1, structs.replace(BTC, native=f"C{number}USDT"), "trades") for number in range(450)]
    sink = Sink()
    async with serving(handler) as url:
        it = session(url, sink, many)
        running = asyncio.create_task(it.run())
        await until(lambda: bool(sink.trades))
        assert not it.live.is_set()
        go.set()
        await until(it.live.is_set)
        await it.close()
        await running


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"code": 2, "msg": "Invalid request: too many parameters"}, "id": 1}, "too many parameters"),
        ({"code": 0, "msg": "Unknown property", "id": 1}, "Unknown property"),
        ({"code": 2, "msg": "Invalid request: too many parameters"}, "too many parameters"),
        ({"error": {"code": 2, "msg": "Invalid request: too many parameters"}, "id": None}, "too many parameters"),
    ],
)
async def test_a_refused_subscription_ends_it_with_the_venues_words(
    answer: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_ACK_SECONDS", 0.05)

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(answer))
        await socket.wait_closed()

    async with serving(handler) as url:
        it = session(url, Sink())
        with pytest.raises(Retryable, match=said) as caught:
            await it.run()
        assert not it.live.is_set()
        assert not it.delivering
        assert "binance" in str(caught.value)


async def test_never_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_ACK_SECONDS", 0.02)

    async def handler(socket: ServerConnection) -> None:
        await socket.send(trade(1))  # data does not stand for an acknowledgement
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        with pytest.raises(Retryable, match="not acknowledged"):
            await session(url, sink).run()
    assert sink.trades == [1]


@pytest.mark.parametrize("how", ["abort", "close", "end"])
async def test_the_venue_ends_it(how: str) -> None:
    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        for number in range(50):
            await socket.send(trade(number))
        if how == "abort":
            await asyncio.sleep(0.01)
            socket.transport.abort()
        elif how == "close":
            await socket.close(1001, "going away")

    sink = Sink()
    async with serving(handler) as url:
        it = session(url, sink)
        with pytest.raises(Retryable, match=r"^binance: 127\.0\.0\.1:\d+: ") as caught:
            await it.run()
        assert not isinstance(caught.value, Blocked)
    assert sink.trades == list(range(50))
    assert it.live.is_set()
    assert it.delivering


async def test_ended_by_the_venue_while_the_sink_is_slow_everything_is_taken() -> None:
    sent = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        for number in range(500):
            await socket.send(trade(number))
        sent.set()

    sink = Sink(held=True)
    async with serving(handler) as url:
        running = asyncio.create_task(session(url, sink).run())
        await sent.wait()
        await asyncio.sleep(0.02)
        assert len(sink.frames) == 1
        sink.release()
        with pytest.raises(Retryable):
            await running
    assert sink.trades == list(range(500))


@pytest.mark.parametrize("count", [10, 900, 5000])
async def test_close_takes_all_that_was_received(count: int) -> None:
    """Also what waits in the library's own queue (1,024 frames) and, behind it, in the socket."""
    sent = 0

    async def handler(socket: ServerConnection) -> None:
        nonlocal sent
        await acknowledge(socket)
        try:
            for number in range(count):
                await socket.send(trade(number))
                sent += 1
        except ConnectionClosed:
            return
        await socket.wait_closed()

    sink = Sink(held=True)
    async with serving(handler) as url:
        it = session(url, sink)
        running = asyncio.create_task(it.run())
        await until(lambda: sent == count)
        await asyncio.sleep(0.02)
        assert len(sink.frames) == 1  # the acknowledgement
        closing = asyncio.create_task(it.close())
        await asyncio.sleep(0.02)
        assert not running.done()
        sink.release()
        await closing
        await running
    assert sink.trades == list(range(count))


async def test_close_when_already_closed_and_twice() -> None:
    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.close()

    async with serving(handler) as url:
        it = session(url, Sink())
        with pytest.raises(Retryable):
            await it.run()
        await it.close()
        await it.close()


async def test_closed_before_it_began() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = session(url, sink)
        await it.close()
        await it.run()
    assert sink.frames == []


async def test_close_while_connecting_is_prompt() -> None:
    """The venue's machine takes the connection and never answers: an outage's usual face."""
    taken, done = asyncio.Event(), asyncio.Event()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await done.wait()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        it = session(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", Sink())
        running = asyncio.create_task(it.run())
        await taken.wait()
        await it.close()
        async with asyncio.timeout(0.5):
            await running
        done.set()


async def test_close_after_connecting_failed() -> None:
    """What a supervisor does that is stopped while the venue cannot be reached."""
    it = session("ws://127.0.0.1:1", Sink())
    with pytest.raises(Retryable):
        await it.run()
    await it.close()


async def test_shutdown_makes_it_expire() -> None:
    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.send(json.dumps({"e": "serverShutdown", "E": 1_770_123_456_789}))
        await socket.wait_closed()

    changes: list[bool] = []
    async with serving(handler) as url:
        adapter = Quick({"BTCUSDT": 1}, Options(ws_url=url))
        it = Session(adapter, STREAMS, Sink(), on_change=lambda: changes.append(it.expiring))
        running = asyncio.create_task(it.run())
        await until(lambda: it.expiring)
        assert changes == [False, True]
        assert not it.delivering
        await it.close()
        await running


@pytest.mark.parametrize("status", [403, 451])
async def test_a_refused_address_is_blocked(status: int) -> None:
    async with refusing(status) as url:
        with pytest.raises(Blocked, match=f"HTTP {status}.*proxy"):
            await session(url, Sink()).run()


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (418, {"Retry-After": "120"}, 120.0),
        (429, {}, None),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        (503, {"Retry-After": "-1"}, None),
        (500, {}, None),
        (404, {}, None),
        (200, {}, None),
    ],
)
async def test_a_refused_connection_is_tried_again(status: int, headers: dict[str, str], after: float | None) -> None:
    async with refusing(status, headers) as url:
        with pytest.raises(Retryable, match=f"^binance: HTTP {status} from 127") as caught:
            await session(url, Sink()).run()
    assert not isinstance(caught.value, Blocked)
    assert caught.value.retry_after_seconds == after


async def test_nobody_listens() -> None:
    with pytest.raises(Retryable, match=r"binance: 127\.0\.0\.1:1: "):
        await session("ws://127.0.0.1:1", Sink()).run()


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/login", "ws://127.0.0.1:1/elsewhere", "", "ws://", "\\"])
async def test_a_redirect_elsewhere(location: str) -> None:
    """A hotel's log-in page answers for every host."""
    async with refusing(302, {"Location": location}) as url:
        with pytest.raises(Retryable):
            await session(url, Sink()).run()


async def test_not_a_venue_at_all() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        with pytest.raises(Retryable):
            await session(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", Sink()).run()


async def test_a_frame_beyond_the_bound_ends_the_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_FRAME_MAX_BYTES", 1000)

    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.send(trade(1))
        await socket.send("x" * 1001)
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        with pytest.raises(Retryable, match=r"1009|too big"):
            await session(url, sink).run()
    assert sink.trades == [1]


async def test_delivering_begins_with_data() -> None:
    go = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.send("<html>maintenance</html>")
        await socket.send('{"e":"unknown"}')
        await socket.send('{"e":"serverShutdown","E":1770123456789}')
        await socket.send('{"result":["btcusdt@trade"],"id":77}')
        await socket.send('{"e":"avgPrice"}')  # understood, and not stored: as heartbeats are
        await go.wait()
        await socket.send(trade(1))
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = session(url, sink)
        running = asyncio.create_task(it.run())
        await until(lambda: len(sink.frames) == 6)
        assert it.live.is_set()
        assert not it.delivering
        go.set()
        await until(lambda: it.delivering)
        await it.close()
        await running


async def test_close_twice_while_connecting() -> None:
    taken, done = asyncio.Event(), asyncio.Event()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await done.wait()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        it = session(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", Sink())
        running = asyncio.create_task(it.run())
        await taken.wait()
        try:
            async with asyncio.timeout(0.5):
                while not running.done():
                    await it.close()
                    await asyncio.sleep(0)
            await running
        finally:
            await asyncio.wait([running])
            done.set()
            await asyncio.sleep(0.01)


async def test_binary_and_invalid_text_go_to_the_sink() -> None:
    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.send(b"\x00\xff")
        await socket.send(b"\xff\xfe", text=True)
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = session(url, sink)
        running = asyncio.create_task(it.run())
        await until(lambda: len(sink.frames) == 3)
        await it.close()
        await running
    assert sink.frames[1:] == [b"\x00\xff", b"\xff\xfe"]


@pytest.mark.parametrize("ping_seconds", [1.0, 2.0, 20.0, 300.0])
async def test_a_dead_line_has_two_ping_intervals(ping_seconds: float) -> None:
    """Until a ping is sent, until it counts as unanswered, and until the library has given up closing."""
    async with serving(_silent) as url:
        it = Session(Quick({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, Sink(), ping_seconds=ping_seconds)
        socket = await it._connect(url)
        assert socket.ping_interval == ping_seconds
        assert socket.ping_timeout is not None
        assert socket.close_timeout is not None
        assert ping_seconds + socket.ping_timeout + socket.close_timeout == 2 * ping_seconds
        assert min(socket.ping_timeout, socket.close_timeout) > 0
        await socket.close()


async def test_a_half_open_line_is_noticed_by_a_ping_that_nobody_answers() -> None:
    broken, done = asyncio.Event(), asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await socket.send(trade(1))
        socket.transport.pause_reading()  # pings arrive, and nobody takes them
        broken.set()
        await done.wait()
        socket.transport.abort()

    sink = Sink()
    async with serving(handler) as url:
        it = Session(Quick({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, sink, ping_seconds=0.2)
        running = asyncio.create_task(it.run())
        await broken.wait()
        async with asyncio.timeout(4):  # ten times as long as it takes
            with pytest.raises(Retryable, match="keepalive ping timeout"):
                await running
        done.set()
    assert sink.trades == [1]
    assert it.heard_ns == sink.times[-1]


# One stream of several is refused


class Picky(Quick):
    """Refuses by name, as Kraken and OKX do: the others of the request are accepted."""

    refuses = Refusal(re.compile(r"no such stream: (\S+)"))

    def topic(self, stream: Stream) -> str:
        return self._topic(stream)


class Strict(Picky):
    """And as Bybit does: the others are refused with it."""

    refuses = Refusal(re.compile(r"no such stream: (\S+)"), whole=True)


async def asked_of(socket: ServerConnection) -> tuple[int, list[str]]:
    request = json.loads(await socket.recv())
    return request["id"], request["params"]


def no(topic: str, request_id: int | None) -> str:
    return json.dumps({"error": {"code": 2, "msg": f"no such stream: {topic}"}, "id": request_id})


async def test_a_stream_that_is_refused_by_name_is_left_out_and_the_rest_of_its_request_goes_on() -> None:
    async def handler(socket: ServerConnection) -> None:
        number, _ = await asked_of(socket)
        await socket.send(no("btcusdt@depth@100ms", number))
        await socket.send(json.dumps({"result": None, "id": number}))
        await socket.send(trade(1))
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = Session(Picky({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, sink)
        running = asyncio.create_task(it.run())
        await until(lambda: sink.trades == [1])
        assert it.live.is_set()
        await it.close()
        await running
    assert sink.refused == [(STREAMS[1], "2: no such stream: btcusdt@depth@100ms")]


@pytest.mark.parametrize("named", [True, False])
async def test_what_is_refused_with_it_is_asked_for_again(named: bool) -> None:
    """Of two requests the second one has two streams that the venue knows not, and says so of one at a time."""
    asked: list[list[str]] = []

    async def handler(socket: ServerConnection) -> None:
        while len(asked) < 4:
            number, topics = await asked_of(socket)
            asked.append(topics)
            bad = next((topic for topic in topics if topic.startswith("bad")), None)
            answer = json.dumps({"result": None, "id": number}) if bad is None else no(bad, number if named else None)
            await socket.send(answer)
        await socket.wait_closed()

    natives = [*(f"C{number}USDT" for number in range(200)), "BTCUSDT", "BAD1", "BAD2"]
    many = [Stream(1, structs.replace(BTC, native=native), "trades") for native in natives]
    sink = Sink()
    async with serving(handler) as url:
        it = Session(Strict({"BTCUSDT": 1}, Options(ws_url=url)), many, sink)
        running = asyncio.create_task(it.run())
        await until(it.live.is_set)
        await it.close()
        await running
    assert [stream.instrument.native for stream, _ in sink.refused] == ["BAD1", "BAD2"]
    assert asked[1:] == [
        ["btcusdt@trade", "bad1@trade", "bad2@trade"],
        ["btcusdt@trade", "bad2@trade"],
        ["btcusdt@trade"],
    ]


@pytest.mark.parametrize("adapter", [Picky, Strict])
async def test_a_refusal_that_names_nothing_of_ours_ends_the_connection(adapter: type[Picky]) -> None:
    async def handler(socket: ServerConnection) -> None:
        number, _ = await asked_of(socket)
        await socket.send(no("ethusdt@trade", number))
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        with pytest.raises(Retryable, match="no such stream: ethusdt@trade"):
            await Session(adapter({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, sink).run()
    assert sink.refused == []


async def test_all_that_it_asked_for_is_refused() -> None:
    async def handler(socket: ServerConnection) -> None:
        number, topics = await asked_of(socket)
        await socket.send(no(topics[0], number))
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = Session(Strict({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS[:1], sink)
        running = asyncio.create_task(it.run())
        await until(it.live.is_set)  # there is nothing more to wait for
        await it.close()
        await running
    assert [stream for stream, _ in sink.refused] == STREAMS[:1]


async def test_a_stream_that_is_refused_when_it_is_subscribed_anew_is_left_out() -> None:
    class Renewing(Picky):
        def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
            return self.subscribe([stream], first_request_id)

    async def handler(socket: ServerConnection) -> None:
        await acknowledge(socket)
        number, topics = await asked_of(socket)
        await socket.send(no(topics[0], number))
        await socket.send(trade(1))
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = Session(Renewing({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, sink)
        running = asyncio.create_task(it.run())
        await until(it.live.is_set)
        assert it.resubscribe(STREAMS[1])
        await until(lambda: sink.trades == [1])
        await it.close()
        await running
    assert [stream for stream, _ in sink.refused] == STREAMS[1:]
    assert sink.renewals == []


async def test_a_stream_that_was_subscribed_anew_is_told_when_that_is_acknowledged() -> None:
    class Renewing(Quick):
        def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
            ended, begun = (self.subscribe([stream], first_request_id + number)[0] for number in (0, 1))
            return [structs.replace(ended, frame=ended.frame.replace("SUB", "UNSUB")), begun]

    go = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        for _ in range(2):
            await acknowledge(socket)
        await socket.send(trade(1))
        await go.wait()
        await acknowledge(socket)
        await socket.wait_closed()

    sink = Sink()
    async with serving(handler) as url:
        it = Session(Renewing({"BTCUSDT": 1}, Options(ws_url=url)), STREAMS, sink)
        running = asyncio.create_task(it.run())
        await until(it.live.is_set)
        assert it.resubscribe(STREAMS[1])
        await until(lambda: sink.trades == [1])
        assert sink.renewals == []  # the old one has ended, no more
        go.set()
        await until(lambda: sink.renewals == STREAMS[1:])
        await it.close()
        await running
