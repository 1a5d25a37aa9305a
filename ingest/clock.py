"""The one place where the program reads the time. Tests pass a `Clock` of their own."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Nanoseconds since the Unix epoch, UTC."""

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND

now_ns: Clock = time.time_ns
monotonic_ns: Clock = time.monotonic_ns  # for intervals: never jumps


def truncate_to_microsecond(time_ns: int) -> int:
    """PostgreSQL keeps microseconds and rounds: 59.9999996 s would become the next minute."""
    return time_ns - time_ns % MICROSECOND
