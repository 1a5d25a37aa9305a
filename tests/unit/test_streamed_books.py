"""Books whose snapshots the stream itself sends: depth kept by rule, checksums, snapshots at any moment."""

import zlib
from collections import Counter

import pytest

from ingest.collect.book import Book, Need
from ingest.collect.books import Books
from ingest.collect.ledger import Ledger
from ingest.errors import Rejected
from ingest.exchanges.adapter import BookRule, Options
from ingest.exchanges.binance import Binance
from ingest.records import BookDelta, BookState, Gap, Instrument, Item, Levels, Mark, Stream

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
BOOK = Stream(1, BTC, "book")
Pairs = list[tuple[str, str]]


def checksum(bids: Levels, asks: Levels) -> int:
    return zlib.crc32("|".join(f"{price}:{amount}" for price, amount in (*bids, *asks)).encode())


RULE = BookRule("stream", keep=3, checksum=checksum, checksum_levels=2)


class Venue(Binance):
    books = RULE


def follows(sequence: int, delta: BookDelta) -> bool | None:
    return delta.first == sequence + 1


def delta(number: int, bids: Pairs, asks: Pairs | None = None, told: int | None = None) -> BookDelta:
    return BookDelta(1, number, number, None, bids, asks or [], number * 10, number * 10 + 1, told)


def snapshot(number: int, bids: Pairs, asks: Pairs, told: int | None = None) -> BookState:
    return BookState(1, number, bids, asks, None, number * 10 + 1, streamed=True, event_ns=number * 10, checksum=told)


START = snapshot(5, [("9", "1"), ("8", "1"), ("7", "1")], [("11", "1"), ("12", "1"), ("13", "1")])


def synced(depth: int = 3) -> Book:
    it = Book(1, depth, follows, RULE)
    assert it.restart(START) is Need.NOTHING
    assert it.in_sync
    return it


def test_a_snapshot_needs_nothing_before_it_and_has_the_venues_time() -> None:
    it = synced()
    assert (it.sequence, it.event_ns, it.received_ns) == (5, 50, 51)
    assert it.top() == (tuple(START.bids), tuple(START.asks))


def test_no_snapshot_is_asked_for_however_few_levels_there_are() -> None:
    it = synced(depth=1000)
    assert it.apply(delta(6, [("9", "0")])) is Need.NOTHING


def test_what_falls_out_below_is_dropped_and_does_not_come_back() -> None:
    it = synced()
    it.apply(delta(6, [("8.5", "2")], [("11.5", "2")]))
    assert it.top() == ((("9", "1"), ("8.5", "2"), ("8", "1")), (("11", "1"), ("11.5", "2"), ("12", "1")))
    it.apply(delta(7, [("9", "0")], [("11", "0")]))
    assert it.top() == ((("8.5", "2"), ("8", "1")), (("11.5", "2"), ("12", "1")))


def test_checksums_are_those_of_the_best_levels_after_the_change() -> None:
    it = synced()
    after = checksum((("9", "4"), ("8", "1")), (("11", "1"), ("12", "1")))
    assert it.apply(delta(6, [("9", "4")], told=after)) is Need.NOTHING
    assert it.apply(delta(7, [("7", "9")], told=after)) is Need.NOTHING  # below what is summed
    assert it.apply(delta(8, [("9", "5")], told=after)) is Need.RESYNC
    assert not it.in_sync
    assert it.cause.startswith("checksum: ")


def test_a_snapshot_with_a_wrong_checksum_is_not_in_sync() -> None:
    it = Book(1, 3, follows, RULE)
    assert it.restart(snapshot(5, [("9", "1")], [("11", "1")], told=1)) is Need.RESYNC
    assert not it.in_sync


def test_after_a_break_only_a_snapshot_helps_and_it_is_asked_for_once() -> None:
    it = synced()
    assert it.apply(delta(8, [("9", "4")])) is Need.RESYNC
    assert [it.apply(delta(n, [("9", "4")])) for n in (9, 10)] == [Need.NOTHING, Need.NOTHING]
    assert it.restart(snapshot(20, [("9", "7")], [("11", "7")])) is Need.NOTHING
    assert (it.in_sync, it.sequence, it.top()) == (True, 20, ((("9", "7"),), (("11", "7"),)))
    assert it.apply(delta(21, [("9", "8")])) is Need.NOTHING


def test_no_stale_level_survives_a_snapshot() -> None:
    it = synced()
    it.restart(snapshot(9, [("5", "1")], [("6", "1")]))
    assert it.top() == ((("5", "1"),), (("6", "1"),))


def test_a_snapshot_of_no_numbers_leaves_the_book_as_it_was() -> None:
    it = synced()
    with pytest.raises(Rejected):
        it.restart(snapshot(9, [("5", "one")], []))
    assert (it.in_sync, it.sequence) == (True, 5)


class Bench:
    def __init__(self) -> None:
        self.put: list[Item] = []
        self.wanted: list[int] = []
        self.ledger = Ledger(self.put.extend, suspect=lambda _stream: None, renew=lambda _stream: None)
        self.ledger.follow(BOOK, None, 0, contiguous=False)
        self.books = Books("binance", self.ledger, self.wanted.append, Counter())
        self.old, self.new = (Venue({"BTCUSDT": 1}, Options()) for _ in range(2))
        self.books.follow(1, 3, self.old)
        self.books.take(START, self.old)
        self.book = self.books.by_id[1]

    def gaps(self) -> list[Gap]:
        return [item for item in self.put if isinstance(item, Gap)]


def test_a_connection_that_takes_over_waits_with_its_snapshot_too() -> None:
    it = Bench()
    it.books.defer(it.new)
    it.books.take(snapshot(7, [("9", "7")], [("11", "1")]), it.new)
    it.books.apply(BookDelta(1, 8, 8, None, [("9", "8")], [], 80, 81), it.new)
    assert (it.book.sequence, it.book.top()[0][0]) == (5, ("9", "1"))
    it.books.apply(BookDelta(1, 1, 6, None, [("9", "6")], [], 60, 61), it.old)
    assert it.book.top()[0][0] == ("9", "6")
    it.books.proceed(it.new)
    assert (it.book.sequence, it.book.in_sync, it.book.top()[0][0]) == (8, True, ("9", "8"))
    assert it.gaps() == []
    assert it.wanted == []


def test_a_mismatch_opens_a_gap_that_the_next_snapshot_ends() -> None:
    it = Bench()
    it.books.apply(BookDelta(1, 6, 6, None, [("9", "4")], [], 60, 61, 12345), it.old)
    assert it.wanted == [1]
    (gap,) = it.gaps()
    assert (gap.cause, gap.to_ns, gap.evidence.partition(":")[0]) == ("book out of sync", None, "checksum")
    it.books.take(snapshot(9, [("9", "1")], [("11", "1")]), it.old)
    assert [(gap.state, gap.to_ns) for gap in it.gaps()[1:]] == [("unrecoverable", 91)]
    assert not any(isinstance(item, Mark) for item in it.put)


def test_a_snapshot_that_did_not_come_is_asked_for_again() -> None:
    it = Bench()
    it.books.apply(BookDelta(1, 8, 99, None, [], [], 60, 61, 1), it.old)
    it.books.apply(BookDelta(1, 100, 100, None, [], [], 60, 61), it.old)
    it.books.ask_again(1)
    it.books.apply(BookDelta(1, 101, 101, None, [], [], 60, 61), it.old)
    assert it.wanted == [1, 1]
    it.books.take(snapshot(102, [], []), it.old)
    it.books.ask_again(1)
    assert it.book.in_sync
