"""Binance's limits on a client, as small counters that are given the time."""

from collections import deque
from typing import Final

from msgspec import Struct

MINUTE_US: Final = 60_000_000
SECOND_US: Final = 1_000_000


class Limits(Struct, frozen=True, kw_only=True):
    """https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (limits) and …/rest-api/limits."""

    weight_per_minute: int = 6_000
    streams_per_connection: int = 1_024
    messages_per_second: int = 5
    connections_per_5_minutes: int = 300
    connection_lifetime_seconds: float = 86_400.0
    shutdown_notice_seconds: float = 10.0
    ping_seconds: float = 20.0
    pong_seconds: float = 60.0
    buffer_max_bytes: int = 64 * 1024 * 1024


class Weights:
    """Weight used in the running minute. Every client of the simulator comes from one address."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = 0
        self.used = 0

    def spend(self, weight: int, now_us: int) -> int | None:
        """Count a request. Returns None when it may run, else the seconds until the next minute."""
        minute = now_us // MINUTE_US
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += weight
        if self.used <= self._per_minute:
            return None
        return -(-(MINUTE_US - now_us % MINUTE_US) // SECOND_US)


class Pace:
    """At most `count` events in any window."""

    def __init__(self, count: int, window_us: int) -> None:
        self._count = count
        self._window_us = window_us
        self._seen: deque[int] = deque()

    def allow(self, now_us: int) -> bool:
        seen = self._seen
        while seen and seen[0] <= now_us - self._window_us:
            seen.popleft()
        seen.append(now_us)
        return len(seen) <= self._count


def depth_weight(limit: int) -> int:
    """What a book snapshot costs, by its number of levels."""
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1_000 else 250
