"""Faults of the websocket side: what becomes of each message on its way to a connection, and of handshakes.

At most one fault acts on a message, the first in the order of arming; then a stall may hold the outcome back.
"""

import re
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final, Literal

from msgspec import Struct, field

from ingest.simulator.connection import Connection, Frames
from ingest.simulator.faults import Drop, Fault, Lapse, Malformed, Mute, NoAck, Refuse, Reorder, Repeat, Skip
from ingest.simulator.garbled import numbers, spoil
from ingest.simulator.limits import SECOND_US
from ingest.simulator.saboteur import Armed, Saboteur, Yard

_SWAP_US: Final = SECOND_US
_EVENT_TIME: Final = re.compile(r'"E":(\d+)')


class Late(Struct, gc=False):
    """A message that is held back, and for how long at most."""

    due_us: int
    connection: Connection
    text: str
    gone: bool = False


class Line(Struct):
    """What faults did to one connection: streams that are silent, and of each the message that the next overtakes."""

    muted: dict[str, Armed] = field(default_factory=dict)
    overtaken: dict[str, Late] = field(default_factory=dict)


class StreamFaults:
    """Stands between `Connection.send` and the line. `active` is False while there is nothing to do."""

    def __init__(self, saboteur: Saboteur, yard: Yard) -> None:
        self._saboteur = saboteur
        self._yard = yard
        self._lines: dict[int, Line] = {}
        self._late: list[tuple[int, int, Late]] = []
        self._serial = 0
        self._stalled: dict[int, tuple[Armed, list[tuple[Connection, Frames]]]] = {}

    @property
    def active(self) -> bool:
        of = self._saboteur.of
        return bool(self._lines or self._stalled or of("message") or of("stall") or of("venue"))

    # connections and subscriptions

    def refuses(self, address: str, names: Iterable[str]) -> tuple[int, int | None] | None:
        """The status of a refused handshake, 0 for none at all, and its Retry-After; None when it may go on."""
        now_us = self._yard.now_us()
        named = list(names)
        for armed, fault in self._saboteur.kinds("handshake", Refuse, now_us):
            if (not armed.narrowed or any(map(armed.on_stream, named))) and armed.strikes(now_us):
                retry = retry_after(armed, fault.status, fault.retry_after, now_us)
                did = f"refused with {fault.status}" if fault.status else "closed without an answer"
                self._saboteur.tell(armed, f"handshake {address}", did, time_us=now_us)
                return fault.status, retry
        return None

    def swallows(self, connection: Connection, names: Iterable[str]) -> Literal["", "answer", "all"]:
        """What of a SUBSCRIBE is lost: nothing, its answer, or the whole command."""
        now_us, named = self._yard.now_us(), list(names)
        for armed, fault in self._saboteur.kinds("subscribe", NoAck, now_us):
            if any(map(armed.on_stream, named)) and armed.strikes(now_us):
                did = "not acknowledged, subscribed" if fault.subscribed else "not acknowledged, not subscribed"
                self._saboteur.tell(armed, f"connection {connection.number} {' '.join(named)}", did, time_us=now_us)
                return "answer" if fault.subscribed else "all"
        return ""

    def subscribed(self, connection: Connection, names: Iterable[str]) -> None:
        """Streams were asked for, in the address or by command."""
        now_us = self._yard.now_us()
        for name in names:
            line = self._lines.get(connection.number)
            mute = line.muted.get(name) if line else None
            if line and mute and isinstance(mute.fault, Mute | Lapse) and mute.fault.until == "resubscribe":
                del line.muted[name]
            for armed, _ in self._saboteur.kinds("subscribe", Mute, now_us):
                if armed.on_stream(name) and armed.strikes(now_us):
                    self._line(connection).muted[name] = armed
                    self._saboteur.tell(armed, _target(connection, name), "muted", time_us=now_us)
                    break

    def ended(self, connection: Connection) -> None:
        """Forget a connection."""
        self._lines.pop(connection.number, None)

    # messages

    def take(self, connection: Connection, frames: Frames) -> None:
        """Send what is left of `frames`."""
        topic, now_us = frames.topic, self._yard.market_us
        if self._stalled:
            self.release(self._yard.now_us())
        if not topic:
            self._put(connection, frames, "", now_us)
            return
        line = self._lines.get(connection.number)
        if line and (mute := line.muted.get(topic)):
            if not mute.lifted:
                for payload in frames.payloads:
                    self._saboteur.tell(mute, _target(connection, topic), "sent nothing", numbers(topic, payload))
                return
            del line.muted[topic]
        frames = self._shifted(frames, connection)
        acting = [armed for armed in self._saboteur.of("message") if armed.on_stream(topic) and not armed.over(now_us)]
        if acting or (line and topic in line.overtaken):
            self._take_each(connection, frames, acting, now_us)
        else:
            self._put(connection, frames, topic, now_us)

    def release(self, now_us: int) -> None:
        """Send what was held back until now."""
        for number, (armed, held) in list(self._stalled.items()):
            if armed.over(now_us):
                del self._stalled[number]
                for connection, frames in held:
                    connection.put(frames)
                    connection.flush()
        while self._late and self._late[0][0] <= now_us:
            _, _, late = heappop(self._late)
            if not late.gone:
                late.gone = True
                late.connection.put(Frames([late.text]))
                late.connection.flush()

    def _take_each(self, connection: Connection, frames: Frames, acting: list[Armed], now_us: int) -> None:
        out: list[str] = []
        dropped: tuple[Armed, Drop, str] | None = None
        line = self._line(connection)
        for payload, text in zip(frames.payloads, frames.texts(), strict=True):
            if mute := line.muted.get(frames.topic):
                self._tell(mute, connection, frames.topic, "sent nothing", payload)
                continue
            first = line.overtaken.pop(frames.topic, None)
            if first and not first.gone:
                first.gone = True
                out += [text, first.text]
                continue
            for armed in acting:
                probability = armed.fault.probability if isinstance(armed.fault, Skip) else 1.0
                if not armed.strikes(now_us, probability):
                    continue
                if isinstance(armed.fault, Drop):
                    dropped = armed, armed.fault, text
                else:
                    out += self._act(armed, armed.fault, connection, frames.topic, payload, text)
                break
            else:
                out.append(text)
            if dropped:
                self._tell(dropped[0], connection, frames.topic, f"dropped: {dropped[1].how}", payload)
                break
        if out:
            self._put(connection, Frames(out), frames.topic, now_us)
        if dropped:
            self._drop(connection, dropped[1], dropped[2])
        if not (line.muted or line.overtaken):
            self._lines.pop(connection.number, None)

    def _act(
        self, armed: Armed, fault: Fault, connection: Connection, topic: str, payload: str, text: str
    ) -> list[str]:
        """Do to one message what the fault says; returns what is sent now."""
        sent, did = [text], ""
        if isinstance(fault, Repeat):
            did = f"sent {fault.times} more, {fault.ms} ms later" if fault.ms else f"sent {fault.times} more"
            if fault.ms:
                for time in range(1, fault.times + 1):
                    self._hold(connection, text, time * fault.ms * 1_000)
            else:
                sent = [text] * (1 + fault.times)
        elif isinstance(fault, Reorder):
            sent, did = [], f"held back {fault.ms} ms" if fault.ms else "sent after the next"
            late = self._hold(connection, text, fault.ms * 1_000 or _SWAP_US)
            if not fault.ms:
                self._line(connection).overtaken[topic] = late
        elif isinstance(fault, Malformed):
            wrong, did = spoil(text, fault.what, armed.rng, fault.size)
            sent = [wrong] if fault.instead else [text, wrong]
            did = f"instead: {did}" if fault.instead else f"then {did}"
        elif isinstance(fault, Lapse):
            sent, did = [], "sent nothing"
            self._line(connection).muted[topic] = armed
        else:
            sent, did = [], "skipped"
        self._tell(armed, connection, topic, did, payload)
        return sent

    def _drop(self, connection: Connection, fault: Drop, text: str) -> None:
        if fault.how == "close":
            connection.close(fault.code, fault.reason, self._yard.now_us())
        elif fault.how == "abort":
            connection.reset("fault: abort")
        elif fault.how == "half_open":
            connection.go_deaf("fault: half_open")
        else:
            connection.hang_up(Frames([text]).blob(), "fault: mid_frame")

    def _put(self, connection: Connection, frames: Frames, topic: str, now_us: int) -> None:
        """The last station: a stall keeps what has come so far, in order. Answers have no topic."""
        for armed in self._saboteur.of("stall"):
            if (armed.on_stream(topic) if topic else not armed.narrowed) and armed.strikes(now_us):
                self._stalled.setdefault(armed.number, (armed, []))[1].append((connection, frames))
                for payload in frames.payloads:
                    self._tell(armed, connection, topic, "held back", payload)
                return
        connection.put(frames)

    def _shifted(self, frames: Frames, connection: Connection) -> Frames:
        """The same events at the hour that the venue's clock tells."""
        jump_us = self._saboteur.jump_us
        if not jump_us:
            return frames
        jump = jump_us if connection.micro else jump_us // 1_000

        def later(found: re.Match[str]) -> str:
            return f'"E":{int(found[1]) + jump}'

        payloads = [_EVENT_TIME.sub(later, payload, count=1) for payload in frames.payloads]
        return Frames(payloads, frames.stream, frames.topic)

    def _hold(self, connection: Connection, text: str, for_us: int) -> Late:
        late = Late(self._yard.market_us + for_us, connection, text)
        self._serial += 1
        heappush(self._late, (late.due_us, self._serial, late))
        return late

    def _line(self, connection: Connection) -> Line:
        return self._lines.setdefault(connection.number, Line())

    def _tell(self, armed: Armed, connection: Connection, topic: str, did: str, payload: str) -> None:
        self._saboteur.tell(armed, _target(connection, topic), did, numbers(topic, payload))


def retry_after(armed: Armed, status: int, said: int | None, now_us: int) -> int | None:
    """Seconds for the header: as told, else for 429 and 418 what is left of the fault, at least one."""
    if said is not None or status not in {418, 429}:
        return said
    return max(-(-(armed.until_us - now_us) // SECOND_US), 1)


def _target(connection: Connection, topic: str) -> str:
    return f"connection {connection.number} {topic}".rstrip()
