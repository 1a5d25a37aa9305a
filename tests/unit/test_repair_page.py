"""What a REST reply says of the window that was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, MINUTE
from ingest.exchanges.adapter import Bad
from ingest.records import Candle, CandleSource, Trade
from ingest.repair.page import Absent, Page, of_candles, of_trades
from ingest.store.window import Window

T = 1_795_262_400_000_000_000
END = T + 10 * MINUTE
BAD = Bad("row of a reply: price", b"{}")


def at(number: int) -> int:
    return T + number * MILLISECOND


def trades(*numbers: int) -> list[Trade]:
    return [Trade(1, at(number), str(number), "buy", "1", "1", END) for number in numbers]


def ids(first: int, last: int, from_ns: int = T, to_ns: int = END) -> Window:
    return Window(1, "trades", from_ns, to_ns, first, last)


def test_a_reply_that_holds_the_window_answers_for_all_of_it() -> None:
    assert of_trades(ids(5, 7), trades(5, 6, 7), []) == Page(trades(5, 6, 7))


def test_rows_beside_the_window_are_left_alone() -> None:
    assert of_trades(ids(5, 6), trades(4, 5, 6, 7, 8), []) == Page(trades(5, 6))


def test_what_an_empty_reply_does_not_answer_for_is_all() -> None:
    assert of_trades(ids(5, 7), [], []) == Page([], rest=ids(5, 7))


def test_a_short_reply_leaves_a_rest_that_starts_behind_it() -> None:
    assert of_trades(ids(5, 9), trades(5, 6), []) == Page(trades(5, 6), rest=ids(7, 9, from_ns=at(6)))


def test_what_precedes_the_first_row_is_forgotten() -> None:
    absent = (Absent(ids(5, 7, to_ns=at(8)), "forgotten"),)
    assert of_trades(ids(5, 9), trades(8, 9), []) == Page(trades(8, 9), absent)


def test_what_is_forgotten_reaches_beyond_the_window() -> None:
    absent = (Absent(ids(5, 99, to_ns=at(100)), "forgotten"),)
    assert of_trades(ids(5, 9), trades(100, 101), []) == Page([], absent)


def test_what_is_skipped_lies_between_its_neighbours() -> None:
    absent = (
        Absent(ids(6, 7, from_ns=at(5), to_ns=at(8)), "skipped"),
        Absent(ids(9, 9, from_ns=at(8), to_ns=at(12)), "skipped"),
    )
    assert of_trades(ids(5, 9), trades(5, 8, 12), []) == Page(trades(5, 8), absent)


def test_what_is_skipped_before_a_rest() -> None:
    absent = (Absent(ids(6, 6, from_ns=at(5), to_ns=at(7)), "skipped"),)
    assert of_trades(ids(5, 9), trades(5, 7), []) == Page(trades(5, 7), absent, ids(8, 9, from_ns=at(7)))


def test_a_row_that_cannot_be_read_is_the_one_that_is_missing() -> None:
    absent = (Absent(ids(6, 6, from_ns=at(5), to_ns=at(7)), "unreadable"),)
    assert of_trades(ids(5, 7), trades(5, 7), [BAD]) == Page(trades(5, 7), absent)


def test_unreadable_rows_at_the_end_are_not_taken_for_a_history_that_trails() -> None:
    absent = (Absent(ids(6, 7, from_ns=at(5)), "unreadable"),)
    assert of_trades(ids(5, 9), trades(5), [BAD, BAD]) == Page(trades(5), absent, ids(8, 9))


def test_a_reply_of_nothing_but_unreadable_rows() -> None:
    assert of_trades(ids(5, 5), [], [BAD]) == Page([], (Absent(ids(5, 5), "unreadable"),))


def test_one_unreadable_row_does_not_hide_that_more_is_forgotten() -> None:
    absent = (
        Absent(ids(5, 7, to_ns=at(8)), "forgotten"),
        Absent(ids(9, 9, from_ns=at(8), to_ns=at(10)), "unreadable"),
    )
    assert of_trades(ids(5, 10), trades(8, 10), [BAD]) == Page(trades(8, 10), absent)


@given(st.integers(0, 30), st.integers(0, 30), st.sets(st.integers(0, 40)), st.integers(0, 3))
def test_every_id_of_the_window_is_stored_or_absent_or_left(first: int, size: int, seen: set[int], bad: int) -> None:
    window = ids(first, first + size)
    page = of_trades(window, trades(*sorted(seen)), [BAD] * bad)
    places = [int(row.trade_id) for row in page.rows if isinstance(row, Trade)]
    for absent in page.absent:
        places += range(absent.window.first, min(absent.window.last, window.last) + 1)
        assert not seen.intersection(range(absent.window.first, absent.window.last + 1))
    if page.rest is not None:
        assert page.rest.last == window.last
        assert not any(number >= page.rest.first for number in seen)
        places += range(page.rest.first, window.last + 1)
    assert sorted(places) == list(range(first, first + size + 1))


def candles(*minutes: int) -> list[Candle]:
    prices = ("1", "1", "1", "1", "1")
    return [Candle(1, T + m * MINUTE, *prices, None, None, None, None, CandleSource.REST, END) for m in minutes]


def minutes(first: int, last: int) -> Window:
    return Window(1, "candles", T + first * MINUTE, T + last * MINUTE)


def test_minutes_without_trades_are_no_gap_when_a_later_one_is_there() -> None:
    page = of_candles(minutes(0, 5), candles(0, 3, 7), [], as_of_ns=T + 20 * MINUTE)
    assert page == Page(candles(0, 3))


def test_minutes_that_a_reply_begins_behind_may_be_forgotten() -> None:
    page = of_candles(minutes(0, 5), candles(2, 3, 7), [], as_of_ns=T + 20 * MINUTE)
    assert page == Page(candles(2, 3), (Absent(minutes(0, 1), "forgotten"),))
    page = of_candles(minutes(0, 5), candles(7), [], as_of_ns=T + 20 * MINUTE)
    assert page == Page([], (Absent(minutes(0, 5), "forgotten"),))


def test_candles_that_do_not_reach_the_end_leave_a_rest() -> None:
    page = of_candles(minutes(0, 5), candles(0, 1, 2), [], as_of_ns=T + 20 * MINUTE)
    assert page == Page(candles(0, 1, 2), rest=minutes(3, 5))


def test_a_minute_that_is_not_over_is_waited_for() -> None:
    page = of_candles(minutes(0, 3), candles(0, 1, 2, 3), [], as_of_ns=T + 3 * MINUTE + MINUTE // 2)
    assert page == Page(candles(0, 1, 2), rest=minutes(3, 3), open_seconds=30.0)


def test_an_open_minute_shows_that_the_ones_before_it_had_no_trades() -> None:
    page = of_candles(minutes(0, 3), candles(0, 4), [], as_of_ns=T + 4 * MINUTE)
    assert page == Page(candles(0))


def test_with_an_unreadable_row_every_absent_minute_is_in_doubt() -> None:
    page = of_candles(minutes(0, 4), candles(0, 2, 4), [BAD], as_of_ns=T + 20 * MINUTE)
    assert page == Page(candles(0, 2, 4), (Absent(minutes(1, 1), "unreadable"), Absent(minutes(3, 3), "unreadable")))
