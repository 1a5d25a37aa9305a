"""When to try again and how much to ask, all by given time."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
import structlog
from tenacity import AsyncRetrying, Future, RetryCallState

from ingest import retry
from ingest.clock import SECOND
from ingest.errors import Blocked, Fatal, Retryable
from ingest.exchanges.limiter import Limiter
from ingest.log import RepeatLimiter
from ingest.retry import Backoff

# Backoff


def test_backoff_doubles_to_its_cap_and_starts_over() -> None:
    backoff = Backoff(first_seconds=0.5, cap_seconds=10, jitter=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.attempts == 7
    backoff.reset()
    assert (backoff.attempts, backoff.next_seconds()) == (0, 0.5)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75), (0.999, 0.9995)])
def test_jitter_is_the_upper_half_of_the_step(jitter: float, share: float) -> None:
    backoff = Backoff(first_seconds=1, cap_seconds=4, jitter=lambda: jitter)
    assert [backoff.next_seconds() for _ in range(4)] == pytest.approx([share, 2 * share, 4 * share, 4 * share])


def test_backoff_never_overflows() -> None:
    backoff = Backoff(cap_seconds=60)
    assert all(0.25 <= backoff.next_seconds() <= 60 for _ in range(5_000))


# Policies


def _state(policy: AsyncRetrying, attempt: int, error: BaseException) -> RetryCallState:
    state = RetryCallState(policy, None, (), {})
    state.attempt_number = attempt
    outcome: Future = Future(attempt)
    outcome.set_exception(error)
    state.outcome = outcome
    return state


def _waits(policy: AsyncRetrying, error: BaseException) -> list[float]:
    return [policy.wait(_state(policy, attempt, error)) for attempt in range(1, 100)]


@pytest.mark.parametrize(
    ("policy", "cap"), [(retry.rest_calls(), 30.0), (retry.database(lambda _: None), 10.0)], ids=["rest", "database"]
)
def test_waits_are_capped_and_jittered(policy: AsyncRetrying, cap: float) -> None:
    waits = _waits(policy, Retryable("away"))
    assert all(0 <= wait <= cap for wait in waits)
    assert len(set(waits[10:])) > 50


def test_the_venues_own_delay_is_honoured() -> None:
    policy = retry.rest_calls()
    assert set(_waits(policy, Retryable("slow down", retry_after_seconds=7.5))) == {7.5}
    assert set(_waits(policy, Blocked("no", retry_after_seconds=900))) == {900}


async def _run(
    policy: AsyncRetrying, work: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(policy, "sleep", sleep)
    async for attempt in policy:
        with attempt:
            return work(), slept
    raise AssertionError("unreachable")


async def test_rest_gives_up_with_the_error_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail() -> str:
        calls.append(1)
        raise Retryable("away")

    with pytest.raises(Retryable, match="away"):
        await _run(retry.rest_calls(attempts=3), fail, monkeypatch)
    assert len(calls) == 3


async def test_the_database_is_tried_for_ever_and_each_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        if len(calls) < 500:
            raise Retryable("away") if len(calls) % 2 else Fatal("a table is missing, until somebody migrates")
        return "written"

    policy = retry.database(lambda state: told.append(state.attempt_number))
    result, slept = await _run(policy, work, monkeypatch)
    assert result == "written"
    assert told == list(range(1, 500))
    assert len(slept) == 499


@pytest.mark.parametrize("error", [ValueError("bug"), asyncio.CancelledError()])
async def test_nothing_else_is_tried_again(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail() -> str:
        calls.append(1)
        raise error

    for policy in (retry.rest_calls(), retry.database(lambda _: None)):
        with pytest.raises(type(error)):
            await _run(policy, fail, monkeypatch)
    assert len(calls) == 2


async def test_a_fatal_answer_of_a_venue_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail() -> str:
        calls.append(1)
        raise Fatal("no")

    with pytest.raises(Fatal):
        await _run(retry.rest_calls(), fail, monkeypatch)
    assert calls == [1]


# Limiter: 6,000 a minute, of which 80 % are ours: 80 a second, bursts of 800

T0 = 1_795_262_400 * SECOND


def test_a_burst_then_a_steady_rate() -> None:
    limiter = Limiter(6_000)
    assert limiter.delay_seconds(800, T0) == 0.0
    assert limiter.delay_seconds(80, T0) == pytest.approx(1.0)
    assert limiter.delay_seconds(80, T0) == pytest.approx(1.0)  # asking takes nothing
    assert limiter.delay_seconds(80, T0 + SECOND // 2) == pytest.approx(0.5)
    assert limiter.delay_seconds(80, T0 + SECOND) == 0.0
    assert limiter.delay_seconds(1, T0 + SECOND) == pytest.approx(1 / 80)


def test_no_more_than_the_share_in_any_minute() -> None:
    limiter, now, taken = Limiter(6_000), T0, []
    while now < T0 + 300 * SECOND:
        delay = limiter.delay_seconds(50, now)
        if delay:
            now += int(delay * SECOND) + 1
        else:
            taken.append(now)
    for start in taken:
        weight = 50 * sum(1 for at in taken if start <= at < start + 60 * SECOND)
        assert weight <= 6_000 * 0.8 + 800
    assert 50 * len(taken) >= 0.99 * 80 * 300


def test_rest_fills_the_bucket_and_no_further() -> None:
    limiter = Limiter(6_000)
    assert limiter.delay_seconds(800, T0) == 0.0
    later = T0 + 3_600 * SECOND
    assert limiter.delay_seconds(800, later) == 0.0
    assert limiter.delay_seconds(1, later) > 0


def test_a_call_heavier_than_the_bucket_waits_for_a_full_one() -> None:
    limiter = Limiter(6_000)
    assert limiter.delay_seconds(5_000, T0) == 0.0
    assert limiter.delay_seconds(5_000, T0) == pytest.approx(62.5)  # what it took beyond the bucket is paid for first
    assert limiter.free(T0) == 0.0
    assert limiter.delay_seconds(5_000, T0 + 62 * SECOND) == pytest.approx(0.5)
    assert limiter.delay_seconds(5_000, T0 + 63 * SECOND) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limiter = Limiter(6_000)
    assert limiter.delay_seconds(800, T0) == 0.0
    assert limiter.delay_seconds(80, T0 - 3_600 * SECOND) == pytest.approx(1.0)


def test_the_venue_says_when() -> None:
    limiter = Limiter(6_000)
    limiter.hold_until(T0 + 30 * SECOND)
    limiter.hold_until(T0 + 10 * SECOND)  # the later one holds
    assert limiter.delay_seconds(1, T0) == pytest.approx(30.0)
    assert limiter.delay_seconds(1, T0 + 29 * SECOND) == pytest.approx(1.0)
    assert limiter.delay_seconds(1, T0 + 30 * SECOND) == 0.0


def taken_in(limiters: list[Limiter], seconds: int, *, joins_at: int = 0) -> list[int]:
    """When a weight of 10 was taken, by whomever: each asks whenever it may. The last one comes at a second, and from a
    second later on all know of it.
    """
    taken = []
    for now in range(T0, T0 + seconds * SECOND, SECOND // 20):
        known = now >= T0 + (joins_at + 1) * SECOND
        for limiter in limiters if now >= T0 + joins_at * SECOND else limiters[:-1]:
            if known:
                limiter.divide(1 / len(limiters), now)
            while not limiter.delay_seconds(10, now):
                taken.append(now)
    return taken


@pytest.mark.parametrize("joins_at", [5, 30, 59, 100])
def test_those_who_share_a_limit_stay_below_it_together(joins_at: int) -> None:
    limiters = [Limiter(6_000), Limiter(6_000, share=0.5)]
    taken = taken_in(limiters, 240, joins_at=joins_at)
    for start in taken[::10]:
        assert 10 * sum(1 for at in taken if start <= at < start + 60 * SECOND) < 6_000 * 0.95
    assert 10 * len(taken) >= 0.95 * 80 * 240


def test_who_is_left_alone_has_the_whole_limit_again() -> None:
    limiter = Limiter(6_000, share=0.5)
    assert limiter.delay_seconds(400, T0) == pytest.approx(10.0)
    limiter.divide(1.0, T0 + 5 * SECOND)
    assert limiter.delay_seconds(800, T0 + 5 * SECOND) == pytest.approx(7.5)


def test_the_venue_s_own_count_stops_it_for_the_rest_of_the_minute() -> None:
    limiter = Limiter(6_000)
    limiter.counted(5_600, 20, T0)
    assert limiter.delay_seconds(1, T0) == 0.0
    limiter.counted(5_700, 20, T0)
    assert limiter.delay_seconds(1, T0) == pytest.approx(41.0)
    assert limiter.delay_seconds(1, T0 + 41 * SECOND) == 0.0


# RepeatLimiter

Event = MutableMapping[str, Any]


class Log:
    """A RepeatLimiter under a clock of its own."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._limiter = RepeatLimiter(clock=lambda: self.now)

    def say(self, event: str, method: str = "warning", **values: object) -> Event | None:
        try:
            return self._limiter(None, method, {"event": event, **values})
        except structlog.DropEvent:
            return None


def test_five_a_minute_then_silence_then_how_many() -> None:
    log = Log()
    said = [log.say("retry", attempt=number) for number in range(8)]
    assert said == [*({"event": "retry", "attempt": number} for number in range(5)), None, None, None]
    log.now += 59.9
    assert log.say("retry") is None
    log.now += 0.1
    assert log.say("retry") == {"event": "retry", "held_back": 4}
    assert [log.say("retry") for _ in range(5)] == [{"event": "retry"}] * 4 + [None]


def test_a_quiet_window_holds_nothing_back() -> None:
    log = Log()
    for _ in range(5):
        log.say("retry")
    log.now += 60
    assert log.say("retry") == {"event": "retry"}


@pytest.mark.parametrize("other", [{"exchange": "kraken"}, {"stream": "x"}, {"symbol": "BTC/USDT"}])
def test_another_subject_is_another_event(other: dict[str, str]) -> None:
    log = Log()
    for _ in range(6):
        log.say("retry")
    assert log.say("retry", **other) == {"event": "retry", **other}
    assert log.say("retry", "error") == {"event": "retry"}
    assert log.say("another") == {"event": "another"}
    assert log.say("retry", detail="no subject") is None


def test_debug_is_never_limited() -> None:
    log = Log()
    assert [log.say("batch", "debug") for _ in range(50)] == [{"event": "batch"}] * 50
