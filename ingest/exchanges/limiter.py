"""How much may be asked of a venue: a bucket of weight that refills steadily. `delay_seconds` is pure."""

import asyncio

from ingest import clock
from ingest.clock import SECOND

SHARE = 0.8
"""Of the venue's limit: other programs behind the same address need some."""


class Limiter:
    """Weight a minute, of which `burst` may be used at once; where none is given, a sixth of what a minute allows."""

    def __init__(self, weight_per_minute: float, burst: float | None = None) -> None:
        self._per_second = weight_per_minute * SHARE / 60
        self._capacity = max(weight_per_minute * SHARE / 6 if burst is None else burst, 1.0)
        self._level = self._capacity
        self._at_ns = 0
        self._held_until_ns = 0

    @classmethod
    def in_windows(cls, most: int, seconds: float) -> "Limiter":
        """At most so many in any window of so many seconds, wherever it begins: a burst and what refills it."""
        return cls(most * 60 / seconds, min(most * (1 - SHARE), most * SHARE * 10 / seconds))

    def delay_seconds(self, weight: int, now_ns: int, *, keep: float = 0.0) -> float:
        """0.0 when the weight was taken; else how long to wait before asking again (nothing was taken).

        `keep` is the share of the bucket that must be left: who waits for it lets others go first.
        """
        if now_ns < self._held_until_ns:
            return (self._held_until_ns - now_ns) / SECOND
        elapsed = max(0, now_ns - self._at_ns) / SECOND if self._at_ns else 0.0
        self._level = min(self._capacity, self._level + elapsed * self._per_second)
        self._at_ns = now_ns
        needed = min(weight + keep * self._capacity, self._capacity)  # one heavier than the bucket waits for a full one
        if self._level >= needed:
            self._level -= min(float(weight), self._capacity)
            return 0.0
        return max((needed - self._level) / self._per_second, 0.001)

    async def take(self, weight: int, *, keep: float = 0.0) -> None:
        """Wait until the weight may be used, and take it."""
        delay = self.delay_seconds(weight, clock.monotonic_ns(), keep=keep)
        while delay:
            await asyncio.sleep(delay)
            delay = self.delay_seconds(weight, clock.monotonic_ns(), keep=keep)

    def free(self, now_ns: int) -> float:
        """The share of the bucket that may be used at once."""
        if now_ns < self._held_until_ns:
            return 0.0
        self.delay_seconds(0, now_ns)
        return self._level / self._capacity

    def hold_until(self, time_ns: int) -> None:
        """The venue said when it will answer again."""
        self._held_until_ns = max(self._held_until_ns, time_ns)
