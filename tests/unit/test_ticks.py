"""Ticks of the wall clock: each once, in order, whatever the clock does."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, SECOND
from ingest.collect.ticks import Ticks, tick_after

T0 = 1_700_000_000 * SECOND


def seconds(ticks: range) -> list[int]:
    return [(tick - T0) // SECOND for tick in ticks]


def test_the_first_tick_is_the_one_before_now_and_then_each_follows() -> None:
    ticks = Ticks(SECOND)
    assert seconds(ticks.due(T0 + 1)) == [0]
    assert seconds(ticks.due(T0 + SECOND - 1)) == []
    assert ticks.next_ns == T0 + SECOND
    assert seconds(ticks.due(T0 + 3 * SECOND)) == [1, 2, 3]


def test_ticks_lie_on_the_wall_clocks_grid() -> None:
    ticks = Ticks(250 * MILLISECOND)
    assert [tick % (250 * MILLISECOND) for tick in ticks.due(T0 + 37)] == [0]
    assert [tick - T0 for tick in ticks.due(T0 + 600 * MILLISECOND)] == [250 * MILLISECOND, 500 * MILLISECOND]


def test_a_long_pause_is_made_up_for_by_sixty_ticks() -> None:
    ticks = Ticks(SECOND)
    ticks.due(T0)
    assert seconds(ticks.due(T0 + 500 * SECOND)) == [*range(440, 501)]


def test_a_pause_may_be_passed_over() -> None:
    ticks = Ticks(SECOND)
    ticks.due(T0)
    assert seconds(ticks.due(T0 + 5 * SECOND, latest_only=True)) == [5]
    assert seconds(ticks.due(T0 + 5 * SECOND + 9, latest_only=True)) == []


def test_a_clock_that_is_set_back_names_no_tick_again() -> None:
    ticks = Ticks(SECOND)
    ticks.due(T0 + 9 * SECOND)
    named = [seconds(ticks.due(T0 + at * SECOND)) for at in (8, 7, 8, 9, 10)]
    assert named == [[], [], [], [], [10]]


def test_a_clock_that_was_far_ahead_does_not_stop_the_samples() -> None:
    ticks = Ticks(SECOND)
    ticks.due(T0 + 86_400 * SECOND)
    assert [seconds(ticks.due(T0 + at * SECOND)) for at in (5, 6)] == [[5], [6]]


@given(st.lists(st.integers(-5_000, 20_000), max_size=60), st.integers(1, 1_000), st.booleans())
def test_no_tick_comes_twice(steps: list[int], cadence: int, latest_only: bool) -> None:
    """However the clock goes, as long as it is not set back by more than what is made up for."""
    ticks, named = Ticks(cadence), list[int]()
    highest = 0
    for now in accumulate(steps, initial=T0):
        highest = max(highest, now)
        if highest - now <= 59 * cadence:
            named += ticks.due(now, latest_only=latest_only)
    assert named == sorted(set(named))


def test_tick_after() -> None:
    assert tick_after(T0, SECOND) == 1.0
    assert tick_after(T0 + SECOND - 1, SECOND) == 1e-9
    assert tick_after(T0 + 250 * MILLISECOND, SECOND) == 0.75
