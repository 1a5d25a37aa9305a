"""The ids of a range of time, found by asking history by id alone."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ingest.repair.locate import Found, locate

FAR = 10_000


def find(times: Sequence[int], from_ns: int, to_ns: int, *, page: int = 3, missing: frozenset[int] = frozenset(),
         first_id: int = 1, shown: int | None = None) -> tuple[Found, int]:  # fmt: skip
    """What is found where trade `first_id + n` happened at `times[n]`, and how many calls it took."""
    trades = [(number, at_ns) for number, at_ns in enumerate(times, first_id) if number not in missing]
    calls = 0

    async def ask(start: int) -> Sequence[tuple[int, int]]:
        nonlocal calls
        calls += 1
        return [trade for trade in trades[: shown or None] if trade[0] >= start][:page]

    return asyncio.run(locate(from_ns, to_ns, first_id + len(times) - 1, ask)), calls


def test_a_range_in_the_middle() -> None:
    assert find([10, 20, 20, 30, 40], 20, 30)[0] == Found(2, 4, None, followed=True)


def test_a_range_between_two_trades_holds_none() -> None:
    found, _ = find([10, 20, 50, 60], 21, 49)
    assert (found.last, found.first, found.followed) == (2, 3, True)


def test_a_range_that_nothing_follows() -> None:
    assert find([10, 20, 30], 20, 99)[0] == Found(2, 3, None, followed=False)
    assert find([10, 20, 30], 40, 99)[0] == Found(4, 3, None, followed=False)


def test_history_that_begins_within_the_range_and_behind_it() -> None:
    gone = frozenset(range(100, 104))
    times = [number * 10 for number in range(10)]
    assert find(times, 20, 60, first_id=100, missing=gone)[0] == Found(104, 106, 40, followed=True)
    assert find(times, 20, 30, first_id=100, missing=gone)[0].begins_ns == 40
    assert find(times, 40, 60, first_id=100, missing=gone)[0] == Found(104, 106, None, followed=True)


def test_the_first_trade_of_all_is_a_beginning_that_is_not_forgotten() -> None:
    assert find([10, 20], 0, 15)[0] == Found(1, 1, None, followed=True)


def test_ids_that_history_passes_over_at_an_edge_count_as_within() -> None:
    times = [number * 10 for number in range(1, 11)]
    assert find(times, 45, 75, missing=frozenset({4, 5, 8}))[0] == Found(4, 8, None, followed=True)


def test_a_market_without_a_trade_and_a_history_without_one() -> None:
    assert find([], 10, 20, first_id=0)[0] == Found(0, -1, None, followed=False)
    assert find([10, 20], 0, 15, missing=frozenset({1, 2}))[0] == Found(0, 2, 16, followed=False)


def test_history_that_trails_leaves_what_it_does_not_show_in_the_range() -> None:
    assert find([10, 20, 30, 40, 50], 20, 35, shown=3)[0] == Found(2, 5, None, followed=False)


def test_history_that_shows_nothing_of_what_it_has_forgotten() -> None:
    """Pages that end where they are asked to hold no later trade in place of those that are gone."""

    async def ask(start: int) -> Sequence[tuple[int, int]]:
        return [(number, number * 10) for number in range(start, min(start + 100, 10_001)) if number >= 7_000]

    assert asyncio.run(locate(80_000, 90_000, 10_000, ask)) == Found(8_000, 9_000, None, followed=True)
    assert asyncio.run(locate(60_000, 90_000, 10_000, ask)) == Found(7_000, 9_000, 70_000, followed=True)
    assert asyncio.run(locate(10_000, 20_000, 10_000, ask)).begins_ns == 70_000


def test_billions_of_trades_take_few_calls() -> None:
    calls = 0

    async def ask(start: int) -> Sequence[tuple[int, int]]:
        nonlocal calls
        calls += 1
        return [(number, number * 7) for number in range(start, min(start + 1000, 5_000_000_000))]

    found = asyncio.run(locate(7_000_000_000, 7_000_700_000, 4_999_999_999, ask))
    assert found == Found(1_000_000_000, 1_000_100_000, None, followed=True)
    assert calls < 60


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=40).map(sorted),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 7),
)
def test_it_is_what_a_look_at_all_of_them_gives(times: list[int], one: int, other: int, page: int) -> None:
    from_ns, to_ns = sorted((one, other))
    found, _ = find(times, from_ns, to_ns, page=page)
    within = [number for number, at_ns in enumerate(times, 1) if from_ns <= at_ns <= to_ns]
    assert list(range(found.first, found.last + 1)) == within
    assert found.followed == (times[-1] > to_ns)
    assert found.begins_ns is None
