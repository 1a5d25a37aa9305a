"""One client's websocket: the frames that leave for it, its subscriptions, and what Binance allows it.

Frames are written to the transport as ready bytes, many in one write: a server's frames are unmasked, so the same
bytes serve every connection that asked for the same format.
"""

import asyncio
import os
import socket as sockets
import struct
from typing import Final, Protocol

from aiohttp import WSMsgType, web

from ingest.simulator.limits import SECOND_US, Limits, Pace

_TEXT: Final = 0x81
_CLOSE_US: Final = 2 * SECOND_US
_NO_LINGER: Final = struct.pack("ii", 1, 0)
POLICY_VIOLATION: Final = 1008


def header(length: int, first: int = _TEXT) -> str:
    """The head of an unmasked frame, as latin-1 text (RFC 6455, section 5.2)."""
    if length < 126:
        return chr(first) + chr(length)
    size, marker = (2, 126) if length < 65_536 else (8, 127)
    return chr(first) + chr(marker) + length.to_bytes(size, "big").decode("latin-1")


_HEADERS: Final = [header(length) for length in range(1_024)]


class Frames:
    """Messages in order, and the bytes that carry them, made once however many connections send them.

    A combined stream wraps each payload between `head` and `tail`. Payloads are ASCII. `topic` names the stream that
    they are of, wrapped or not; answers have none.
    """

    __slots__ = ("_blob", "head", "payloads", "stream", "tail", "topic")

    def __init__(self, payloads: list[str], stream: str | None = None, topic: str = "") -> None:
        self.payloads = payloads
        self.stream = stream
        self.topic = topic
        self.head = f'{{"stream":"{stream}","data":' if stream else ""
        self.tail = "}" if stream else ""
        self._blob: bytes | None = None

    def texts(self) -> list[str]:
        """Each message as the client reads it."""
        return [f"{self.head}{payload}{self.tail}" for payload in self.payloads]

    def blob(self) -> bytes:
        if self._blob is None:
            head, tail = self.head, self.tail
            more = len(head) + len(tail)
            parts = []
            for payload in self.payloads:
                size = len(payload) + more
                parts.append(f"{_HEADERS[size] if size < 1_024 else header(size)}{head}{payload}{tail}")
            self._blob = "".join(parts).encode("latin-1")
        return self._blob


class Gate(Protocol):
    """What may stand between `send` and the line: while it is active it decides what is put."""

    @property
    def active(self) -> bool: ...
    def take(self, connection: "Connection", frames: Frames) -> None: ...


class Connection:
    """What the venue knows of one client. Everything that leaves for it passes `send`."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        limits: Limits,
        now_us: int,
        number: int,
        gate: Gate,
    ) -> None:
        self.socket = socket
        self.number = number
        self.combined = False
        self.micro = False
        self.streams: dict[str, None] = {}
        self.opened_us = self.pinged_us = self.ponged_us = now_us
        self.warned = False
        self.sent = 0
        self.closing_us = 0
        self.ended = ""
        self.deaf = False
        self._gate = gate
        self._limits = limits
        self._pace = Pace(limits.messages_per_second, SECOND_US)
        self._transport = transport
        self._pending: list[bytes] = []

    def send(self, frames: Frames) -> None:
        """The one way out, by way of the faults that are in force."""
        if self._gate.active and not self.ended:
            self._gate.take(self, frames)
        else:
            self.put(frames)

    def put(self, frames: Frames) -> None:
        """Messages wait here until `flush`, in order; nothing follows a close."""
        if self.ended:
            return
        self.sent += len(frames.payloads)
        self._pending.append(frames.blob())

    def flush(self) -> None:
        """Write what waits, in one write. A client that leaves too much unread is cut off, as Binance does."""
        if not self._pending or self._transport.is_closing():
            self._pending.clear()
            return
        self._transport.write(self._pending[0] if len(self._pending) == 1 else b"".join(self._pending))
        self._pending.clear()
        if self.buffered > self._limits.buffer_max_bytes:
            self.cut("slow consumer")

    @property
    def buffered(self) -> int:
        """Bytes that the client has not taken from us yet."""
        return self._transport.get_write_buffer_size()

    def cut(self, reason: str) -> None:
        """End at once, without a closing handshake."""
        self.ended = self.ended or reason
        self._transport.abort()

    def reset(self, reason: str) -> None:
        """Write what waits, and end with a TCP reset."""
        self.flush()
        handle = self._transport.get_extra_info("socket")
        if handle is not None and not self._transport.is_closing():
            with sockets.socket(fileno=os.dup(handle.fileno())) as line:
                line.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _NO_LINGER)
        self.cut(reason)

    def hang_up(self, frame: bytes, reason: str) -> None:
        """Write what waits and the first half of a frame, and end the line."""
        self._pending.append(frame[: max(len(frame) // 2, 1)])
        self.flush()
        self.ended = self.ended or reason
        self._transport.close()

    def go_deaf(self, reason: str) -> None:
        """Write what waits; from then on neither send nor read, with the socket left open until the venue ends."""
        self.flush()
        self.ended = self.ended or reason
        self.deaf = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def close(self, code: int, reason: str, now_us: int) -> None:
        """Send the close frame after what was sent before it; `tend` cuts the line if the client does not answer."""
        if not self.closing_us:
            self.ended = self.ended or reason or "closed"
            self.closing_us = now_us or 1
            self.control(8, code.to_bytes(2, "big") + reason.encode())

    def heard(self, kind: WSMsgType, now_us: int) -> bool:
        """Count what the client sent; pings and pongs are messages too. False when it was one too many."""
        if kind is WSMsgType.PONG:
            self.ponged_us = now_us
        return self._pace.allow(now_us)

    def control(self, opcode: int, payload: bytes) -> None:
        """A ping (9) or a pong (10), after what was sent before it."""
        if self.deaf:
            return
        self._pending.append(header(len(payload), 0x80 | opcode).encode("latin-1") + payload)
        self.flush()

    def tend(self, now_us: int) -> str | None:
        """Ping when due. Returns why the connection must end, `shutdown` when that is to be announced, else None."""
        limits = self._limits
        if self.deaf:
            return None
        if self.closing_us:
            return "no answer to close" if now_us - self.closing_us >= _CLOSE_US else None
        age = (now_us - self.opened_us) / SECOND_US
        if age >= limits.connection_lifetime_seconds:
            return "lifetime"
        if now_us - self.pinged_us >= limits.ping_seconds * SECOND_US:
            self.pinged_us = now_us
            self.control(9, str(now_us // 1_000).encode())
        if now_us - max(self.ponged_us, self.opened_us) >= (limits.ping_seconds + limits.pong_seconds) * SECOND_US:
            return "no pong"
        if age >= limits.connection_lifetime_seconds - limits.shutdown_notice_seconds and not self.warned:
            self.warned = True
            return "shutdown"
        return None
