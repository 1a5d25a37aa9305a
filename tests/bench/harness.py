"""What all figures share: how one is declared, how two sides are compared, and how much is measured.

A figure is a function in the module of its group, marked with `@GROUP.measures(key, …)`; it yields a `Figure` for
each of its keys. Nothing here fails on a time: a bound is a target that the report compares.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from statistics import median

from msgspec import Struct, field


class Figure(Struct, frozen=True):
    """One number. `note` says what it was made of, in words for the table."""

    key: str
    value: float
    unit: str = "×"
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no target."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        bounds = (("≥", self.at_least), ("≤", self.at_most))
        return ", ".join(f"{sign} {number(bound)}" for sign, bound in bounds if bound is not None)


class Scale(Struct, frozen=True):
    """How much is measured: by default what the figures are stated for; a test of the benchmarks takes less."""

    pairs: int = 9  # of whole loads: the median must not be a noisy machine's
    rows: int = 2_000_000
    slow_rows: int = 400_000  # a side and pair, where a side takes minutes otherwise: 2 million over five pairs
    import_rows: int = 5_000_000
    import_pairs: int = 5
    run_seconds: float = 60.0
    loop_pairs: int = 25  # of work that takes microseconds: short loops in quick turns
    loop_seconds: float = 0.04


class Bench(Struct):
    """What a measurement may use. `database` makes a migrated database, empty and of its own, and drops it again."""

    database: Callable[[], AbstractContextManager[str]]
    say: Callable[[str], None] = lambda _text: None
    scale: Scale = Scale()


Measure = Callable[[Bench], Iterator[Figure]]


class Measurement(Struct, frozen=True):
    keys: tuple[str, ...]
    run: Measure


class Group(Struct):
    """The measurements of one module, by which `--only` may name them all."""

    name: str
    measurements: list[Measurement] = field(default_factory=list)

    def measures(self, *keys: str) -> Callable[[Measure], Measure]:
        """Declare that a function yields these figures."""

        def declare(run: Measure) -> Measure:
            self.measurements.append(Measurement(keys, run))
            return run

        return declare


def chosen(groups: tuple[Group, ...], only: str | None) -> list[Measurement]:
    """The measurements of the group `only`, or the one that yields the figure `only`; all without it.

    Raises ValueError, naming what there is, for anything else.
    """
    found = [
        measurement
        for group in groups
        for measurement in group.measurements
        if only in (None, group.name, *measurement.keys)
    ]
    if not found:
        names = [group.name for group in groups]
        keys = [key for group in groups for measurement in group.measurements for key in measurement.keys]
        raise ValueError(f"nothing is called {only!r}. Groups: {', '.join(names)}. Figures: {', '.join(keys)}.")
    return found


class Pairs(Struct, frozen=True):
    """Seconds of both sides, pair by pair. Machines drift, so that sides are only compared within a pair."""

    base: list[float]
    other: list[float]

    @property
    def rate(self) -> float:
        """The other side's rate relative to the base: median of the pairs."""
        return median(a / b for a, b in zip(self.base, self.other, strict=True))

    @property
    def cost(self) -> float:
        """The other side's time relative to the base: median of the pairs."""
        return median(b / a for a, b in zip(self.base, self.other, strict=True))

    @property
    def spread(self) -> str:
        """The lowest and the highest rate."""
        rates = [a / b for a, b in zip(self.base, self.other, strict=True)]
        return f"{len(rates)} pairs, {min(rates):.2f} to {max(rates):.2f}"


def alternate(pairs: int, base: Callable[[], float], other: Callable[[], float]) -> Pairs:
    """Run base, other, base, other, …; each returns its own seconds, so that what it prepares is not counted."""
    measured = [(base(), other()) for _ in range(pairs)]
    return Pairs([a for a, _ in measured], [b for _, b in measured])


def repeated(work: Callable[[], object], loop_seconds: float) -> Callable[[], float]:
    """Makes a side of a short piece of work: CPU seconds a call, over calls that together take about `loop_seconds`.

    CPU and not wall time: what else the machine does is not the work's. The collector is off, as in `timeit`: when
    it runs is chance.
    """
    work()
    started = time.process_time()
    work()
    calls = max(1, round(loop_seconds / (time.process_time() - started)))
    gc.freeze()  # what is there by now stays: else each side would look through all of ccxt first

    def side() -> float:
        gc.collect()
        gc.disable()
        try:
            started = time.process_time()
            for _ in range(calls):
                work()
            return (time.process_time() - started) / calls
        finally:
            gc.enable()

    return side


def number(value: float) -> str:
    """Three significant digits at least, thousands parted."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
