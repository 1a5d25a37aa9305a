"""Word to the service manager by systemd's sd_notify protocol, sd_notify(3). Without a manager nothing is said.

A message is one datagram to the socket that `NOTIFY_SOCKET` names. Sending never blocks and never raises: a daemon
must not fall because its manager is slow.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

log = structlog.get_logger()

Sleep = Callable[[float], Awaitable[None]]


def socket_address(environ: Mapping[str, str]) -> str | None:
    """Where to write: a path, or an abstract socket (`@name` there, a zero byte first in the kernel). None: nowhere."""
    name = environ.get("NOTIFY_SOCKET", "")
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """How often to beat: half of the time after which the manager acts. None: it does not watch this process.

    Variables that were meant for another process (WATCHDOG_PID) or make no sense count for nothing.
    """
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    microseconds = int(text) if text.isascii() and text.isdigit() else 0
    return microseconds / 2 / 1_000_000 or None


def encode(fields: Mapping[str, object]) -> bytes:
    """The datagram. A value is one line, as the protocol has it: line breaks become spaces."""
    lines = (f"{name}={' '.join(str(value).splitlines())}" for name, value in fields.items())
    return "\n".join(lines).encode()


class Notifier:
    """Says what the daemon is about. Each call returns whether the manager was told."""

    def __init__(self, address: str | None, beat_seconds: float | None = None) -> None:
        self.beat_seconds = beat_seconds
        self._address = address

    @classmethod
    def from_environment(cls) -> "Notifier":
        """For this process."""
        return cls(socket_address(os.environ), watchdog_seconds(os.environ, os.getpid()))

    def ready(self, status: str) -> bool:
        """Start is over, or reading the configuration again is."""
        return self._send({"READY": 1, "STATUS": status})

    def reloading(self) -> bool:
        """The configuration is read again; `ready` says that this is over."""
        return self._send({"RELOADING": 1, "MONOTONIC_USEC": time.monotonic_ns() // 1000})

    def status(self, text: str) -> bool:
        """A line for `systemctl status`. It must hold no secret."""
        return self._send({"STATUS": text})

    def stopping(self, status: str, *, within_seconds: float) -> bool:
        """The end has begun. The manager waits at least so long, even where its own TimeoutStopSec is shorter."""
        microseconds = int(within_seconds * 1_000_000)
        return self._send({"STOPPING": 1, "STATUS": status, "EXTEND_TIMEOUT_USEC": microseconds})

    def beat(self) -> bool:
        """A sign of life."""
        return self._send({"WATCHDOG": 1})

    def _send(self, fields: Mapping[str, object]) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(encode(fields), self._address)
        except OSError as error:
            log.warning("systemd.not_told", message=", ".join(fields), error=error.strerror)
            return False
        return True


async def watchdog(notifier: Notifier, *, sleep: Sleep = asyncio.sleep) -> None:
    """Beat for ever, on the event loop itself: when the loop is wedged no beat is sent, and the manager restarts us.

    Returns at once where nobody watches.
    """
    if notifier.beat_seconds is None:
        return
    while True:
        notifier.beat()
        await sleep(notifier.beat_seconds)
