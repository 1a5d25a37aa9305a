"""A range is cut into windows that cover exactly it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import MICROSECOND, MINUTE
from ingest.exchanges.adapter import Limits
from ingest.repair.windows import by_time, plan
from ingest.store.window import Window

LIMITS = Limits(1, 1, 1, 1, 1, 1, trades_page=1000, candles_page=500)
T = 1_795_262_400_000_000_000


@given(first=st.integers(0, 2**62), count=st.integers(0, 5_000), page=st.integers(1, 1_000))
def test_windows_of_ids_cover_the_range_once(first: int, count: int, page: int) -> None:
    span = Window(1, "trades", T, T + MINUTE, first, first + count - 1)
    windows = plan(span, Limits(1, 1, 1, 1, 1, 1, trades_page=page))
    covered = [number for w in windows for number in range(w.first, w.last + 1)]
    assert covered == list(range(first, first + count))
    assert all(w.last - w.first < page for w in windows)
    assert {(w.instrument_id, w.channel, w.from_ns, w.to_ns) for w in windows} <= {(1, "trades", T, T + MINUTE)}


@given(
    first=st.integers(20_000_000, 40_000_000),
    count=st.integers(0, 5_000),
    page=st.integers(1, 1_500),
    into_first=st.integers(0, MINUTE - 1),
    into_last=st.integers(0, MINUTE - 1),
)
def test_windows_of_candles_cover_every_minute_once(
    first: int, count: int, page: int, into_first: int, into_last: int
) -> None:
    span = Window(1, "candles", first * MINUTE + into_first, (first + count - 1) * MINUTE + into_last)
    windows = plan(span, Limits(1, 1, 1, 1, 1, 1, candles_page=page))
    covered = [ns for w in windows for ns in range(w.first, w.last + 1, MINUTE)]
    assert covered == [(first + number) * MINUTE for number in range(count)]
    assert all((w.last - w.first) // MINUTE < page for w in windows)


@given(length=st.integers(0, 10_000_000), step=st.integers(1, 3_000_000))
def test_windows_of_time_touch_and_never_overlap(length: int, step: int) -> None:
    span = Window(2, "trades", T, T + length * MICROSECOND)
    windows = list(by_time(span, max(step, length // 50 + 1) * MICROSECOND))
    assert (windows[0].from_ns, windows[-1].to_ns) == (span.from_ns, span.to_ns)
    for before, after in pairwise(windows):
        assert before.last + MICROSECOND == after.first
    assert all(w.first <= w.last for w in windows)


def test_a_range_of_ids_is_cut_by_the_venues_page() -> None:
    span = Window(1, "trades", T, T + MINUTE, 100, 2_350)
    assert [(w.from_id, w.to_id) for w in plan(span, LIMITS)] == [(100, 1_099), (1_100, 2_099), (2_100, 2_350)]


def test_trades_without_ids_go_by_the_hour() -> None:
    span = Window(1, "trades", T, T + 90 * MINUTE)
    assert plan(span, LIMITS) == [
        Window(1, "trades", T, T + 60 * MINUTE - MICROSECOND),
        Window(1, "trades", T + 60 * MINUTE, T + 90 * MINUTE),
    ]


def test_a_range_that_ends_before_it_starts_has_no_windows() -> None:
    assert plan(Window(1, "trades", T, T, 8, 7), LIMITS) == []
    assert plan(Window(1, "candles", T, T - MINUTE), LIMITS) == []


@given(st.data(), st.sampled_from(["ids", "minutes", "times"]))
def test_a_part_splits_a_window_into_what_is_before_and_after_it(data: st.DataObject, kind: str) -> None:
    step = {"ids": 1, "minutes": MINUTE, "times": MICROSECOND}[kind]
    places = [
        T // MINUTE * MINUTE + step * number for number in sorted(data.draw(st.tuples(*[st.integers(0, 50)] * 4)))
    ]

    def window(first: int, last: int) -> Window:
        if kind == "ids":
            return Window(1, "trades", T, T + MINUTE, first, last)
        return Window(1, "candles" if kind == "minutes" else "trades", first, last)

    whole, part = window(places[0], places[3]), window(places[1], places[2])
    before, after = whole.before(part), whole.after(part)
    covered = [
        place for w in (before, part, after) if w is not None for place in range(w.first, w.last + 1, whole.step)
    ]
    assert covered == list(range(whole.first, whole.last + 1, whole.step))
    assert part.within(whole) == part
    wide = window(places[0] - step, places[2])
    cut = wide.within(whole)
    assert cut is not None
    assert (cut.first, cut.last) == (places[0], places[2])
    assert window(places[3] + step, places[3] + 2 * step).within(whole) is None
