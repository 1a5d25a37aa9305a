"""The daemon as systemd sees it: what it says on the notification socket and when, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest

from ingest.errors import Exit
from ingest.pipeline import spool_view
from ingest.simulator.audit import audit
from ingest.store.database import connect_sync
from ingest.store.migrate import _LOCK as MIGRATION_LOCK
from tests.db.support import Proxy
from tests.end_to_end.processes import Daemon, Simulator, assert_equal

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 60.0  # for what an idle machine does in a few
WATCHDOG_USEC = "400000"  # a beat every 0.2 s

READY = "READY=1\nSTATUS=collecting from binance"
BEAT = "WATCHDOG=1"

# Imported before the program: progress twice a second instead of once a minute, and all of it in the log.
HASTE = """
import ingest.daemon, ingest.log
ingest.daemon._PROGRESS_SECONDS = 0.5
ingest.log._BURST = 1_000_000
"""

# The event loop is kept by a call that does not return, at the first progress.
WEDGE = """
import time
import ingest.daemon
from ingest.operate.systemd import Notifier
ingest.daemon._PROGRESS_SECONDS = 0.5
def status(self, text):
    open({marker!r}, "w").close()
    while True:
        time.sleep(1)
Notifier.status = status
"""


class Manager:
    """The service manager's end of the socket. Messages are taken as they come: the kernel keeps only a few."""

    def __init__(self, address: str) -> None:
        """`address` as NOTIFY_SOCKET has it: a path, or `@` and an abstract name."""
        self.address = address
        self._messages: list[str] = []
        self._flushed = 0
        self._closed = False
        self._arrived = threading.Condition()
        self._name = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._name)
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def received(self) -> list[str]:
        """Everything that was sent until now, in order."""
        wanted = self._flushed + 1
        self._mark()
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._flushed >= wanted, LIMIT_SECONDS)
            return list(self._messages)

    def said(self) -> list[str]:
        """The same without the signs of life."""
        return [message for message in self.received() if message != BEAT]

    def wait_until(self, met: Callable[[list[str]], bool]) -> None:
        """Until the messages are as wanted."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: met(self._messages), LIMIT_SECONDS), self._messages

    def close(self) -> None:
        self._closed = True
        self._mark()
        self._thread.join()
        self._socket.close()

    def _mark(self) -> None:
        """An empty message arrives after all that were sent before."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self._name)

    def _take(self) -> None:
        while not self._closed:
            message = self._socket.recv(4096)
            with self._arrived:
                if message:
                    self._messages.append(message.decode())
                else:
                    self._flushed += 1
                self._arrived.notify_all()


class Line:
    """A line to the database that can be disturbed, with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._proxy = Proxy(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._proxy.__aenter__(), self._loop).result()
        self.url = self._proxy.url
        self.direct_url = url

    def disturb(self, how: Callable[[Proxy], None]) -> None:
        async def call() -> None:
            how(self._proxy)

        asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._proxy.__aexit__(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Start(Protocol):
    """Start the daemon under the manager, with further lines of configuration and variables of the environment."""

    def __call__(self, url: str, extra: str = "", **variables: str) -> Daemon: ...


@pytest.fixture
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = getattr(request, "param", "path") == "abstract"
    listening = Manager(f"@ingest-test-{uuid4().hex}" if abstract else str(tmp_path / "notify"))
    yield listening
    listening.close()


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    laid = Line(database_url)
    yield laid
    laid.close()


@pytest.fixture
def start(tmp_path: Path, venue: Simulator, manager: Manager) -> Iterator[Start]:
    with ExitStack() as started:

        def start_daemon(url: str, extra: str = "", **variables: str) -> Daemon:
            # For this process alone: PostgreSQL's server, too, would report to the socket.
            with pytest.MonkeyPatch.context() as environment:
                environment.delenv("WATCHDOG_PID", raising=False)
                environment.setenv("NOTIFY_SOCKET", manager.address)
                environment.setenv("WATCHDOG_USEC", WATCHDOG_USEC)
                for name, text in variables.items():
                    environment.setenv(name, text)
                daemon = Daemon(tmp_path, venue, url, extra)
            started.callback(daemon.close)
            return daemon

        yield start_daemon


@pytest.fixture
def haste(tmp_path: Path) -> str:
    """A PYTHONPATH under which progress comes soon."""
    (tmp_path / "sitecustomize.py").write_text(HASTE)
    return os.pathsep.join((str(tmp_path), str(ROOT)))


def stopping(rows: int, microseconds: int) -> str:
    return f"STOPPING=1\nSTATUS=delivering {rows} rows\nEXTEND_TIMEOUT_USEC={microseconds}"


def logged(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    """The log's entries of this name. What libraries say by themselves is not among them."""
    lines = daemon.log_file.read_text().rpartition("\n")[0].splitlines()
    entries = [json.loads(text) for text in lines if text.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


def rows_to_deliver(daemon: Daemon) -> int:
    """How many there were at the signal, by the log."""
    (entry,) = logged(daemon, "daemon.stopping")
    return int(entry["rows_to_deliver"])


def sigterm(daemon: Daemon, manager: Manager) -> None:
    daemon.process.send_signal(signal.SIGTERM)
    manager.wait_until(lambda messages: any(message.startswith("STOPPING=1\n") for message in messages))


# A whole life


@pytest.mark.parametrize("manager", ["path", pytest.param("abstract", marks=pytest.mark.long)], indirect=True)
def test_a_life(start: Start, venue: Simulator, manager: Manager, database_url: str) -> None:
    daemon = start(database_url, "[shutdown]\ndeadline_seconds = 7.5\n")
    manager.wait_until(lambda messages: READY in messages)
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 100)
    manager.wait_until(lambda messages: messages.count(BEAT) >= 3)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK
    assert manager.received()[0] == READY
    assert manager.said() == [READY, stopping(rows_to_deliver(daemon), 22_500_000)]
    assert logged(daemon, "systemd.not_told") == []


@pytest.mark.long
def test_no_sign_of_life_is_sent_where_another_process_is_watched(
    start: Start, manager: Manager, database_url: str
) -> None:
    daemon = start(database_url, WATCHDOG_PID="1")
    daemon.wait_until_live()
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK
    assert manager.received() == [READY, stopping(rows_to_deliver(daemon), 35_000_000)]


def test_progress_is_told(start: Start, venue: Simulator, manager: Manager, haste: str, database_url: str) -> None:
    daemon = start(database_url, PYTHONPATH=haste)
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: any(entry["stored"] > 100 for entry in logged(daemon, "progress")))
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK
    told = [
        f"STATUS={entry['rows_per_second']} rows/s, {entry['stored']} stored, {entry['held']} waiting"
        for entry in logged(daemon, "progress")
    ]
    assert manager.said() == [READY, *told, stopping(rows_to_deliver(daemon), 35_000_000)]


@pytest.mark.long
def test_what_the_watchdog_ends_leaves_its_stacks(start: Start, manager: Manager, database_url: str) -> None:
    """The manager sends SIGABRT when no sign of life comes; the unit sets PYTHONFAULTHANDLER."""
    daemon = start(database_url, PYTHONFAULTHANDLER="1")
    manager.wait_until(lambda messages: BEAT in messages)
    daemon.process.send_signal(signal.SIGABRT)
    assert daemon.process.wait(LIMIT_SECONDS) == -signal.SIGABRT
    log = daemon.log_file.read_text()
    assert "Fatal Python error: Aborted" in log
    assert "ingest/daemon.py" in log


def test_a_wedged_daemon_gives_no_sign_of_life_and_the_next_one_goes_on(
    start: Start, venue: Simulator, manager: Manager, tmp_path: Path, database_url: str
) -> None:
    """What systemd then does is WatchdogSec with Restart=always: SIGABRT, and another start."""
    (tmp_path / "sitecustomize.py").write_text(WEDGE.format(marker=str(tmp_path / "wedged")))
    wedged = start(database_url, PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))), PYTHONFAULTHANDLER="1")
    wedged.wait_until((tmp_path / "wedged").exists)
    before = manager.received().count(BEAT)
    time.sleep(3 * int(WATCHDOG_USEC) / 1_000_000)  # that nothing comes can only be waited for
    assert manager.received().count(BEAT) == before > 0
    wedged.process.send_signal(signal.SIGABRT)
    assert wedged.process.wait(LIMIT_SECONDS) == -signal.SIGABRT
    assert "in status" in wedged.log_file.read_text()  # where it hung
    (tmp_path / "sitecustomize.py").unlink()
    daemon = start(database_url)
    manager.wait_until(lambda messages: messages.count(READY) == 2)
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 100)
    assert manager.received().count(BEAT) > before


# The start


def test_it_is_ready_only_when_the_schema_is_checked(start: Start, manager: Manager, database_url: str) -> None:
    with connect_sync(database_url, role="test") as migrating:
        migrating.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        daemon = start(database_url)
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()"
        )
        daemon.wait_until(lambda: daemon.count(waiting) == 1)
        assert manager.received() == []
    manager.wait_until(lambda messages: READY in messages)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK
    assert manager.said() == [READY, stopping(rows_to_deliver(daemon), 35_000_000)]


def test_a_database_that_is_not_migrated_is_never_ready(
    start: Start, manager: Manager, empty_database_url: str
) -> None:
    daemon = start(empty_database_url)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.USAGE, daemon.log_file.read_text()
    assert manager.received() == []


def test_a_configuration_that_is_refused_is_never_ready(start: Start, manager: Manager, database_url: str) -> None:
    daemon = start(database_url, "[shutdown]\ndeadline = 1\n")
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.USAGE, daemon.log_file.read_text()
    assert manager.received() == []


def test_a_database_that_is_away_is_never_ready(start: Start, manager: Manager) -> None:
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        daemon = start(f"postgresql://ingest@127.0.0.1:{nobody.getsockname()[1]}/ingest")
        assert daemon.process.wait(LIMIT_SECONDS) == Exit.UNAVAILABLE, daemon.log_file.read_text()
    assert manager.received() == []


# A stop while the database is away


def deliver_and_compare(start: Start, venue: Simulator, line: Line) -> None:
    """The next start delivers what waits on disk, and then the tables are the venue's own ledger."""
    line.disturb(Proxy.accept)
    line.disturb(Proxy.answer)
    again = start(line.url)
    again.wait_until_live()
    venue.ledger.pause(paused=False)
    mended = (
        "SELECT count(*) FROM ingest.gaps WHERE cause = 'not collected' AND channel = 'book' AND to_time IS NOT NULL"
    )
    again.wait_until(lambda: again.count(mended) == 3)
    venue.ledger.pause(paused=True)
    again.wait_until_committed(venue)
    again.wait_until(lambda: again.count("SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')") == 0)
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(LIMIT_SECONDS) == Exit.OK
    assert_equal(audit(line.direct_url, venue.ledger, since=venue.since, depth=20))


@pytest.mark.long
@pytest.mark.parametrize(
    "away", [pytest.param(Proxy.refuse, marks=pytest.mark.long), Proxy.mute], ids=["refuses", "silent"]
)
def test_it_ends_by_itself_when_the_database_is_away_and_all_is_on_disk(
    away: Callable[[Proxy], None], start: Start, venue: Simulator, manager: Manager, line: Line, tmp_path: Path
) -> None:
    daemon = start(line.url, "[shutdown]\ndeadline_seconds = 2.0\n")
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 100)
    line.disturb(away)
    time.sleep(1)  # at 500 trades a second
    sigterm(daemon, manager)
    beats = manager.received().count(BEAT)
    manager.wait_until(lambda messages: messages.count(BEAT) > beats)  # it lives until its end
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK, "what is on disk is safe"
    venue.ledger.pause(paused=True)
    said = [message for message in manager.said() if not message.startswith("STATUS=")]
    assert said == [READY, stopping(rows_to_deliver(daemon), 17_000_000)]
    (stopped,) = logged(daemon, "daemon.stopped")
    waiting = spool_view.inspect(tmp_path / "spool")
    assert stopped["lost"] == 0
    assert stopped["waiting"] == waiting.rows > 100
    assert "Traceback" not in daemon.log_file.read_text()
    deliver_and_compare(start, venue, line)


@pytest.mark.long
def test_a_database_that_comes_back_as_it_stops_has_all_or_the_disk_has(
    start: Start, venue: Simulator, manager: Manager, line: Line, tmp_path: Path
) -> None:
    daemon = start(line.url, "[shutdown]\ndeadline_seconds = 50\n")
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 100)
    line.disturb(Proxy.refuse)
    daemon.wait_until(lambda: logged(daemon, "spool.filling") != [])
    venue.ledger.pause(paused=True)
    sigterm(daemon, manager)
    line.disturb(Proxy.accept)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.OK
    assert manager.said() == [READY, stopping(rows_to_deliver(daemon), 65_000_000)]
    (stopped,) = logged(daemon, "daemon.stopped")
    assert stopped["lost"] == 0
    assert stopped["waiting"] == spool_view.inspect(tmp_path / "spool").rows
    deliver_and_compare(start, venue, line)


def test_a_second_signal_ends_it_at_once(start: Start, venue: Simulator, manager: Manager, line: Line) -> None:
    daemon = start(line.url, "[shutdown]\ndeadline_seconds = 3600\n")
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 100)
    line.disturb(Proxy.refuse)
    daemon.wait_until(lambda: logged(daemon, "database.retry") != [])
    sigterm(daemon, manager)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(LIMIT_SECONDS) == Exit.INTERRUPTED
    assert manager.said() == [READY, stopping(rows_to_deliver(daemon), 3_615_000_000)]
    (ended,) = logged(daemon, "daemon.ended_at_once")
    assert ended["rows_not_delivered"] > 0
