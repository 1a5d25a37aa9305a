"""The supervisor against a scripted venue on this machine: restarts, hand-overs, and its own end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest import clock
from ingest.collect import supervise as supervise_module
from ingest.collect.session import Session
from ingest.collect.supervise import Supervisor
from ingest.errors import Blocked, Retryable
from ingest.exchanges.adapter import Ack, Options, Shutdown
from ingest.records import Stream
from ingest.retry import Backoff
from tests.unit.scripted import BTC, Quick, Sink, refused, serving, trade, until

pytestmark = pytest.mark.timeout(20)

STREAMS = [Stream(1, BTC, "trades")]
MORE = [*STREAMS, Stream(1, BTC, "quotes")]
TRADES, QUOTES = "btcusdt@trade", "btcusdt@bookTicker"
NEVER = 1e6
PROMPT_SECONDS = 1.0
SHUTDOWN = '{"e":"serverShutdown","E":1770123456789}'


class Venue:
    """Numbers its messages and sends each to whoever is subscribed at that moment.

    `answers` holds what is done to the next connections: an HTTP status to refuse with, or what happens instead of
    the acknowledgement; when it is empty they are served.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int | Callable[[ServerConnection], Awaitable[None]]] = []
        self.headers: dict[str, str] = {}
        self.subscribed: list[ServerConnection] = []
        self.connections = 0
        self.asked: list[list[str]] = []  # of each connection the streams that it subscribes to
        self.sent = 0
        self.unheard: list[int] = []  # messages that nobody was subscribed for

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Venue"]:
        async with serving(self._serve, self._refuse) as self.url:
            yield self

    async def _refuse(self, _connection: ServerConnection, _request: Request) -> Response | None:
        self.connections += 1
        if self.answers and isinstance(self.answers[0], int):
            status = self.answers[0]
            del self.answers[0]
            return refused(status, self.headers)
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            request = json.loads(await socket.recv())
            self.asked.append(request["params"])
            answer = self.answers.pop(0) if self.answers else None
            if callable(answer):
                await answer(socket)
                return
            await socket.send(json.dumps({"result": None, "id": request["id"]}))
            self.subscribed.append(socket)
            try:
                await socket.wait_closed()
            finally:
                self.subscribed.remove(socket)

    async def tell(self) -> None:
        """Send the next message."""
        self.sent += 1
        open_ = [socket for socket in self.subscribed if socket.state.name == "OPEN"]
        if not open_:
            self.unheard.append(self.sent)
        for socket in open_:
            with suppress(ConnectionClosed):
                await socket.send(trade(self.sent))

    async def cut(self) -> None:
        """Break every line."""
        for socket in self.subscribed:
            socket.transport.abort()
        await asyncio.sleep(0)


class Recorded(Backoff):
    """Remembers what it gave; always the lower half, so without chance."""

    def __init__(self, first_seconds: float = 0.002) -> None:
        super().__init__(first_seconds=first_seconds, jitter=lambda: 0.0)
        self.given: list[float] = []

    def next_seconds(self) -> float:
        self.given.append(super().next_seconds())
        return self.given[-1]


class Bench:
    def __init__(
        self, venue: Venue, *, lifetime: float = NEVER, backoff: Backoff | None = None,
        slot: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.sink = Sink()
        self.told: list[str] = []
        self.told_of: list[list[Stream]] = []  # what each of them was about
        self.errors: list[Retryable] = []
        self.heard: list[int] = []  # when the last frame before each loss was received
        self.sessions: list[Session] = []
        self.backoff = backoff or Recorded()
        self._venue = venue
        self.supervisor = Supervisor(
            STREAMS,
            self._new_session,
            slot=slot or _at_once,
            lifetime_seconds=lifetime,
            on_live=self._live,
            on_lost=self._lost,
            backoff=self.backoff,
        )

    def _new_session(self, streams: Sequence[Stream], on_change: Callable[[], None]) -> Session:
        adapter = Quick({"BTCUSDT": 1}, Options(ws_url=self._venue.url))
        self.sessions.append(Session(adapter, streams, self.sink, on_change=on_change))
        return self.sessions[-1]

    def _live(self, streams: Sequence[Stream]) -> None:
        self.told.append("live")
        self.told_of.append(list(streams))

    def _lost(self, streams: Sequence[Stream], error: Retryable, heard_ns: int) -> None:
        self.told.append("lost")
        self.told_of.append(list(streams))
        self.errors.append(error)
        self.heard.append(heard_ns)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs it, stops it, and sees that it ends promptly."""
        task = asyncio.create_task(self.supervisor.run())
        try:
            yield
            self.supervisor.stop()
            async with asyncio.timeout(PROMPT_SECONDS):
                await asyncio.shield(task)
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


async def _at_once() -> None:
    return


# Restarts


async def test_it_reconnects_after_each_loss_and_tells_of_both() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            for round_ in range(1, 4):
                await until(lambda number=round_: bench.told.count("live") == number)  # type: ignore[misc]
                await venue.tell()
                await until(lambda: bench.sink.trades[-1:] == [venue.sent])
                await venue.cut()
                await until(lambda number=round_: bench.told.count("lost") == number)  # type: ignore[misc]
            await until(lambda: len(bench.told) == 7)
        assert bench.told == ["live", "lost"] * 3 + ["live"]
        assert bench.sink.trades == [1, 2, 3]
        assert venue.connections == 4
        assert all(str(error).startswith("binance: 127.0.0.1") for error in bench.errors)


async def test_the_backoff_grows_until_data_comes_not_until_the_socket_opens() -> None:
    async def acknowledge_and_drop(socket: ServerConnection) -> None:
        await socket.send('{"result":null,"id":1}')
        await socket.close()

    async with Venue().open() as venue:
        backoff = Recorded(0.002)
        bench = Bench(venue, backoff=backoff)
        venue.answers = [*[acknowledge_and_drop] * 3, 500, 503]
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            assert backoff.given == [0.001, 0.002, 0.004, 0.008, 0.016]
            await venue.cut()  # acknowledged, and nothing was said
            await until(lambda: len(backoff.given) == 6 and bool(venue.subscribed))
            assert backoff.given[5] == 0.032
            await venue.tell()
            await until(lambda: bench.sink.trades == [1])
            await venue.cut()
            await until(lambda: len(backoff.given) == 7)
            assert backoff.given[6] == 0.001


async def test_nonsense_is_no_data() -> None:
    async def nonsense(socket: ServerConnection) -> None:
        await socket.send("<html>maintenance</html>")
        await socket.close()

    async with Venue().open() as venue:
        backoff = Recorded(0.002)
        bench = Bench(venue, backoff=backoff)
        venue.answers = [nonsense] * 3
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
        assert backoff.given == [0.001, 0.002, 0.004]


async def test_a_venue_that_acknowledges_beats_and_cuts_is_approached_more_and_more_slowly() -> None:
    """Neither an acknowledgement nor a heartbeat shows that data flow."""

    async def beat_and_drop(socket: ServerConnection) -> None:
        await socket.send('{"result":null,"id":1}')
        for _ in range(3):
            await socket.send('{"e":"avgPrice"}')
        await socket.close()

    async with Venue().open() as venue:
        backoff = Recorded(0.002)
        bench = Bench(venue, backoff=backoff)
        venue.answers = [beat_and_drop] * 4
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
        assert backoff.given == [0.001, 0.002, 0.004, 0.008]
        assert len([frame for frame in bench.sink.frames if b"avgPrice" in frame]) == 12


async def test_retry_after_is_honoured() -> None:
    async with Venue().open() as venue:
        venue.headers = {"Retry-After": "3600"}
        venue.answers = [429]
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(bench.errors))
            await asyncio.sleep(0.03)
            assert venue.connections == 1
        assert bench.errors[0].retry_after_seconds == 3600
        assert bench.told == ["lost"]


@pytest.mark.parametrize("status", [403, 451])
async def test_a_block_is_tried_again_after_a_long_time_only(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Venue().open() as venue:
        venue.answers = [status]
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(bench.errors))
            await asyncio.sleep(0.03)
            assert venue.connections == 1
        assert isinstance(bench.errors[0], Blocked)
        monkeypatch.setattr(supervise_module, "BLOCKED_RETRY_SECONDS", 0.01)
        venue.answers = [status]
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bench.told == ["lost", "live"])


# Hand-over


async def test_hand_over_before_the_lifetime_ends_loses_nothing() -> None:
    """Every message is numbered; in each moment somebody is subscribed; every number arrives."""
    async with Venue().open() as venue:
        bench = Bench(venue, lifetime=0.06)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            while len(bench.sessions) < 6:
                await venue.tell()
                await asyncio.sleep(0.001)
            for _ in range(50):
                await venue.tell()
            await until(lambda: venue.sent in bench.sink.trades)
        assert venue.unheard == []
        assert sorted(set(bench.sink.trades)) == list(range(1, venue.sent + 1))
        assert set(bench.told) == {"live"}
        assert len(bench.told) in (len(bench.sessions), len(bench.sessions) - 1)  # one may have been stopped at once
        assert venue.connections in (len(bench.sessions), len(bench.sessions) - 1)


async def test_a_burst_before_the_successor_is_acknowledged_arrives_whole() -> None:
    """It came by the old line alone, and is still on its way when the new one takes over."""
    async with Venue().open() as venue:

        async def burst_and_acknowledge(socket: ServerConnection) -> None:
            for _ in range(3000):
                await venue.tell()
            await socket.send('{"result":null,"id":1}')
            venue.subscribed.append(socket)
            await socket.wait_closed()
            venue.subscribed.remove(socket)

        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [burst_and_acknowledge]
            await old.send(SHUTDOWN)
            await until(lambda: bool(venue.subscribed) and old not in venue.subscribed)
            await venue.tell()
            await until(lambda: bench.told == ["live", "live"])
        assert bench.sink.trades == list(range(1, 3002))


async def test_a_shutdown_announced_is_handed_over_at_once() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            for round_ in range(2, 4):
                (old,) = venue.subscribed
                await old.send(SHUTDOWN)
                while old in venue.subscribed:
                    await venue.tell()
                    await asyncio.sleep(0)
                assert venue.connections == round_
            await venue.tell()
            await until(lambda: venue.sent in bench.sink.trades)
            await until(lambda: bench.told == ["live"] * 3)
        assert venue.unheard == []
        assert set(bench.sink.trades) == set(range(1, venue.sent + 1))


@pytest.mark.parametrize("status", [500, 451])
async def test_a_successor_that_fails_leaves_the_old_one_in_charge(status: int) -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [status] * 3
            await old.send(SHUTDOWN)
            while old in venue.subscribed:
                await venue.tell()
                await asyncio.sleep(0.001)
            await until(lambda: venue.sent in bench.sink.trades)
            await until(lambda: bench.told == ["live", "live"])
        assert venue.answers == []
        assert venue.connections == 5
        assert venue.unheard == []
        assert set(bench.sink.trades) == set(range(1, venue.sent + 1))
        assert isinstance(bench.backoff, Recorded)
        assert bench.backoff.given[:3] == [0.001, 0.002, 0.004]


async def test_a_successor_that_fails_because_its_line_breaks() -> None:
    async def drop(socket: ServerConnection) -> None:
        socket.transport.abort()
        await asyncio.sleep(0)

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [drop, drop]
            await old.send(SHUTDOWN)
            await until(lambda: bool(venue.subscribed) and old not in venue.subscribed)
            await until(lambda: bench.told == ["live", "live"])
        assert venue.connections == 4


async def test_the_old_one_ends_before_its_successor_is_live() -> None:
    """Nobody is subscribed then: books must be marked, states must say so."""
    wait = asyncio.Event()

    async def slow(socket: ServerConnection) -> None:
        await wait.wait()
        await socket.send('{"result":null,"id":1}')
        await socket.wait_closed()

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [slow]
            await old.send(SHUTDOWN)
            await until(lambda: not venue.answers)
            await venue.cut()
            await until(lambda: not venue.subscribed)
            await asyncio.sleep(0.02)
            wait.set()
            await until(lambda: bench.told.count("live") == 2)
        assert bench.told == ["live", "lost", "live"]


async def test_both_end_during_a_hand_over() -> None:
    go = asyncio.Event()

    async def drop(socket: ServerConnection) -> None:
        await go.wait()
        socket.transport.abort()

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [drop]
            await old.send(SHUTDOWN)
            await until(lambda: not venue.answers)
            await venue.cut()
            go.set()
            await until(lambda: bench.told.count("live") == 2)
        assert bench.told == ["live", "lost", "live"]


async def test_one_that_took_over_too_late_tells_of_its_own_loss() -> None:
    """Its predecessor's loss was told in its stead; what it loses once it was live is another one."""
    wait = asyncio.Event()

    async def slow(socket: ServerConnection) -> None:
        await wait.wait()
        await socket.send('{"result":null,"id":1}')
        venue.subscribed.append(socket)
        await socket.wait_closed()
        venue.subscribed.remove(socket)

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            (old,) = venue.subscribed
            venue.answers = [slow]
            await old.send(SHUTDOWN)
            await until(lambda: not venue.answers)
            await venue.cut()
            await until(lambda: bench.told == ["live", "lost"])
            wait.set()
            await until(lambda: bench.told == ["live", "lost", "live"])
            await venue.cut()
            await until(lambda: bench.told == ["live", "lost"] * 2 + ["live"])


async def test_a_loss_says_when_the_line_was_heard_last() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        venue.answers = [500]
        before = clock.now_ns()
        async with bench.running():
            await until(lambda: bench.told == ["lost", "live"])
            await venue.tell()
            await until(lambda: bench.sink.trades == [1])
            heard = clock.now_ns()
            await asyncio.sleep(0.02)
            await venue.cut()
            await until(lambda: bench.told == ["lost", "live", "lost", "live"])
        assert bench.heard[0] == 0  # never
        assert before < bench.heard[1] <= heard


# Other streams, and another connection for the same ones


async def test_other_streams_are_taken_over_without_a_loss() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            for streams in (MORE, MORE[1:], STREAMS):
                (old,) = venue.subscribed
                bench.supervisor.change(streams)
                while old in venue.subscribed:
                    await venue.tell()
                    await asyncio.sleep(0)
            await venue.tell()
            await until(lambda: venue.sent in bench.sink.trades)
            await until(lambda: len(bench.told) == 4)
        assert venue.asked == [[TRADES], [TRADES, QUOTES], [QUOTES], [TRADES]]
        assert bench.told == ["live"] * 4
        assert bench.told_of == [STREAMS, MORE, MORE[1:], STREAMS]
        assert venue.unheard == []
        assert set(bench.sink.trades) == set(range(1, venue.sent + 1))


async def test_a_renewal_is_one_hand_over_without_a_loss() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            (old,) = venue.subscribed
            bench.supervisor.renew()
            bench.supervisor.renew()
            while old in venue.subscribed:
                await venue.tell()
                await asyncio.sleep(0)
            await until(lambda: bench.told == ["live", "live"])
            await venue.tell()
            await until(lambda: venue.sent in bench.sink.trades)
            await asyncio.sleep(0.05)
        assert venue.asked == [[TRADES], [TRADES]]
        assert venue.unheard == []
        assert set(bench.sink.trades) == set(range(1, venue.sent + 1))


async def test_what_changes_during_a_hand_over_is_handed_over_next() -> None:
    wait = asyncio.Event()

    async def slow(socket: ServerConnection) -> None:
        await wait.wait()
        await socket.send('{"result":null,"id":1}')
        await socket.wait_closed()

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            venue.answers = [slow]
            bench.supervisor.renew()
            await until(lambda: not venue.answers)
            bench.supervisor.change(MORE)
            wait.set()
            await until(lambda: bench.told == ["live"] * 3)
            await asyncio.sleep(0.05)
        assert venue.asked == [[TRADES], [TRADES], [TRADES, QUOTES]]
        assert bench.told_of == [STREAMS, STREAMS, MORE]


async def test_what_changes_while_nothing_is_connected_is_connected_next() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue, backoff=Recorded(0.1))
        venue.answers = [500]
        async with bench.running():
            await until(lambda: bench.told == ["lost"])
            bench.supervisor.change(MORE)
            bench.supervisor.renew()
            await until(lambda: bench.told == ["lost", "live"])
            await asyncio.sleep(0.05)
        assert venue.asked == [[TRADES, QUOTES]]
        assert venue.connections == 2  # the back-off was not cut short, and nothing was left to renew
        assert bench.told_of == [STREAMS, MORE]


async def test_what_changes_before_the_first_connection_is_live() -> None:
    wait = asyncio.Event()

    async def slow(socket: ServerConnection) -> None:
        await wait.wait()
        await socket.send('{"result":null,"id":1}')
        await socket.wait_closed()

    async with Venue().open() as venue:
        bench = Bench(venue)
        venue.answers = [slow]
        async with bench.running():
            await until(lambda: not venue.answers and bool(venue.asked))
            bench.supervisor.change(MORE)
            await until(lambda: bool(bench.told))
            wait.set()
        assert venue.asked == [[TRADES], [TRADES, QUOTES]]
        assert bench.told_of == [MORE]
        assert bench.told == ["live"]


@pytest.mark.parametrize("wanted", ["renewal", "change", "shutdown"])
async def test_a_failed_hand_over_has_its_time_before_the_next(wanted: str) -> None:
    async with Venue().open() as venue:
        bench = Bench(venue, backoff=Recorded(NEVER))
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            venue.answers = [500] * 100
            match wanted:
                case "renewal":
                    bench.supervisor.renew()
                case "change":
                    bench.supervisor.change(MORE)
                case _:
                    await venue.subscribed[0].send(SHUTDOWN)
            await until(lambda: len(venue.answers) == 99)
            for _ in range(20):  # frames, which wake it up, and a wish for more
                await venue.tell()
                bench.supervisor.renew()
                await asyncio.sleep(0.002)
            await until(lambda: venue.sent in bench.sink.trades)
            assert len(venue.answers) == 99
        assert bench.told == ["live"]
        assert bench.sink.trades == list(range(1, venue.sent + 1))


async def test_a_change_that_failed_comes_with_the_next_connection() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue, backoff=Recorded(0.05))
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            venue.answers = [500, 500]
            bench.supervisor.change(MORE)
            await until(lambda: bench.told == ["live", "live"])
        assert bench.told_of == [STREAMS, MORE]
        assert isinstance(bench.backoff, Recorded)
        assert bench.backoff.given == [0.025, 0.05]


async def test_stop_right_after_a_change() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            await venue.tell()
            bench.supervisor.change(MORE)
        assert bench.sink.trades == [1]
        assert venue.subscribed == []


# Its end


async def test_stop_during_a_back_off_when_nobody_answered() -> None:
    venue = Venue()
    venue.url = "ws://127.0.0.1:1"
    bench = Bench(venue, backoff=Recorded(NEVER))
    async with bench.running():
        await until(lambda: bench.told == ["lost"])


async def test_stop_during_a_back_off() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue, backoff=Recorded(NEVER))
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            await venue.cut()
            await until(lambda: bench.told == ["live", "lost"])
            await asyncio.sleep(0.005)


async def test_stop_while_connecting() -> None:
    taken, done = asyncio.Event(), asyncio.Event()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await done.wait()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        venue = Venue()
        venue.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bench = Bench(venue)
        async with bench.running():
            await taken.wait()
        assert bench.told == []
        done.set()


async def test_stop_while_waiting_for_a_slot() -> None:
    """300 connections in 5 minutes are soon spent in an outage."""

    async def never() -> None:
        await asyncio.Event().wait()

    bench = Bench(Venue(), slot=never)
    async with bench.running():
        await asyncio.sleep(0.01)


async def test_stop_again_and_again_while_waiting_for_a_slot() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    bench = Bench(Venue(), slot=never)
    async with bench.running():
        await asyncio.sleep(0.01)
        for _ in range(5):
            bench.supervisor.stop()
            await asyncio.sleep(0)
    assert bench.told == []


async def test_stop_while_a_successor_waits_for_a_slot() -> None:
    """The old one's last words are taken all the same."""
    slots = 0

    async def one_only() -> None:
        nonlocal slots
        slots += 1
        if slots > 1:
            await asyncio.Event().wait()

    async with Venue().open() as venue:
        bench = Bench(venue, slot=one_only)
        async with bench.running():
            await until(lambda: bench.told == ["live"])
            await venue.subscribed[0].send(SHUTDOWN)
            await until(lambda: slots == 2)
            await venue.tell()
        assert bench.sink.trades == [1]
        assert venue.connections == 1
        assert bench.told == ["live"]


async def test_stop_before_it_runs() -> None:
    async with Venue().open() as venue:
        bench = Bench(venue)
        bench.supervisor.stop()
        async with bench.running():
            pass
        assert bench.told == []


async def test_stop_in_the_middle_of_a_hand_over_closes_both_and_takes_all() -> None:
    async def mute(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with Venue().open() as venue:
        bench = Bench(venue)
        async with bench.running():
            await until(lambda: bool(venue.subscribed))
            venue.answers = [mute]
            await venue.subscribed[0].send(SHUTDOWN)
            await until(lambda: not venue.answers)
            for _ in range(100):
                await venue.tell()
        assert bench.sink.trades == list(range(1, 101))
        assert venue.subscribed == []
        assert len(bench.sessions) == 2


async def test_a_fault_of_the_program_is_not_hidden() -> None:
    class Broken(Sink):
        def take(self, *_: object) -> Sequence[Ack | Shutdown] | None:
            raise ZeroDivisionError

    async with Venue().open() as venue:
        bench = Bench(venue)
        bench.sink = Broken()
        with pytest.raises(ExceptionGroup) as caught:
            await bench.supervisor.run()
        assert caught.value.subgroup(ZeroDivisionError) is not None
