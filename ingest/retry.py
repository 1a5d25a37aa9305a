"""When to try again: every policy of the program, in one place. All have a cap and jitter."""

import random
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from ingest.errors import IngestError, Retryable

BLOCKED_RETRY_SECONDS = 900.0


class Backoff:
    """Delays for a session that never gives up: doubling, capped, with full jitter below the upper half.

    The caller resets it at the first good message, not when the socket opens: a venue that accepts and drops
    connections must still be approached more and more slowly.
    """

    def __init__(
        self, *, first_seconds: float = 0.5, cap_seconds: float = 60.0, jitter: Callable[[], float] = random.random
    ) -> None:
        self._first = first_seconds
        self._cap = cap_seconds
        self._jitter = jitter
        self.attempts = 0

    def next_seconds(self) -> float:
        """The delay before the next attempt, between half of the current step and the whole of it."""
        step = min(self._cap, self._first * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return step * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        self.attempts = 0


class _RetryAfter(wait_base):
    """Honour the server's `Retry-After` where it gave one, else the usual curve."""

    def __init__(self, otherwise: wait_base) -> None:
        self._otherwise = otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, Retryable) and error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return self._otherwise(retry_state)


def rest_calls(attempts: int = 5) -> AsyncRetrying:
    """REST calls to a venue: a few attempts, then the caller decides."""
    return AsyncRetrying(
        retry=retry_if_exception_type(Retryable),
        wait=_RetryAfter(wait_random_exponential(multiplier=0.5, max=30)),
        stop=stop_after_attempt(attempts),
        reraise=True,
    )


def database(before_sleep: Callable[[RetryCallState], None]) -> AsyncRetrying:
    """Delivery to the database: for ever, at most 10 s apart. Whoever waits for it sets the deadline."""
    return AsyncRetrying(
        retry=retry_if_exception_type(IngestError),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        before_sleep=before_sleep,
        reraise=True,
    )
