"""How much may be asked of a venue: a bucket of weight that refills steadily. `delay_seconds` is pure."""

import asyncio

from ingest import clock
from ingest.clock import SECOND

SHARE = 0.8
"""Of the venue's limit: other programs behind the same address need some."""


_ALARM = 0.95
"""Of the venue's limit, by its own count: more than this program would use, so that others must be at it."""


class Limiter:
    """Weight a minute, of which `burst` may be used at once; where none is given, a sixth of what a minute allows.

    Of both `share` is its own, where other processes call the venue, too. Who comes to share begins with an empty
    bucket: what others have used of this minute is not known.
    """

    def __init__(self, weight_per_minute: float, burst: float | None = None, *, share: float = 1.0) -> None:
        self.weight_per_minute = weight_per_minute
        self._burst = weight_per_minute * SHARE / 6 if burst is None else burst
        self._set(share)
        self._level = self._capacity if share == 1.0 else 0.0
        self._at_ns = 0
        self._held_until_ns = 0
        self.taken = 0  # how often something was asked for
        self.waited_seconds = 0.0
        self.refusals = 0  # how often the venue said to wait

    def _set(self, share: float) -> None:
        self.share = share
        self._per_second = self.weight_per_minute * share * SHARE / 60
        self._capacity = max(self._burst * share, 1.0)

    @classmethod
    def in_windows(cls, most: int, seconds: float) -> "Limiter":
        """At most so many in any window of so many seconds, wherever it begins: a burst and what refills it."""
        return cls(most * 60 / seconds, min(most * (1 - SHARE), most * SHARE * 10 / seconds))

    def divide(self, share: float, now_ns: int) -> None:
        """From now on so much of the limit is its own. What is at hand shrinks with it, and does not grow."""
        if share != self.share:
            self.delay_seconds(0, now_ns)
            self._level *= min(1.0, share / self.share)
            self._set(share)

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
            self._level -= weight  # and the next one until it is paid for
            return 0.0
        return max((needed - self._level) / self._per_second, 0.001)

    async def take(self, weight: int, *, keep: float = 0.0) -> None:
        """Wait until the weight may be used, and take it."""
        delay = self.delay_seconds(weight, clock.monotonic_ns(), keep=keep)
        while delay:
            self.waited_seconds += delay
            await asyncio.sleep(delay)
            delay = self.delay_seconds(weight, clock.monotonic_ns(), keep=keep)
        self.taken += 1

    def free(self, now_ns: int) -> float:
        """The share of the bucket that may be used at once."""
        if now_ns < self._held_until_ns:
            return 0.0
        self.delay_seconds(0, now_ns)
        return max(0.0, self._level / self._capacity)

    def counted(self, used: int, second: int, now_ns: int) -> None:
        """The venue's own count of the weight that this address has used in its minute, at a second of that minute.

        Near the limit nothing more is asked for before the next one.
        """
        if used >= _ALARM * self.weight_per_minute:
            self.hold_until(now_ns + (61 - second) * SECOND)

    def hold_until(self, time_ns: int) -> None:
        """The venue said when it will answer again."""
        self.refusals += 1
        self._held_until_ns = max(self._held_until_ns, time_ns)
