"""Missing parts of a range, cut into as few windows as can be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.backfill.cuts import candles, cut_of, size, trades
from ingest.clock import MICROSECOND, MINUTE
from ingest.store.window import Range, Window

HOUR = 60 * MINUTE
WEEK = 7 * 24 * HOUR
MONDAY = 4 * 24 * HOUR


def minutes(*parts: tuple[int, int], page: int = 10) -> list[tuple[int, int]]:
    """Windows as first and last minute, of parts that end before their second one."""
    asked = Range(1, "candles", 0, 10**18)
    found = candles(asked, [(start * MINUTE, end * MINUTE) for start, end in parts], page)
    return [(window.first // MINUTE, window.last // MINUTE) for window in found]


def test_a_part_is_cut_by_the_page() -> None:
    assert minutes((0, 25)) == [(0, 9), (10, 19), (20, 24)]
    assert minutes() == []


def test_parts_that_lie_near_share_a_window() -> None:
    assert minutes((0, 2), (5, 6), (9, 12), (30, 31)) == [(0, 9), (10, 11), (30, 30)]


def test_candles_that_only_begin_or_end_in_a_part_do_not_open_in_it() -> None:
    asked = Range(1, "candles", 0, 10**18)
    (window,) = candles(asked, [(MINUTE - 1_000, 3 * MINUTE + 1)], 10)
    assert (window.first, window.last) == (MINUTE, 3 * MINUTE)
    assert list(candles(asked, [(MINUTE + 1_000, 2 * MINUTE)], 10)) == []


def test_weeks_open_on_monday() -> None:
    asked = Range(1, "candles", 0, 10**18, "1w")
    (window,) = candles(asked, [(MONDAY - HOUR, MONDAY + 2 * WEEK)], 10)
    assert window == Window(1, "candles", MONDAY, MONDAY + WEEK, timeframe="1w")
    assert size(window) == 2


def test_trades_go_whole_where_ids_are_to_be_found_and_by_the_hour_elsewhere() -> None:
    asked = Range(1, "trades", 0, 10**18)
    parts = [(0, 2 * HOUR), (3 * HOUR, 3 * HOUR + MINUTE)]
    assert list(trades(asked, parts, by_id=True)) == [
        Window(1, "trades", 0, 2 * HOUR - MICROSECOND),
        Window(1, "trades", 3 * HOUR, 3 * HOUR + MINUTE - MICROSECOND),
    ]
    assert [(w.first, w.last + MICROSECOND) for w in cut_of(asked, 1000, by_id=False)(parts)] == [
        (0, HOUR),
        (HOUR, 2 * HOUR),
        (3 * HOUR, 3 * HOUR + MINUTE),
    ]


def test_a_long_range_is_cut_lazily() -> None:
    asked = Range(1, "candles", 0, 10**18)
    found = iter(candles(asked, [(0, 10**9 * MINUTE)], 1000))
    assert next(found).last == 999 * MINUTE


@given(st.lists(st.integers(0, 200), unique=True).map(sorted), st.integers(1, 30))
def test_windows_hold_every_part_none_is_longer_than_a_page_and_none_could_be_spared(
    missing: list[int], page: int
) -> None:
    found = minutes(*((minute, minute + 1) for minute in missing), page=page)
    assert all(any(first <= minute <= last for first, last in found) for minute in missing)
    assert all(first in missing and last in missing and last - first < page for first, last in found)
    assert all(later[0] - first >= page for (first, _), later in pairwise(found))
