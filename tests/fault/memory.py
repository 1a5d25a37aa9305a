"""The daemon's resident memory, life by life, and how it grows."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

EVERY_SECONDS = 5.0
WARM_UP_SECONDS = 45.0
LEAST_SAMPLES = 12
MIB = 1024 * 1024

Samples = list[tuple[float, float]]
"""(seconds, MiB)"""


class Memory:
    """`look` as often as you like: a sample is taken every five seconds of a process's life."""

    def __init__(self) -> None:
        self._lives: dict[int, Samples] = {}

    def look(self, pid: int, now: float) -> None:
        life = self._lives.setdefault(pid, [])
        if life and now < life[-1][0] + EVERY_SECONDS:
            return
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            return
        life.append((now, pages * os.sysconf("SC_PAGE_SIZE") / MIB))

    def told(self) -> Iterator[str]:
        """A line for each life that was long enough after its warm-up, and one of the highest."""
        for number, warm in self._warm():
            seconds = warm[-1][0] - warm[0][0]
            yield (
                f"memory of life {number}: {slope(warm):+.2f} MiB a minute over {seconds:.0f} s after warm-up, "
                f"{warm[0][1]:.0f} to {warm[-1][1]:.0f} MiB"
            )
        highest = max((mib for life in self._lives.values() for _, mib in life), default=0.0)
        yield f"memory: {highest:.0f} MiB at most, in {len(self._lives)} lives"

    def slopes(self) -> list[float]:
        """MiB a minute, of each life that was long enough."""
        return [slope(warm) for _, warm in self._warm()]

    def _warm(self) -> Iterator[tuple[int, Samples]]:
        for number, life in enumerate(self._lives.values(), start=1):
            warm = [(at, mib) for at, mib in life if at >= life[0][0] + WARM_UP_SECONDS]
            if len(warm) >= LEAST_SAMPLES:
                yield number, warm


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """MiB a minute, by least squares."""
    mean_at = sum(at for at, _ in samples) / len(samples)
    mean_mib = sum(mib for _, mib in samples) / len(samples)
    spread = sum((at - mean_at) ** 2 for at, _ in samples)
    return sum((at - mean_at) * (mib - mean_mib) for at, mib in samples) / spread * 60
