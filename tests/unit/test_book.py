"""The book, case by case: what it shows, what it asks for, and when it says that it does not know."""

import pytest
from msgspec import structs

from ingest.collect.book import Book, Need, Side
from ingest.errors import Rejected
from ingest.exchanges.adapter import BookRule, Options
from ingest.exchanges.binance import Binance
from ingest.records import BookDelta, BookState

LIMIT = 1000
Pairs = list[tuple[str, str]]


def book(depth: int = 2) -> Book:
    return Book(1, depth, Binance({}, Options()).follows)


def delta(first: int, last: int, bids: Pairs | None = None, asks: Pairs | None = None) -> BookDelta:
    return BookDelta(1, first, last, None, bids or [], asks or [], last * 1000, last * 1000 + 1)


def state(sequence: int, bids: Pairs, asks: Pairs, limit: int = LIMIT) -> BookState:
    return BookState(1, sequence, bids, asks, limit, sequence * 1000 + 2)


def synced(depth: int = 2, limit: int = LIMIT) -> Book:
    """In sync at 10, with the bids 9 and 8 and the asks 11 and 12."""
    it = book(depth)
    assert it.apply(delta(10, 10)) is Need.RESYNC
    assert it.join(state(10, [("9", "1"), ("8", "1")], [("11", "1"), ("12", "1")], limit)) is Need.NOTHING
    assert it.in_sync
    return it


TOP = ((("9", "1"), ("8", "1")), (("11", "1"), ("12", "1")))


def whole(sequence: int) -> BookState:
    return state(sequence, list(TOP[0]), list(TOP[1]))


# Joining


def test_a_new_book_knows_nothing_and_asks_once() -> None:
    it = book()
    assert (it.known, it.in_sync, it.sequence, it.top()) == (False, False, None, ((), ()))
    assert [it.apply(delta(n, n)) for n in (1, 2, 3)] == [Need.RESYNC, Need.NOTHING, Need.NOTHING]
    assert not it.known


def test_deltas_kept_are_applied_after_the_snapshot() -> None:
    it = book()
    it.apply(delta(9, 10, [("9", "7")]))  # known to the snapshot
    it.apply(delta(11, 12, [("9", "3"), ("8.5", "2")]))  # half of it known to the snapshot
    it.apply(delta(13, 13, [], [("11", "0")]))
    assert it.join(state(11, [("9", "4"), ("8", "1")], [("11", "1"), ("12", "1")])) is Need.NOTHING
    assert it.top() == ((("9", "3"), ("8.5", "2")), (("12", "1"),))
    assert (it.in_sync, it.sequence, it.event_ns, it.received_ns) == (True, 13, 13_000, 13_001)


def test_a_snapshot_newer_than_all_deltas_stands_alone() -> None:
    it = book()
    it.apply(delta(10, 11, [("9", "7")]))
    assert it.join(whole(20)) is Need.NOTHING
    assert (it.top(), it.sequence, it.event_ns, it.received_ns) == (TOP, 20, None, 20_002)
    assert it.apply(delta(12, 20, [("9", "7")])) is Need.NOTHING
    assert it.top() == TOP
    assert it.apply(delta(21, 21, [("9", "7")])) is Need.NOTHING
    assert it.top()[0][0] == ("9", "7")


def test_a_snapshot_older_than_the_first_delta_kept_is_asked_for_again() -> None:
    it = book()
    it.apply(delta(20, 21, [("9", "2")]))
    for _ in range(3):
        assert it.join(whole(18)) is Need.RESYNC
        assert not it.known
    assert it.apply(delta(22, 22, [("8", "2")])) is Need.NOTHING  # asked already
    assert it.join(whole(19)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0]) == (True, 22, (("9", "2"), ("8", "2")))


def test_a_hole_among_the_kept_deltas_asks_again_and_keeps_what_lies_behind_it() -> None:
    it = book()
    for one in (delta(10, 10), delta(11, 11, [("9", "2")]), delta(14, 14, [("9", "3")]), delta(15, 15, [("8", "5")])):
        it.apply(one)
    assert it.join(whole(10)) is Need.RESYNC
    assert (it.in_sync, it.sequence) == (False, 11)
    assert it.join(whole(13)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0]) == (True, 15, (("9", "3"), ("8", "5")))


# Deltas


def test_duplicates_and_old_deltas_change_nothing() -> None:
    it = synced()
    it.apply(delta(11, 12, [("9", "5")]))
    before = it.top(), it.sequence, it.event_ns, it.received_ns
    for again in (delta(11, 12, [("9", "6")]), delta(10, 10, [("9", "0")]), delta(1, 12, [], [("1", "1")])):
        assert it.apply(again) is Need.NOTHING
    assert (it.top(), it.sequence, it.event_ns, it.received_ns) == before
    assert it.in_sync


def test_a_dropped_delta_is_seen_at_the_next_one() -> None:
    it = synced()
    assert it.apply(delta(12, 12, [("9", "5")])) is Need.RESYNC
    assert (it.in_sync, it.sequence, it.top()) == (False, 10, TOP)
    assert it.cause == "sequence 10 is followed by 12 to 12"
    assert it.apply(delta(13, 13, [("8", "6")])) is Need.NOTHING
    assert it.join(whole(11)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0]) == (True, 13, (("9", "5"), ("8", "6")))


def test_reordered_deltas_are_a_break_that_mends() -> None:
    it = synced()
    assert it.apply(delta(12, 12, [("9", "5")])) is Need.RESYNC
    assert it.apply(delta(11, 11, [("9", "4")])) is Need.NOTHING
    assert it.join(state(11, [("9", "4")], [("11", "1")])) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()) == (True, 12, ((("9", "5"),), (("11", "1"),)))


@pytest.mark.parametrize("crossing", [("11", "1"), ("11.0", "1"), ("13", "1")])
def test_a_crossed_book_is_out_of_sync(crossing: tuple[str, str]) -> None:
    it = synced()
    assert it.apply(delta(11, 11, [crossing])) is Need.RESYNC
    assert not it.in_sync
    assert it.cause == f"crossed: bid {crossing[0]} is not below ask 11"
    it = synced()
    assert it.apply(delta(11, 11, [], [("9", "1")])) is Need.RESYNC
    assert it.cause == "crossed: bid 9 is not below ask 9"


def test_removing_what_is_not_there_is_normal() -> None:
    it = synced()
    assert it.apply(delta(11, 11, [("7", "0"), ("10", "0.000")], [("99", "0")])) is Need.NOTHING
    assert (it.in_sync, it.top()) == (True, TOP)


def test_one_sided_and_empty_books() -> None:
    it = synced()
    assert it.apply(delta(11, 11, [], [("11", "0"), ("12", "0")])) is Need.NOTHING
    assert (it.in_sync, it.top()) == (True, (TOP[0], ()))
    assert it.apply(delta(12, 12, [("9", "0"), ("8", "0")])) is Need.NOTHING
    assert (it.in_sync, it.top()) == (True, ((), ()))
    assert it.apply(delta(13, 13, [("100", "1")])) is Need.NOTHING
    assert it.top() == ((("100", "1"),), ())
    empty = book()
    empty.apply(delta(5, 5))
    assert empty.join(state(5, [], [])) is Need.NOTHING
    assert (empty.in_sync, empty.top()) == (True, ((), ()))


def test_prices_are_equal_by_value_and_shown_as_sent() -> None:
    it = book()
    it.apply(delta(1, 1))
    it.join(state(1, [("0.10", "1")], [("0.3", "1")]))
    it.apply(delta(2, 2, [("0.1", "2")]))
    assert it.top()[0] == (("0.1", "2"),)
    it.apply(delta(3, 3, [("0.100", "3"), ("0.2", "1")]))
    assert it.top()[0] == (("0.2", "1"), ("0.100", "3"))
    it.apply(delta(4, 4, [("00.1", "0.00"), ("0.20", "0")]))
    assert it.top()[0] == ()


def test_top_is_sorted_by_value_not_by_text() -> None:
    it = book(depth=3)
    it.apply(delta(1, 1))
    bids = [("9", "1"), ("10", "1"), ("8.99", "1"), ("9.5", "1")]
    it.join(state(1, bids, [("100", "1"), ("20", "1"), ("19.999", "1")]))
    assert [price for price, _ in it.top()[0]] == ["10", "9.5", "9"]
    assert [price for price, _ in it.top()[1]] == ["19.999", "20", "100"]


# Limited depth


def test_what_lies_beyond_a_cut_snapshot_is_not_taken_in() -> None:
    """Bids reach down to 8: between 7.5 and what lies below may be levels that no delta will ever name."""
    it = synced(limit=2)
    need = it.apply(delta(11, 11, [("7.5", "1"), ("8", "2")], [("12.5", "1"), ("11.5", "3")]))
    assert need is Need.SNAPSHOT
    assert it.top() == ((("9", "1"), ("8", "2")), (("11", "1"), ("11.5", "3")))
    it.apply(delta(12, 12, [("9", "0")]))
    assert it.top()[0] == (("8", "2"),)  # fewer, and none of them wrong
    assert it.in_sync


def test_a_snapshot_shorter_than_its_limit_is_the_whole_side() -> None:
    it = synced(limit=3)
    assert it.apply(delta(11, 11, [("7.5", "1"), ("9", "0")])) is Need.NOTHING
    assert it.top()[0] == (("8", "1"), ("7.5", "1"))


def test_a_snapshot_is_asked_for_before_the_top_runs_out_and_once() -> None:
    it = book(depth=2)
    it.apply(delta(1, 1))
    it.join(state(1, [(str(price), "1") for price in range(100, 90, -1)], [("200", "1")], limit=10))
    needs = {}
    for number in range(10):
        needs[number + 1] = it.apply(delta(number + 2, number + 2, [(str(100 - number), "0")]))
        assert it.in_sync
        assert it.top()[0] == tuple((str(price), "1") for price in range(99 - number, max(97 - number, 90), -1))
    assert {removed: need for removed, need in needs.items() if need is not Need.NOTHING} == {7: Need.SNAPSHOT}


def test_a_refresh_keeps_sync_and_loses_nothing() -> None:
    it = synced(limit=2)
    assert it.apply(delta(11, 11, [("9", "2")])) is Need.SNAPSHOT
    assert it.apply(delta(12, 12, [("9", "3")])) is Need.NOTHING
    assert it.apply(delta(13, 14, [("8.5", "4")])) is Need.NOTHING
    assert it.join(state(13, [("9", "3"), ("8.5", "9"), ("8", "1"), ("7", "1")], [("11", "1")])) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.event_ns) == (True, 14, 14_000)
    assert it.top() == ((("9", "3"), ("8.5", "4")), (("11", "1"),))
    assert it.apply(delta(15, 15, [("9", "0"), ("8.5", "0")])) is Need.NOTHING  # deep again
    assert it.top()[0] == (("8", "1"), ("7", "1"))


def test_a_refresh_that_is_too_old_is_asked_for_again_in_sync() -> None:
    it = synced(limit=2)
    it.apply(delta(11, 11, [("9", "2")]))
    it.apply(delta(12, 12, [("9", "3")]))
    assert it.join(whole(9)) is Need.SNAPSHOT
    assert (it.in_sync, it.sequence, it.top()[0][0]) == (True, 12, ("9", "3"))
    assert it.join(state(12, [("9", "3")], [("11", "1")])) is Need.NOTHING
    assert (it.in_sync, it.sequence) == (True, 12)


def test_a_break_during_a_refresh_is_mended_by_the_same_snapshot() -> None:
    it = synced(limit=2)
    assert it.apply(delta(11, 11, [("9", "2")])) is Need.SNAPSHOT
    assert it.apply(delta(13, 13, [("9", "3")])) is Need.NOTHING
    assert not it.in_sync
    assert it.join(whole(12)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0][0]) == (True, 13, ("9", "3"))


def test_a_refresh_older_than_the_book_never_turns_it_back() -> None:
    """REST lags the stream: the reply's sequence may lie before the delta that made the book ask."""
    it = synced(limit=2)
    assert it.apply(delta(11, 12, [("9", "2")])) is Need.SNAPSHOT
    older = state(10, [("9", "1"), ("8", "1"), ("7", "1")], [("11", "1")])
    for _ in range(3):
        assert it.join(older) is Need.SNAPSHOT  # and asks again
        assert (it.in_sync, it.sequence, it.top()[0][0]) == (True, 12, ("9", "2"))
    assert it.apply(delta(13, 13, [("8", "2")])) is Need.NOTHING  # asked already
    assert (it.in_sync, it.sequence) == (True, 13)
    assert it.join(state(13, [("9", "2"), ("8", "2"), ("7", "1"), ("6", "1")], [("11", "1")])) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0]) == (True, 13, (("9", "2"), ("8", "2")))


@pytest.mark.parametrize("again", [(5, 9), (10, 10)])
def test_a_refresh_older_than_the_book_never_turns_it_back_when_a_delta_was_repeated(again: tuple[int, int]) -> None:
    it = synced(limit=2)
    assert it.apply(delta(11, 12, [("9", "2")])) is Need.SNAPSHOT
    assert it.apply(delta(*again)) is Need.NOTHING  # known already
    it.join(state(again[0], [("9", "1"), ("8", "1"), ("7", "1"), ("6", "1")], [("11", "1")]))
    assert it.sequence == 12
    it.apply(delta(13, 13, [("8", "2")]))
    assert it.in_sync


# Desync and waiting


def test_desync_keeps_the_last_state_and_asks_at_the_next_delta() -> None:
    it = synced()
    it.desync("connection lost")
    assert (it.in_sync, it.cause, it.top(), it.sequence) == (False, "connection lost", TOP, 10)
    assert it.apply(delta(11, 11)) is Need.RESYNC  # though it would follow: what lies between is not known
    assert it.join(whole(11)) is Need.NOTHING
    assert it.in_sync


def test_desync_forgets_what_was_kept() -> None:
    it = book()
    it.apply(delta(5, 5, [("9", "5")]))
    it.desync("connection lost")
    assert it.apply(delta(9, 9, [("9", "9")])) is Need.RESYNC
    assert it.join(state(8, [("9", "8")], [])) is Need.NOTHING
    assert it.top()[0] == (("9", "9"),)


def test_a_snapshot_that_comes_after_the_line_broke_does_not_bring_sync() -> None:
    it = book()
    assert it.apply(delta(10, 10)) is Need.RESYNC
    it.desync("connection lost")
    assert it.join(whole(12)) is Need.NOTHING
    assert (it.in_sync, it.known, it.cause) == (False, False, "connection lost")
    assert it.apply(delta(13, 13)) is Need.RESYNC  # as if it had never come


def test_a_snapshot_that_nobody_waits_for_is_not_taken() -> None:
    it = synced()
    later = state(20, [("5", "1")], [("6", "1")])
    assert it.join(later) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()) == (True, 10, TOP)
    assert it.apply(delta(11, 11, [("9", "0")])) is Need.NOTHING
    assert it.sequence == 11
    new = book()
    assert new.join(later) is Need.NOTHING
    assert (new.in_sync, new.known) == (False, False)
    given_up = book()
    given_up.apply(delta(1, 1))
    given_up.give_up_waiting()
    assert given_up.join(later) is Need.NOTHING
    assert not given_up.known


def test_a_snapshot_that_was_said_to_come_is_taken_unasked() -> None:
    """In a recording nobody asks: the one that recorded did."""
    it = book()
    it.expect()
    assert it.join(whole(10)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()) == (True, 10, TOP)


def test_give_up_waiting_asks_again() -> None:
    it = book()
    assert it.apply(delta(1, 1)) is Need.RESYNC
    it.give_up_waiting()
    assert it.apply(delta(3, 3, [("9", "3")])) is Need.RESYNC
    assert it.join(state(2, [("9", "2")], [])) is Need.NOTHING
    assert it.top()[0] == (("9", "3"),)
    shallow = synced(limit=2)
    assert shallow.apply(delta(11, 11)) is Need.SNAPSHOT
    shallow.give_up_waiting()
    assert shallow.in_sync
    assert shallow.apply(delta(12, 12)) is Need.SNAPSHOT


def test_more_deltas_than_can_be_kept_only_cost_another_snapshot() -> None:
    it = book()
    for number in range(1, 10_002):
        it.apply(delta(number, number, [("9", str(number))]))
    assert it.join(whole(0)) is Need.RESYNC
    assert it.join(state(1, [("9", "1")], [])) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0]) == (True, 10_001, (("9", "10001"),))


# Levels that are none

BAD = [("x", "1"), ("9", "x"), ("", "1"), ("9", ""), ("NaN", "1"), ("sNaN", "1"), ("9", "NaN"), ("Infinity", "1"),
       ("9", "-Infinity"), ("-9", "1"), ("0", "1"), ("9", "-1"), ("0", "0"), ("1,5", "1"), (".", "1"), ("1.2.3", "1"),
       ("1e1000000", "1"), ("9", "1e9"), ("9", "1_0"), ("9", " 1")]  # fmt: skip


@pytest.mark.parametrize("level", BAD)
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_bad_level_is_rejected_and_the_book_out_of_sync(level: tuple[str, str], side: str) -> None:
    it = synced()
    bids, asks = ([level], []) if side == "bids" else ([], [level])
    with pytest.raises(Rejected, match=r"^book level: "):
        it.apply(delta(11, 11, bids, asks))
    assert (it.in_sync, it.cause) == (False, "a level is not a number")


def test_a_book_recovers_from_a_bad_level() -> None:
    it = synced()
    with pytest.raises(Rejected):
        it.apply(delta(11, 11, [("x", "1")]))
    assert it.apply(delta(12, 12, [("9", "2")])) is Need.RESYNC  # the exception could not carry the need
    assert it.join(whole(11)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0][0]) == (True, 12, ("9", "2"))


def test_a_bad_snapshot_changes_nothing() -> None:
    it = synced(limit=2)
    assert it.apply(delta(11, 11)) is Need.SNAPSHOT
    for bids, asks in (([("9", "5"), ("x", "1")], [("11", "1")]), ([("9", "5")], [("11", "1"), ("12", "1_0")])):
        with pytest.raises(Rejected, match=r"^book level: "):
            it.join(state(11, bids, asks))
        assert (it.in_sync, it.sequence, it.top()) == (True, 11, TOP)
    assert it.apply(delta(12, 12, [("9", "2")])) is Need.NOTHING  # it still waits
    assert it.join(state(11, [("9", "1"), ("8", "3")], [("11", "1")])) is Need.NOTHING
    assert (it.sequence, it.top()[0]) == (12, (("9", "2"), ("8", "3")))


def test_a_crossed_snapshot_is_not_in_sync() -> None:
    it = book()
    it.apply(delta(1, 1))
    for bid, ask in (("11", "10"), ("10", "10"), ("10.0", "10")):
        crossed = state(1, [(bid, "1")], [(ask, "1")])
        it.join(crossed)
        assert not it.in_sync
        assert it.cause == f"snapshot crossed: bid {bid} is not below ask {ask}"
    assert it.apply(delta(2, 2, [("9", "2")])) is Need.NOTHING  # asked already
    assert it.join(whole(1)) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()[0][0]) == (True, 2, ("9", "2"))


def test_a_crossed_snapshot_asks_again() -> None:
    it = book()
    it.apply(delta(1, 1))
    assert it.join(state(1, [("11", "1")], [("10", "1")])) is Need.RESYNC
    shallow = synced(limit=2)
    assert shallow.apply(delta(11, 11)) is Need.SNAPSHOT
    assert shallow.join(state(11, [("11", "1")], [("10", "1")])) is Need.RESYNC
    assert not shallow.in_sync


@pytest.mark.parametrize("prices", [[f"1.{'0' * 30}1", f"1.{'0' * 30}2"], ["1" * 40, "1" * 39 + "2", "9" * 1000]])
def test_prices_of_any_length_stay_themselves(prices: list[str]) -> None:
    bids, asks = Side(+1), Side(-1)
    for price in prices:
        bids.set(price, "1")
        asks.set(price, "1")
    assert [price for price, _ in asks.top(5)] == prices
    assert [price for price, _ in bids.top(5)] == prices[::-1]
    assert (str(asks.best()), str(bids.best())) == (prices[0], prices[-1])
    for price in prices:
        asks.set(price, "0")
    assert (len(asks), asks.best()) == (0, None)


@pytest.mark.parametrize("text", ["1_0", " 1", "1\t", "1\n", "١", "１", "1e1", "1E-1", "+1", "-1", "0x1", "", "."])
def test_a_level_is_plain_decimal_text(text: str) -> None:
    for side in (Side(+1), Side(-1)):
        for level in ((text, "1"), ("1", text), (text, "0")):
            with pytest.raises(Rejected, match=r"^book level: ") as caught:
                side.set(*level)
            assert repr(text) in str(caught.value)
        assert len(side) == 0


@pytest.mark.parametrize("sign", [+1, -1])
def test_a_side_knows_how_far_a_cut_snapshot_reaches(sign: int) -> None:
    levels = [("9", "1"), ("8", "1")] if sign > 0 else [("11", "1"), ("12", "1")]
    beyond = ("7.5", "1") if sign > 0 else ("12.5", "1")
    cut = Side(sign, levels, 2)
    cut.set(*beyond)
    assert cut.top(5) == tuple(levels)
    whole_side = Side(sign, levels, 3)
    assert whole_side.edge is None
    whole_side.set(*beyond)
    assert whole_side.top(5) == (*levels, beyond)
    empty = Side(sign)
    assert (empty.edge, len(empty), empty.best(), empty.top(5)) == (None, 0, None, ())
    assert Side(sign, [], 1).edge is None


# Checksums


def test_a_sample_says_whether_the_venues_checksum_is_ours() -> None:
    rule = BookRule("stream", checksum=lambda bids, asks: len(bids) + len(asks), checksum_levels=10)
    it = Book(1, 2, lambda sequence, delta: delta.first == sequence + 1, rule)

    def sampled() -> tuple[bool, bool | None]:
        row = it.sample(1)
        return row.in_sync, row.checksum_ok

    assert it.restart(structs.replace(whole(1), checksum=4)) is Need.NOTHING
    assert sampled() == (True, True)
    assert it.apply(delta(2, 2, [("8", "5")])) is Need.NOTHING  # it has none
    assert sampled() == (True, None)
    assert it.apply(structs.replace(delta(3, 3, [("7", "1")]), checksum=5)) is Need.NOTHING
    assert sampled() == (True, True)
    it.desync("the line was lost")  # and the state that was verified is shown still
    assert sampled() == (False, True)
    it.restart(structs.replace(whole(4), checksum=4))
    assert it.apply(structs.replace(delta(5, 5, [("7", "1")]), checksum=4)) is Need.RESYNC
    assert sampled() == (False, False)
    assert it.restart(whole(6)) is Need.NOTHING
    assert sampled() == (True, None)
    with pytest.raises(Rejected):
        it.apply(structs.replace(delta(7, 7, [("x", "1")]), checksum=4))
    assert sampled() == (False, None)
