"""The faults in force at a running venue, and the ledger of what they did."""

import random
from bisect import insort
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from msgspec import Struct, field

from ingest.simulator.chaos import Chaos, Mix
from ingest.simulator.faults import Burst, ClockJump, Fault, Lapse, Mute, Place, RestFault, StreamFault, Unreachable
from ingest.simulator.limits import SECOND_US

Kind = TypeVar("Kind", bound=Fault)
_MOST_SPANS: Final = 100_000


class Incident(Struct):
    """What one fault did to one target: how often, and to which ids, as [first, last] in the order of acts.

    Ids are those of `garbled.numbers`. `time_us` is that of the first act.
    """

    time_us: int
    fault: int
    kind: str
    random: bool
    target: str
    did: str
    times: int = 0
    ids: list[tuple[int, int]] = field(default_factory=list)


class Armed:
    """A fault in force: what it still waits for, and when it ends."""

    def __init__(
        self, fault: Fault, number: int, native: str, now_us: int, rng: random.Random, *, chance: bool
    ) -> None:
        self.fault = fault
        self.number = number
        self.native = native
        self.random = chance
        self.rng = rng
        self.until_us = 0
        self._waiting = fault.after
        lasting = fault.lasting or bool(fault.seconds) or (isinstance(fault, Mute | Lapse) and fault.until == "ever")
        self._left = fault.count or (0 if lasting else 1)
        self._endless = not self._left
        self.lifted = False
        if not self._waiting:
            self._begin(now_us)

    def over(self, now_us: int) -> bool:
        return self.lifted or (not self._endless and self._left <= 0) or 0 < self.until_us <= now_us

    def strikes(self, now_us: int, probability: float = 1.0) -> bool:
        """Count one message or call that it applies to; True when it acts on this one."""
        if self.over(now_us):
            return False
        if self._waiting:
            self._waiting -= 1
            if not self._waiting:
                self._begin(now_us)
            return False
        if probability < 1 and self.rng.random() >= probability:
            return False
        self._left -= 1
        return True

    @property
    def narrowed(self) -> bool:
        """Whether it is for one symbol or stream only."""
        return bool(self.native) or (isinstance(self.fault, StreamFault) and bool(self.fault.stream))

    def on_stream(self, name: str) -> bool:
        symbol, _, kind = name.partition("@")
        stream = self.fault.stream if isinstance(self.fault, StreamFault) else ""
        return (not self.native or self.native.lower() == symbol) and stream in {"", name, kind}

    def on_call(self, path: str, symbol: str) -> bool:
        wanted = self.fault.path if isinstance(self.fault, RestFault) else ""
        return (not self.native or self.native == symbol) and wanted in {"", path}

    def _begin(self, now_us: int) -> None:
        if self.fault.seconds:
            self.until_us = now_us + round(self.fault.seconds * SECOND_US)


class Yard(Protocol):
    """What faults need of the venue. `now_us` is its clock, `market_us` how far the market has come."""

    def now_us(self) -> int: ...
    @property
    def market_us(self) -> int: ...
    def native(self, symbol: str) -> str:
        """Raises `KeyError` for what is not listed."""

    def burst(self, symbol: str, trades: int) -> None: ...


class Saboteur:
    """`add` and `chaos` bring faults, `step` arms what is due on the market's grid, `happened` is the ledger.

    Faults on messages are timed by the market, so that the same seed hits the same ones; all others by the clock.
    """

    def __init__(self, yard: Yard, seed: int, natives: tuple[str, ...], tick_us: int) -> None:
        self.mix: Mix | None = None
        self._yard = yard
        self._seed = seed
        self._natives = natives
        self._tick_us = tick_us
        self._chaos: Chaos | None = None
        self._number = 0
        self._scheduled: list[tuple[int, int, Fault]] = []
        self._armed: dict[Place, list[Armed]] = {}
        self._incidents: dict[tuple[int, str, str], Incident] = {}
        self._all: list[Armed] = []

    @property
    def happened(self) -> list[Incident]:
        """Every act so far, in the order of first acts."""
        return list(self._incidents.values())

    def add(self, fault: Fault) -> int:
        """Arm a fault, or set it down for its time; returns its number. Raises `KeyError` for an unlisted symbol."""
        if fault.symbol:
            self._yard.native(fault.symbol)
        self._number += 1
        if fault.at_us > self._yard.market_us:
            insort(self._scheduled, (fault.at_us, self._number, fault), key=lambda entry: entry[:2])
        else:
            self._arm(fault, self._number, self._yard.market_us, self._generator(self._number))
        return self._number

    def chaos(self, mix: Mix | None) -> None:
        """From now on random faults from a seed; with None none, and those in force are lifted."""
        self.mix = mix
        self._chaos = Chaos(mix, self._yard.market_us, self._tick_us, self._natives) if mix else None
        if mix is None:
            self._lift(lambda armed: armed.random)

    def clear(self) -> None:
        """Lift every fault, scripted and random, and those set down for later."""
        self._scheduled.clear()
        self.chaos(None)
        self._lift(lambda _: True)

    def step(self, now_us: int) -> None:
        """Arm what is due by the step that ends at `now_us`. Chaos passes over a time that was skipped."""
        while self._scheduled and self._scheduled[0][0] <= now_us:
            _, number, fault = self._scheduled.pop(0)
            self._arm(fault, number, now_us, self._generator(number))
        if self._chaos:
            for fault, rng in self._chaos.due(now_us):
                self._number += 1
                self._arm(fault, self._number, now_us, rng, chance=True)
        for place, armed in self._armed.items():
            if any(one.over(now_us) for one in armed):
                self._armed[place] = [one for one in armed if not one.over(now_us)]

    def of(self, place: Place) -> list[Armed]:
        """What is in force there, in the order of arming; some of it may be over."""
        return self._armed.get(place, [])

    def kinds(self, place: Place, kind: type[Kind], now_us: int) -> Iterator[tuple[Armed, Kind]]:
        """Those of one kind that are not over."""
        for armed in self.of(place):
            if isinstance(armed.fault, kind) and not armed.over(now_us):
                yield armed, armed.fault

    def tell(
        self, armed: Armed, target: str, did: str, ids: tuple[int, int] = (0, 0), *, time_us: int | None = None
    ) -> None:
        """Enter an act in the ledger. `ids` that go on from the last ones are joined to them."""
        key = (armed.number, target, did)
        found = self._incidents.get(key)
        if found is None:
            when = self._yard.market_us if time_us is None else time_us
            kind = str(armed.fault.__struct_config__.tag)
            found = self._incidents[key] = Incident(when, armed.number, kind, armed.random, target, did)
        found.times += 1
        if ids == (0, 0):
            return
        if found.ids and found.ids[-1][1] + 1 == ids[0]:
            found.ids[-1] = (found.ids[-1][0], ids[1])
        elif len(found.ids) < _MOST_SPANS and (not found.ids or found.ids[-1] != ids):
            found.ids.append(ids)

    @property
    def listening(self) -> bool:
        """False while the venue shall not be reached."""
        return not any(self.kinds("venue", Unreachable, self._yard.now_us()))

    @property
    def jump_us(self) -> int:
        """What is added to the time that is told."""
        if not self.of("venue"):
            return 0
        return sum(jump.ms * 1_000 for _, jump in self.kinds("venue", ClockJump, self._yard.now_us()))

    def _generator(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}:fault:{number}")  # noqa: S311 - a market, not a secret

    def _arm(self, fault: Fault, number: int, now_us: int, rng: random.Random, *, chance: bool = False) -> None:
        native = self._yard.native(fault.symbol) if fault.symbol else ""
        armed = Armed(fault, number, native, now_us, rng, chance=chance)
        if isinstance(fault, Burst):
            symbol = native or self._natives[0]
            self._yard.burst(symbol, fault.trades)
            self.tell(armed, symbol, f"{fault.trades} more trades in a step", time_us=now_us)
            return
        self._all.append(armed)
        self._armed.setdefault(fault.place, []).append(armed)
        if isinstance(fault, Unreachable):
            self.tell(armed, "venue", f"does not listen for {fault.seconds:g} s", time_us=now_us)
        elif isinstance(fault, ClockJump):
            self.tell(armed, "clock", f"told {fault.ms:+d} ms", time_us=now_us)

    def _lift(self, chosen: Callable[[Armed], bool]) -> None:
        """Also those that have acted: what they muted or hold back comes again."""
        for armed in filter(chosen, self._all):
            armed.lifted = True
        self._armed = {place: [one for one in armed if not one.lifted] for place, armed in self._armed.items()}
