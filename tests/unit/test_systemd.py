"""What systemd is told, and that a wedged event loop tells it nothing."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ingest.operate.systemd import Notifier, encode, socket_address, watchdog, watchdog_seconds


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def received(self) -> list[str]:
        """Everything that came since the last call."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"\0ingest-test-{uuid4().hex}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    listening = Manager(address)
    yield listening
    listening.close()


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, "/run/systemd/notify"),
        ({"NOTIFY_SOCKET": "@/org/freedesktop/systemd1/notify"}, "\0/org/freedesktop/systemd1/notify"),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None),
    ],
)
def test_where_the_manager_listens(environ: Mapping[str, str], address: str | None) -> None:
    assert socket_address(environ) == address


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often_to_beat(environ: Mapping[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 42) == seconds


def test_a_value_is_one_line() -> None:
    assert encode({"STATUS": "two\nlines é", "READY": 1}) == "STATUS=two lines é\nREADY=1".encode()


def test_a_life(manager: Manager, address: str) -> None:
    notifier = Notifier(address)
    assert notifier.ready("collecting")
    assert notifier.status("12 streams live")
    assert notifier.beat()
    assert notifier.stopping("delivering 3 rows", within_seconds=25.5)
    assert manager.received() == [
        "READY=1\nSTATUS=collecting",
        "STATUS=12 streams live",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=delivering 3 rows\nEXTEND_TIMEOUT_USEC=25500000",
    ]


def test_the_environment_of_this_process(manager: Manager, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier.from_environment()
    assert notifier.beat()
    assert (manager.received(), notifier.beat_seconds) == (["WATCHDOG=1"], 1.5)


def test_without_a_manager_nothing_is_said() -> None:
    with capture_logs() as logs:
        assert not Notifier(None).ready("collecting")
    assert logs == []


def test_a_manager_that_is_gone_or_slow_does_no_harm(address: str) -> None:
    with capture_logs() as logs:
        assert not Notifier(address).ready("collecting")
    assert [entry["message"] for entry in logs] == ["READY, STATUS"]
    full = Manager(address)
    try:
        notifier = Notifier(address)
        with capture_logs():
            while notifier.beat():  # until the kernel's queue is full: it must say no rather than wait
                pass
        assert set(full.received()) == {"WATCHDOG=1"}
    finally:
        full.close()


async def test_beats_end_while_the_loop_is_wedged_and_go_on_after(manager: Manager, address: str) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    async def turns() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    beating = asyncio.ensure_future(watchdog(Notifier(address, beat_seconds=1.5), sleep=sleep))
    await turns()
    assert len(manager.received()) >= 2
    assert set(slept) == {1.5}
    assert [manager.received() for _ in range(1000)] == [[]] * 1000  # a callback that keeps the loop to itself
    await turns()
    assert set(manager.received()) == {"WATCHDOG=1"}
    beating.cancel()


async def test_nobody_watches(manager: Manager, address: str) -> None:
    await watchdog(Notifier(address, beat_seconds=None))
    assert manager.received() == []
