"""Random faults from a seed: a plan on the market's grid of steps, the same whatever clients do.

Nothing of the usual mix leaves trades or closed candles beyond repair by REST.
"""

import random
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta, Struct, field

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
    nearest,
)
from ingest.simulator.limits import MINUTE_US, SECOND_US

Draw = Callable[[random.Random, str], Fault]

WEIGHTS: Final[dict[str, float]] = {
    "drop": 10, "refuse": 4, "unreachable": 1, "repeat": 10, "reorder": 10, "skip": 12, "malformed": 12, "stall": 4,
    "mute": 3, "lapse": 4, "no_ack": 2, "burst": 1, "clock_jump": 2, "rest_error": 6, "rest_silent": 2,
    "rest_truncated": 3, "rest_cut": 3, "rest_malformed": 3, "rest_empty": 2, "stale_depth": 3, "lagging_history": 3,
    "forgotten_history": 0,
}  # fmt: skip
"""How often each kind comes, of their sum."""


class Mix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`per_minute` faults on average. `weights` replace those of the usual mix; 0 leaves a kind out.

    Raises `ValueError` for a kind that there is not, and when nothing is left.
    """

    seed: int
    per_minute: Annotated[float, Meta(gt=0, le=6_000)] = 20.0
    weights: dict[str, Annotated[float, Meta(ge=0)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.weights:
            if kind not in KINDS:
                raise ValueError(f"unknown kind {kind!r}; {nearest(kind, list(KINDS))}")
        if not any((WEIGHTS | self.weights).values()):
            raise ValueError("every kind of fault has weight 0")


class Chaos:
    """The plan of one mix. A fault that nobody has met after a minute is over."""

    def __init__(self, mix: Mix, start_us: int, tick_us: int, natives: tuple[str, ...]) -> None:
        weights = WEIGHTS | mix.weights
        self._seed = mix.seed
        self._kinds = list(KINDS)
        self._weights = [weights[kind] for kind in self._kinds]
        self._natives = natives
        self._tick_us = tick_us
        self._gap_us = MINUTE_US / mix.per_minute
        self._rng = random.Random(f"{mix.seed}:chaos")  # noqa: S311 - a market, not a secret
        self._next_us = start_us
        self._wait()

    def due(self, now_us: int) -> list[tuple[Fault, random.Random]]:
        """What begins in the step that ends at `now_us`; what would have begun before that step is drawn and left.

        Each with a generator of its own.
        """
        found = []
        while self._next_us <= now_us:
            fault = self._draw(self._next_us)
            if self._next_us > now_us - self._tick_us:
                found.append((fault, random.Random(f"{self._seed}:chaos:{self._next_us}")))  # noqa: S311 - no secret
            self._wait()
        return found

    def _wait(self) -> None:
        self._next_us += max(int(self._rng.expovariate(1 / self._gap_us)), 1)

    def _draw(self, at_us: int) -> Fault:
        (kind,) = self._rng.choices(self._kinds, self._weights)
        symbol = self._rng.choice(self._natives)
        if kind == "forgotten_history":
            return ForgottenHistory(symbol=symbol, before_us=at_us - self._rng.randrange(1, 30) * SECOND_US)
        return _DRAWS[kind](self._rng, symbol)


def _drop(rng: random.Random, symbol: str) -> Fault:
    hows = [Drop("close"), Drop("abort"), Drop("half_open"), Drop("mid_frame")]
    (drop,) = rng.choices(hows, (3, 3, 1, 2))
    return Drop(drop.how, symbol=symbol, count=rng.choice((1, 1, 2)), seconds=30.0)


def _refuse(rng: random.Random, _: str) -> Fault:
    return Refuse(rng.choice((0, 503, 503, 429, 418)), seconds=_between(rng, 1, 6))


def _repeat(rng: random.Random, symbol: str) -> Fault:
    return Repeat(rng.randrange(1, 4), rng.choice((0, 0, 200)), symbol=symbol, count=rng.randrange(1, 30), seconds=60.0)


def _reorder(rng: random.Random, symbol: str) -> Fault:
    return Reorder(rng.choice((0, 50, 300, 1_500)), symbol=symbol, count=rng.randrange(1, 20), seconds=60.0)


def _skip(rng: random.Random, symbol: str) -> Fault:
    if rng.random() < 0.5:
        return Skip(symbol=symbol, count=rng.randrange(1, 50), seconds=60.0)
    return Skip(0.01 + rng.random() / 5, symbol=symbol, seconds=_between(rng, 1, 5))


def _malformed(rng: random.Random, symbol: str) -> Fault:
    return Malformed(symbol=symbol, count=rng.randrange(1, 4), seconds=60.0)


def _rest_error(rng: random.Random, _: str) -> Fault:
    return RestError(rng.choice((418, 429, 429, 500, 502, 503)), seconds=_between(rng, 1, 5))


def _clock_jump(rng: random.Random, _: str) -> Fault:
    return ClockJump(rng.choice((-1, 1)) * rng.randrange(100, 20_000), seconds=_between(rng, 2, 15))


def _between(rng: random.Random, least: float, most: float) -> float:
    """Seconds, to the millisecond, so that they read well in the ledger."""
    return round(least + (most - least) * rng.random(), 3)


_DRAWS: Final[dict[str, Draw]] = {
    "drop": _drop,
    "refuse": _refuse,
    "unreachable": lambda rng, _: Unreachable(seconds=_between(rng, 1, 4)),
    "repeat": _repeat,
    "reorder": _reorder,
    "skip": _skip,
    "malformed": _malformed,
    "stall": lambda rng, symbol: Stall(symbol=rng.choice(("", symbol)), seconds=_between(rng, 0.5, 8)),
    "mute": lambda _, symbol: Mute(symbol=symbol, count=1, seconds=60.0),
    "lapse": lambda _, symbol: Lapse(symbol=symbol, count=1, seconds=60.0),
    "no_ack": lambda rng, _: NoAck(rng.random() < 0.5, count=1, seconds=60.0),
    "burst": lambda _, symbol: Burst(symbol=symbol),
    "clock_jump": _clock_jump,
    "rest_error": _rest_error,
    "rest_silent": lambda rng, _: RestSilent(_between(rng, 1, 15), count=1, seconds=60.0),
    "rest_truncated": lambda rng, _: RestTruncated(rng.random(), count=rng.randrange(1, 4), seconds=60.0),
    "rest_cut": lambda rng, _: RestCut(rng.random(), count=rng.randrange(1, 4), seconds=60.0),
    "rest_malformed": lambda rng, _: RestMalformed(count=rng.randrange(1, 3), seconds=60.0),
    "rest_empty": lambda _, __: RestEmpty(count=1, seconds=30.0),
    "stale_depth": lambda rng, symbol: StaleDepth(rng.randrange(10, 2_000), symbol=symbol, count=2, seconds=60.0),
    "lagging_history": lambda rng, symbol: LaggingHistory(
        _between(rng, 0.5, 10), rng.randrange(100), symbol=symbol, seconds=_between(rng, 5, 30)
    ),
}
