"""What the chaos does beside the venue's own random faults, and when: a plan drawn from a seed. Pure."""

import random
from typing import Literal

from msgspec import Struct

Act = Literal[
    "kill the daemon", "start the daemon", "stop the daemon", "database away", "database back", "kill the database",
    "start the database", "cut the line to the database", "stall the line to the database", "mute the database",
    "let the line flow", "cut the venue's line", "fill the spool",
]  # fmt: skip

_FIVE_MINUTES = 300.0
_OUTAGE_SECONDS = 30.0
_LONG_LIFE_SHARE = 0.55
"""From here on the daemon is left alive, so that its memory can be watched."""


class Entry(Struct, frozen=True, order=True):
    """`number` tells entries of one moment apart, and is a source of chance for the act."""

    at_seconds: float
    number: int
    act: Act


def plan(seed: int, minutes: float) -> list[Entry]:
    """In order of time; what is taken away is given back. For each five minutes, and one of each at least: 10 kills and
    2 stops of the daemon, 20 cuts of the venue's line, 2 outages of the database of 30 s and a spool that runs full in
    the last one, 2 kills of the server, lines cut, stalled and mute.
    """
    rng = random.Random(f"{seed}:timeline")  # noqa: S311 - a schedule, not a secret
    length = minutes * 60
    found: list[tuple[float, Act]] = []

    def times(each_five: float, until_share: float = 1.0) -> list[float]:
        count = max(1, round(each_five * length / _FIVE_MINUTES))
        # One in each part of the time, so that no long part is without.
        part = length * until_share / count
        return [part * (index + rng.random()) for index in range(count)]

    ends: list[tuple[float, Act]] = [(at, "kill the daemon") for at in times(10, _LONG_LIFE_SHARE)]
    ends += [(at, "stop the daemon") for at in times(2, _LONG_LIFE_SHARE)]
    for at, act in ends:
        found += [(at, act), (at + rng.uniform(0, 4), "start the daemon")]
    found += [(at, "cut the venue's line") for at in times(20)]
    outages = times(2, max(1 - _OUTAGE_SECONDS / length, 0.1))
    for at in outages:
        found += [(at, "database away"), (at + min(_OUTAGE_SECONDS, length / 4), "database back")]
    found.append((outages[-1] + 1, "fill the spool"))
    for at in times(2):
        found += [(at, "kill the database"), (at + rng.uniform(0, 4), "start the database")]
    found += [(at, "cut the line to the database") for at in times(6)]
    for at in times(4):
        found.append((at, "stall the line to the database" if rng.random() < 0.5 else "mute the database"))
        found.append((at + rng.uniform(1, 5), "let the line flow"))
    return [Entry(at, number, act) for number, (at, act) in enumerate(sorted(found))]
