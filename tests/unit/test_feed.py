"""The feed: what is stored at each tick, which holes are reported, and what becomes of frames that are no good."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import pytest

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.collect.continuity import PATIENCE_NS
from ingest.collect.feed import Feed, Wants
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Event, Ignored, Options, Shutdown
from ingest.exchanges.binance import Binance
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Gap,
    GapState,
    Instrument,
    Item,
    Mark,
    OrderBook,
    Progress,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)

T0 = 1_700_000_000 * SECOND
BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
ETH = Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT")
BOOKS = [Stream(1, BTC, "book"), Stream(2, ETH, "book")]
TRADES = [Stream(1, BTC, "trades"), Stream(2, ETH, "trades")]
CANDLES, QUOTES, TICKER = Stream(1, BTC, "candles"), Stream(1, BTC, "quotes"), Stream(1, BTC, "ticker")


class Scripted(Binance):
    """Says what it is told to: a frame's text is the name of its events. `found` is whose a bad frame seems to be."""

    def __init__(self, *, contiguous: bool = True) -> None:
        super().__init__({}, Options())
        self.promises = {**Binance.promises, "trades": "ids" if contiguous else "none"}
        self.script: dict[str, Callable[[], Sequence[Event]]] = {}
        self.found: tuple[int, Channel] | None = None

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002
        return self.script[frame.decode()]()

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:  # noqa: ARG002
        return self.found


class Bench:
    """A feed whose rows, gaps, marks and requests are at hand."""

    def __init__(
        self,
        *streams: Stream,
        cadence_ns: int = SECOND,
        contiguous: bool = True,
        known: Progress | None = None,
        unchanged: bool = True,
    ) -> None:
        self.items: list[Item] = []
        self.wanted: list[int] = []
        self.wanted_candles: list[tuple[int, int]] = []
        self.checks: list[Stream] = []
        self.renewed: list[Stream] = []
        self.adapter = Scripted(contiguous=contiguous)
        wants = Wants(
            book=self.wanted.append,
            candles=lambda *wanted: self.wanted_candles.append(wanted),
            check=self.checks.append,
            renew=self.renewed.append,
        )
        self.feed = Feed("binance", self._put, wants, cadence_ns=cadence_ns, unchanged=unchanged)
        self.streams = streams or (*BOOKS, *TRADES)
        self.feed.follow(self.streams, 2, self.adapter, dict.fromkeys(self.streams, known), T0)

    def live(self, at_ns: int = T0) -> None:
        self.feed.connected(self.streams, at_ns)
        self.checks.clear()

    def lose(self, at_ns: int, since_ns: int | None = None, *streams: Stream) -> None:
        since_ns = at_ns if since_ns is None else since_ns
        self.feed.disconnected(streams or self.streams, "disconnected", since_ns, at_ns, "the line was cut")

    def refuse(self, at_ns: int, found: tuple[int, Channel] | None = None) -> None:
        """Take a frame that is no good."""

        def bad() -> Sequence[Event]:
            raise Rejected("no: never")

        self.adapter.script["bad"], self.adapter.found = bad, found
        assert self.feed.take(self.adapter, b"bad", at_ns) is None

    def _put(self, items: Iterable[Item]) -> None:
        self.items.extend(items)

    def take(self, event: Event, at_ns: int) -> Sequence[Ack | Shutdown] | None:
        self.adapter.script["x"] = lambda: (event,)
        return self.feed.take(self.adapter, b"x", at_ns)

    def drain(self) -> list[Item]:
        """All that was put since."""
        items, self.items[:] = list(self.items), []
        return items

    def gaps(self) -> list[Gap]:
        """The gaps that were told since; the rest is forgotten."""
        return [item for item in self.drain() if isinstance(item, Gap)]

    def sync(self, instrument_id: int, sequence: int, at_ns: int) -> None:
        self.take(delta(instrument_id, sequence, at_ns - 2), at_ns - 2)
        self.feed.join(BookState(instrument_id, sequence, [("9", "1")], [("11", "1")], 1000, at_ns))
        assert self.feed.books[instrument_id].in_sync


def delta(instrument_id: int, number: int, at_ns: int, amount: str = "1") -> BookDelta:
    return BookDelta(instrument_id, number, number, None, [("9", amount)], [], at_ns - 1, at_ns)


def trade(trade_id: int, time_ns: int = T0, instrument_id: int = 1) -> Trade:
    return Trade(instrument_id, time_ns, str(trade_id), "buy", "1", "1", time_ns + 1)


def stored(at: int, amount: str, sequence: int, changed_ns: int, instrument_id: int = 1) -> OrderBook:
    return OrderBook(
        instrument_id, at, changed_ns - 1, sequence, (("9", amount),), (("11", "1"),), True, changed_ns
    )  # fmt: skip


# Ticks


def test_a_tick_holds_what_came_before_it_and_nothing_later() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.take(delta(1, 11, T0 + SECOND - 1, "2"), T0 + SECOND - 1)
    assert bench.drain() == []
    bench.take(delta(1, 12, T0 + SECOND, "3"), T0 + SECOND)
    assert bench.drain() == [stored(T0 + SECOND, "2", 11, T0 + SECOND - 1)]
    bench.take(delta(1, 13, T0 + SECOND + 1, "4"), T0 + SECOND + 1)
    assert bench.drain() == []
    bench.take(delta(1, 14, T0 + 2 * SECOND + 5, "5"), T0 + 2 * SECOND + 5)
    assert bench.drain() == [stored(T0 + 2 * SECOND, "4", 13, T0 + SECOND + 1)]


def test_the_timer_and_the_frames_make_one_row_a_tick() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.take(delta(1, 11, T0 + 20, "2"), T0 + 20)
    bench.feed.sample(T0 + SECOND + 1)
    bench.feed.sample(T0 + SECOND + 2)
    bench.take(delta(1, 12, T0 + SECOND + 3, "3"), T0 + SECOND + 3)
    bench.feed.sample(T0 + SECOND + 4)
    assert bench.drain() == [stored(T0 + SECOND, "2", 11, T0 + 20)]


def test_a_quiet_book_is_stored_at_every_tick_and_missed_ticks_are_made_up() -> None:
    bench = Bench(cadence_ns=100 * MILLISECOND)
    bench.sync(1, 10, T0 + 10)
    bench.sync(2, 70, T0 + 20)
    bench.take(delta(1, 11, T0 + 30, "2"), T0 + 30)
    bench.take(delta(2, 71, T0 + 40, "3"), T0 + 40)
    bench.drain()
    bench.take(Ignored("anything"), T0 + 350 * MILLISECOND)
    assert bench.drain() == [
        row
        for tick in (1, 2, 3)
        for row in (
            stored(T0 + tick * 100 * MILLISECOND, "2", 11, T0 + 30),
            stored(T0 + tick * 100 * MILLISECOND, "3", 71, T0 + 40, 2),
        )
    ]


def test_a_long_pause_is_made_up_for_a_minute_only() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.feed.sample(T0 + 500 * SECOND)
    ticks = [row.time_ns for row in bench.drain() if isinstance(row, OrderBook)]
    assert ticks == [T0 + second * SECOND for second in range(440, 501)]


def test_a_clock_that_steps_back_makes_no_second_row() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.feed.sample(T0 + 5 * SECOND)
    bench.drain()
    bench.take(delta(1, 11, T0 + 3 * SECOND), T0 + 3 * SECOND)
    bench.feed.sample(T0 + 5 * SECOND + 1)
    assert bench.drain() == []


def test_a_book_without_a_snapshot_is_not_stored_and_a_broken_one_is_marked() -> None:
    bench = Bench()
    bench.take(delta(1, 10, T0), T0)
    bench.feed.sample(T0 + SECOND)
    assert bench.drain() == []
    bench.sync(1, 11, T0 + SECOND + 10)
    bench.take(delta(1, 20, T0 + SECOND + 20, "9"), T0 + SECOND + 20)
    bench.drain()
    bench.feed.sample(T0 + 2 * SECOND)
    assert bench.drain() == [
        OrderBook(1, T0 + 2 * SECOND, None, 11, (("9", "1"),), (("11", "1"),), False, T0 + SECOND + 10)
    ]


def test_a_snapshot_that_came_after_a_tick_is_not_in_it() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.take(delta(1, 20, T0 + 20, "2"), T0 + 20)
    bench.drain()
    late = T0 + SECOND + 1  # the tick is due, and neither a frame nor the timer has come yet
    bench.feed.join(BookState(1, 20, [("9", "7")], [("11", "1")], 1000, late))
    bench.feed.sample(late + 1)
    for row in bench.drain():
        assert not isinstance(row, OrderBook) or row.received_ns < row.time_ns


def test_a_clock_set_back_between_two_frames_stores_no_tick_again() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.feed.sample(T0 + 5 * SECOND)
    bench.feed.sample(T0 + 4 * SECOND)  # the timer, after the clock was corrected
    bench.drain()
    bench.feed.sample(T0 + 5 * SECOND + 2)
    assert bench.drain() == []
    bench.feed.sample(T0 + 6 * SECOND)
    assert [row.time_ns for row in rows(bench)] == [T0 + 6 * SECOND]


def rows(bench: Bench) -> list[OrderBook]:
    return [item for item in bench.drain() if isinstance(item, OrderBook)]


def test_without_unchanged_a_book_is_stored_when_it_says_something_else() -> None:
    """Its best levels or its state: what changes below them is no news, nor is an id."""
    bench = Bench(unchanged=False)
    bench.sync(1, 10, T0 + 10)
    bench.take(delta(1, 11, T0 + 20, "2"), T0 + 20)
    bench.feed.sample(T0 + 3 * SECOND)
    (first,) = rows(bench)
    assert first == stored(first.time_ns, "2", 11, T0 + 20)
    bench.take(BookDelta(1, 12, 12, None, [("1", "5")], [], T0 + 30, T0 + 30), T0 + 3 * SECOND + 30)
    bench.take(BookDelta(1, 13, 13, None, [("0.5", "5")], [], T0 + 31, T0 + 31), T0 + 3 * SECOND + 31)
    bench.feed.sample(T0 + 4 * SECOND)
    (second,) = rows(bench)  # the second of its two levels is another one now
    assert (second.time_ns, second.bids) == (T0 + 4 * SECOND, (("9", "2"), ("1", "5")))
    bench.take(BookDelta(1, 14, 14, None, [("0.5", "6")], [], T0 + 40, T0 + 40), T0 + 4 * SECOND + 40)
    bench.feed.sample(T0 + 5 * SECOND)
    assert rows(bench) == []
    bench.lose(T0 + 5 * SECOND + 50)
    bench.feed.sample(T0 + 7 * SECOND)
    (lost,) = rows(bench)  # once, at the first tick at which it is not to be believed
    assert (lost.time_ns, lost.in_sync, lost.bids) == (T0 + 6 * SECOND, False, second.bids)


def test_without_unchanged_a_book_is_stored_again_after_ticks_that_were_not() -> None:
    bench = Bench(unchanged=False)
    bench.sync(1, 10, T0 + 10)
    bench.feed.sample(T0 + SECOND)
    bench.feed.hold(T0 + 2 * SECOND)
    bench.drain()
    bench.feed.sample(T0 + 4 * SECOND)
    assert [row.time_ns for row in rows(bench)] == [T0 + 4 * SECOND]
    bench.feed.unfollow(BOOKS, T0 + 4 * SECOND + 1)
    bench.feed.follow(BOOKS, 2, bench.adapter, {}, T0 + 4 * SECOND + 2)
    bench.sync(1, 10, T0 + 4 * SECOND + 3)
    bench.feed.sample(T0 + 5 * SECOND)
    assert [row.time_ns for row in rows(bench)] == [T0 + 5 * SECOND]


def test_no_room_between_two_ticks_is_no_gap() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.feed.sample(T0 + SECOND)
    bench.drain()
    bench.feed.hold(T0 + SECOND + 2)
    bench.feed.sample(T0 + SECOND + 3)
    assert bench.drain() == []
    bench.feed.sample(T0 + 2 * SECOND)
    assert [row.time_ns for row in rows(bench)] == [T0 + 2 * SECOND]


def test_a_crossed_book_is_stored_as_out_of_sync_and_synchronised_anew() -> None:
    bench = Bench()
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.wanted.clear()
    bench.drain()
    bench.take(BookDelta(1, 11, 11, None, [("11", "1")], [], T0 + 20, T0 + 20), T0 + 20)
    assert bench.wanted == [1]
    assert [(gap.cause, gap.to_ns, gap.evidence) for gap in bench.gaps()] == [
        ("book out of sync", None, "crossed: bid 11 is not below ask 11")
    ]
    bench.feed.sample(T0 + SECOND)
    (crossed,) = rows(bench)
    assert (crossed.in_sync, crossed.bids[0], crossed.asks[0]) == (False, ("11", "1"), ("11", "1"))
    bench.feed.join(BookState(1, 11, [("9", "1")], [("12", "1")], 1000, T0 + SECOND + 5))
    bench.feed.sample(T0 + 2 * SECOND)
    (mended,) = rows(bench)
    assert (mended.in_sync, mended.bids, mended.asks) == (True, (("9", "1"),), (("12", "1"),))  # and nothing stale


# Trades


def test_a_hole_in_trade_ids_is_a_gap_with_both_its_ends() -> None:
    bench = Bench()
    rows = [trade(5, T0), trade(6, T0 + 1), trade(10, T0 + 2), trade(12, T0 + 3)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + PATIENCE_NS - 1)
    assert bench.drain() == rows
    bench.feed.sample(T0 + PATIENCE_NS)
    bench.feed.sample(T0 + 2 * PATIENCE_NS)
    assert bench.drain() == [
        Gap(1, "trades", "trade ids skipped", T0 + 1, T0 + 2, 7, 9, "6 was followed by 10", opened_ns=T0),
        Gap(1, "trades", "trade ids skipped", T0 + 2, T0 + 3, 11, 11, "10 was followed by 12", opened_ns=T0),
    ]


def test_a_hole_that_the_other_line_fills_in_time_is_no_gap() -> None:
    bench = Bench()
    rows = [trade(number) for number in (5, 10, 7, 6, 9)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + PATIENCE_NS)
    assert bench.drain() == [
        *rows,
        Gap(1, "trades", "trade ids skipped", T0, T0, 8, 8, "7 was followed by 9", opened_ns=T0),
    ]


def test_late_and_repeated_trades_are_stored_and_make_no_gap() -> None:
    bench = Bench()
    rows = [trade(number) for number in (5, 6, 6, 4, 5, 1, 7, 7, 8)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + 60 * SECOND)
    assert bench.drain() == rows


def test_ids_are_counted_for_each_instrument_apart() -> None:
    bench = Bench()
    rows = [trade(5), trade(900, instrument_id=2), trade(6), trade(901, instrument_id=2)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + 60 * SECOND)
    assert bench.drain() == rows


def test_ids_that_are_not_contiguous_make_no_gap() -> None:
    bench = Bench(contiguous=False)
    rows = [trade(5), trade(77), Trade(1, T0, "a-text", "sell", "1", "1", T0)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + 60 * SECOND)
    assert bench.drain() == rows


# Quotes and tickers


def quote(sequence: int, at_ns: int = T0, instrument_id: int = 1) -> Quote:
    return Quote(instrument_id, at_ns, sequence, "9", "1", "11", "1", at_ns)


def test_each_quote_is_stored_once_and_never_an_older_one() -> None:
    bench = Bench()
    for row in (quote(5), quote(5, T0 + 1), quote(4, T0 + 2), quote(9, T0 + 3), quote(8, T0 + 4), quote(10, T0 + 5)):
        assert bench.take(row, T0) == []
    assert bench.drain() == [quote(5), quote(9, T0 + 3), quote(10, T0 + 5)]
    assert bench.feed.ignored == {"quote: not newer than the last": 3}
    assert bench.feed.kinds == {"Quote": 6}


def test_quotes_are_compared_for_each_instrument_apart() -> None:
    bench = Bench()
    rows = [quote(0), quote(900, instrument_id=2), quote(1), quote(901, instrument_id=2)]
    for row in rows:
        bench.take(row, T0)
    assert bench.drain() == rows
    assert not bench.feed.ignored


def test_a_recorded_refusal_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some venues refuse a call with status 200; it was asked again then."""

    def busy(*_: object) -> Sequence[Event]:
        raise Retryable("too many visits")

    bench = Bench()
    monkeypatch.setattr(bench.adapter, "decode_reply", busy)
    bench.feed.take_reply(bench.adapter, "https://venue/candles", b"{}", T0)
    assert bench.feed.ignored == {"reply: refused by the venue": 1}
    assert bench.drain() == []


def test_every_ticker_is_stored() -> None:
    bench = Bench()
    ticker = Ticker(1, T0, "1", None, None, None, None, None, None, None, None, None, T0)
    for _ in range(2):  # the database knows it by its time
        assert bench.take(ticker, T0) == []
    assert bench.drain() == [ticker, ticker]
    assert bench.feed.kinds == {"Ticker": 2}


# Books that break and mend


OUT_OF_SYNC = "book out of sync"


def test_a_break_is_one_gap_from_the_last_good_change_to_the_first_good_one() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.take(delta(1, 11, T0 + 20), T0 + 20)
    bench.drain()
    bench.wanted.clear()
    bench.take(delta(1, 15, T0 + 30, "5"), T0 + 30)
    bench.take(delta(1, 17, T0 + 40, "7"), T0 + 40)
    told = "sequence 11 is followed by 15 to 15"
    opened = Gap(1, "book", OUT_OF_SYNC, T0 + 20, evidence=told, opened_ns=T0 + 30)
    assert (bench.drain(), bench.wanted) == ([opened], [1])
    bench.feed.join(BookState(1, 14, [("9", "4")], [], 1000, T0 + 50))  # there is another hole behind it
    assert bench.wanted == [1, 1]
    assert bench.gaps() == []
    bench.feed.join(BookState(1, 16, [("9", "6")], [], 1000, T0 + 60))
    assert bench.drain() == [
        Gap(1, "book", OUT_OF_SYNC, T0 + 20, T0 + 40, None, None, told, "unrecoverable", opened_ns=T0 + 30)
    ]
    assert bench.wanted == [1, 1]


def test_a_lost_line_is_one_gap_a_stream_whatever_follows() -> None:
    bench = Bench(*BOOKS, TRADES[0])
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.sync(2, 70, T0 + 20)
    bench.take(trade(5, T0 + 21), T0 + 22)
    bench.drain()
    bench.wanted.clear()
    for number in range(3):
        bench.lose(T0 + 50 + number, T0 + 40)
    assert not any(book.in_sync for book in bench.feed.books.values())
    bench.take(delta(1, 50, T0 + 100), T0 + 100)
    bench.feed.join(BookState(1, 50, [], [], 1000, T0 + 110))
    lost = ("disconnected", T0 + 40)
    assert bench.drain() == [
        Gap(1, "book", *lost, evidence="the line was cut", opened_ns=T0 + 50),
        Gap(2, "book", *lost, evidence="the line was cut", opened_ns=T0 + 50),
        Gap(1, "trades", "disconnected", T0 + 21, None, 6, None, "the line was cut", opened_ns=T0 + 50),
        Gap(1, "book", *lost, T0 + 110, None, None, "the line was cut", "unrecoverable", opened_ns=T0 + 50),
    ]
    assert bench.wanted == [1]


def test_a_line_lost_before_the_first_snapshot_is_no_gap() -> None:
    bench = Bench()
    bench.take(delta(1, 10, T0), T0)
    bench.lose(T0 + 5)
    bench.sync(1, 20, T0 + 10)
    assert bench.drain() == []


def test_a_bad_level_is_a_reject_and_a_break() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.take(BookDelta(1, 11, 11, None, [("x", "1")], [], T0 + 19, T0 + 20), T0 + 20)
    assert bench.drain() == [
        Gap(1, "book", OUT_OF_SYNC, T0 + 10, evidence="a level is not a number", opened_ns=T0 + 20),
        Reject("binance", "", "book level: 'x', '1' is not decimal text", b"x", T0 + 20),
    ]
    assert not bench.feed.books[1].in_sync


def test_a_snapshot_is_wanted_after_a_bad_level() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.wanted.clear()
    bench.take(BookDelta(1, 11, 11, None, [("x", "1")], [], T0 + 19, T0 + 20), T0 + 20)
    bench.take(delta(1, 12, T0 + 30), T0 + 30)
    assert bench.wanted == [1]


def test_books_stored_while_the_line_is_down_are_marked() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.take(delta(1, 20, T0 + 20), T0 + 20)  # a break: a snapshot is asked for
    bench.lose(T0 + 25)
    bench.feed.join(BookState(1, 30, [("9", "1")], [], 1000, T0 + 30))  # and comes
    bench.drain()
    bench.feed.sample(T0 + SECOND)
    (row,) = bench.drain()
    assert isinstance(row, OrderBook)
    assert not row.in_sync


def test_a_refresh_that_breaks_the_book_is_a_gap() -> None:
    bench = Bench()
    bench.take(delta(1, 10, T0 + 8), T0 + 8)
    bench.feed.join(BookState(1, 10, [("9", "1")], [("11", "1")], 1, T0 + 10))  # of one level: shallow
    bench.take(delta(1, 11, T0 + 20), T0 + 20)  # asks for a refresh
    bench.take(BookDelta(1, 12, 12, None, [("10", "1")], [], T0 + 29, T0 + 30), T0 + 30)
    bench.feed.join(BookState(1, 11, [("9", "1")], [("10", "1")], 1000, T0 + 40))  # crossed by what was kept
    assert not bench.feed.books[1].in_sync
    told = "crossed: bid 10 is not below ask 10"
    opened = Gap(1, "book", OUT_OF_SYNC, T0 + 30, evidence=told, opened_ns=T0 + 40)
    assert bench.gaps() == [opened]
    bench.feed.join(BookState(1, 12, [("9", "1")], [("12", "1")], 1000, T0 + 50))
    assert bench.gaps() == [msgspec.structs.replace(opened, to_ns=T0 + 50, state="unrecoverable")]


def test_a_delta_of_a_book_that_nobody_asked_for() -> None:
    bench = Bench()
    assert bench.take(delta(9, 1, T0), T0) == []
    assert bench.feed.ignored == {"book: not subscribed": 1}
    assert bench.drain() == []


# Frames


@pytest.mark.parametrize("event", [Ignored("heartbeat: no data"), Reject("binance", "", "no", b"", T0)])
def test_what_brings_no_data_is_told_apart_from_what_does(event: Event) -> None:
    """A connection that says nothing else does not deliver; see `Session.delivering`."""
    bench = Bench()
    assert bench.take(event, T0) is None
    bench.adapter.script["x"] = tuple
    assert bench.feed.take(bench.adapter, b"x", T0) is None
    bench.adapter.script["x"] = lambda: (event, Ack(1))
    assert bench.feed.take(bench.adapter, b"x", T0) == [Ack(1)]
    bench.adapter.script["x"] = lambda: (event, delta(1, 1, T0))
    assert bench.feed.take(bench.adapter, b"x", T0) == []


@pytest.mark.parametrize("size", [0, 10, 64 * 1024, 64 * 1024 + 1, 1024 * 1024])
def test_a_rejected_frame_is_kept_up_to_64_kib(size: int) -> None:
    bench = Bench()
    frame = b"\xff" * size
    rejecting = Binance({}, Options())
    assert bench.feed.take(rejecting, frame, T0) is None
    (reject,) = bench.drain()
    assert isinstance(reject, Reject)
    assert reject.payload == frame[: 64 * 1024]
    assert (reject.exchange, reject.stream, reject.received_ns) == ("binance", "", T0)
    assert reject.reason.startswith("malformed frame: ")
    assert bench.feed.rejected.total() == 1


def test_the_kinds_of_rejects_are_few() -> None:
    bench = Bench()
    adapter = Binance({}, Options())
    for number in range(300):
        bench.feed.take(adapter, f'{{"e":"event{number}"}}'.encode(), T0)
        bench.feed.take(
            adapter, f'{{"e":"trade","s":"C{number}","p":"1","q":"1","T":{T0},"m":true,"t":1}}'.encode(), T0
        )
        bench.feed.take(adapter, f'{{"u":1,"s":"C{number}","b":"1","B":"1","a":"1","A":"1"}}'.encode(), T0)
    assert bench.feed.rejected == {"unknown event": 300, "unknown symbol": 600}
    numbers = [f'"p":"{n}x","q":"1","T":1600000000000' for n in range(300)]
    for kind, id_ in (("trade", "t"), ("aggTrade", "a")):
        known = Binance({"C": 1}, Options(trade_stream=kind))
        for text in numbers:
            bench.feed.take(known, f'{{"e":"{kind}","s":"C",{text},"m":true,"{id_}":1}}'.encode(), T0)
    for number in range(10):
        bench.sync(1, 10 * number + 1, T0)
        bench.take(BookDelta(1, 10 * number + 2, 10 * number + 2, None, [(f"x{number}", "1")], [], T0, T0), T0)
    assert bench.feed.rejected == {"unknown event": 300, "unknown symbol": 600, "trade": 600, "book level": 10}


def test_absurd_times_are_one_kind_of_reject() -> None:
    bench = Bench()
    adapter = Binance({"C": 1}, Options())
    for number in range(300):
        frame = f'{{"e":"trade","s":"C","p":"1","q":"1","T":{number},"m":true,"t":1}}'
        assert bench.feed.take(adapter, frame.encode(), T0) is None
    assert len(bench.feed.rejected) == 1


def test_an_unknown_event_of_any_length_is_a_short_reason() -> None:
    bench = Bench()
    assert bench.feed.take(Binance({}, Options()), b'{"e":"' + b"x" * 10_000 + b'"}', T0) is None
    (reject,) = bench.drain()
    assert isinstance(reject, Reject)
    assert reject.reason == f"unknown event: {'x' * 40!r}"


def test_what_is_for_the_connection_is_handed_back_and_the_rest_is_counted() -> None:
    bench = Bench()
    candle = Candle(1, T0, "1", "1", "1", "1", "0", None, None, None, None, CandleSource.STREAM, T0)
    assert bench.take(Ack(3), T0) == [Ack(3)]
    assert bench.take(Shutdown(), T0) == [Shutdown()]
    assert bench.take(Ignored("why"), T0) is None
    assert bench.take(candle, T0) == []
    assert bench.drain() == [candle]
    assert bench.feed.kinds == {"Ack": 1, "Shutdown": 1, "Ignored": 1, "Candle": 1}
    assert bench.feed.ignored == {"why": 1}
    assert bench.feed.frames == 4


def test_a_snapshot_frame_joins_its_book() -> None:
    bench = Bench()
    bench.take(delta(1, 10, T0), T0)
    bench.take(BookState(1, 10, [("9", "1")], [], 1000, T0 + 1), T0 + 1)
    assert bench.feed.books[1].in_sync


def test_a_rejected_frame_says_so_and_the_next_one_is_taken() -> None:
    bench = Bench()
    bench.refuse(T0)
    bench.take(trade(1), T0 + 1)
    assert bench.drain() == [Reject("binance", "", "no: never", b"bad", T0), trade(1)]
    assert bench.feed.rejected == {"no": 1}


# Frames that were lost: what they may have held is missing until shown otherwise

REJECTED = "frame rejected"


def doubted(channel: Channel, from_ns: int, to_ns: int | None = None, *, at_ns: int) -> Gap:
    """A gap of a stream without history: open, or over."""
    state: GapState = "open" if to_ns is None else "unrecoverable"
    return Gap(1, channel, REJECTED, from_ns, to_ns, None, None, "no: never", state, opened_ns=at_ns)


def test_a_bad_frame_of_trades_is_a_gap_that_closes_by_itself_when_the_ids_go_on() -> None:
    bench = Bench(*TRADES)
    bench.live()
    bench.take(trade(5), T0 + 10)
    bench.take(trade(900, instrument_id=2), T0 + 10)
    bench.drain()
    bench.refuse(T0 + 20, (1, "trades"))
    opened = Gap(1, "trades", REJECTED, T0, None, 6, None, "no: never", opened_ns=T0 + 20)
    assert bench.gaps() == [opened]
    bench.take(trade(6, T0 + 30), T0 + 31)
    bench.feed.sample(T0 + SECOND)
    told = "no: never; no number is missing"
    closed = msgspec.structs.replace(opened, to_ns=T0 + 30, to_id=5, evidence=told, state="repaired")
    assert bench.drain()[1:] == [
        closed,
        Mark(1, "trades", 6, T0 + 30, T0 + 30, T0),
        Mark(2, "trades", 900, T0, T0, T0),
    ]


def test_a_bad_frame_that_held_trades_is_a_gap_of_exactly_these() -> None:
    bench = Bench(*TRADES)
    bench.live()
    bench.take(trade(5), T0 + 10)
    bench.refuse(T0 + 20, (1, "trades"))
    bench.refuse(T0 + 21, (1, "trades"))
    bench.take(trade(8, T0 + 30), T0 + 31)
    bench.drain()
    bench.feed.sample(T0 + 31 + PATIENCE_NS)
    told = "no: never; 5 was followed by 8"
    assert bench.drain()[:2] == [
        Gap(1, "trades", REJECTED, T0, T0 + 30, 6, 7, told, opened_ns=T0 + 20),
        Mark(1, "trades", 8, T0 + 30, T0 + 1 * SECOND + 31, T0),
    ]


def test_a_bad_frame_of_candles_is_a_gap_until_the_next_minute_came() -> None:
    bench = Bench(CANDLES)
    bench.live()
    first = T0 // MINUTE * MINUTE
    bench.take(candle(first), first + MINUTE)
    bench.drain()
    bench.refuse(first + MINUTE + 5, (1, "candles"))
    opened = Gap(1, "candles", REJECTED, first + MINUTE, evidence="no: never", opened_ns=first + MINUTE + 5)
    assert bench.gaps() == [opened]
    bench.take(candle(first + MINUTE), first + 2 * MINUTE)
    bench.feed.sample(first + 2 * MINUTE + SECOND)
    told = "no: never; no number is missing"
    assert bench.gaps() == [msgspec.structs.replace(opened, to_ns=first + MINUTE, evidence=told, state="repaired")]


def test_a_bad_frame_of_nobody_is_a_moment_without_quotes_and_tickers() -> None:
    """Ids, minutes and sequences will show whether one of them was in it."""
    bench = Bench(BOOKS[0], TRADES[0], CANDLES, QUOTES, TICKER)
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.take(trade(5), T0 + 10)
    bench.drain()
    bench.refuse(T0 + 20)
    bench.refuse(T0 + 30)
    assert bench.gaps() == [doubted("quotes", T0 + 20, at_ns=T0 + 20), doubted("ticker", T0 + 20, at_ns=T0 + 20)]
    bench.feed.sample(T0 + SECOND)
    bench.feed.sample(T0 + 2 * SECOND)
    assert bench.gaps() == [
        doubted("quotes", T0 + 20, T0 + SECOND, at_ns=T0 + 20),
        doubted("ticker", T0 + 20, T0 + SECOND, at_ns=T0 + 20),
    ]
    assert bench.feed.books[1].in_sync


def test_a_bad_frame_of_quotes_says_nothing_of_tickers() -> None:
    bench = Bench(QUOTES, TICKER)
    bench.live()
    bench.refuse(T0 + 20, (1, "quotes"))
    bench.refuse(T0 + 21, (7, "quotes"))  # nobody's
    bench.feed.sample(T0 + SECOND)
    assert bench.gaps() == [doubted("quotes", T0 + 20, to, at_ns=T0 + 20) for to in (None, T0 + SECOND)]


def test_a_bad_frame_of_a_book_is_left_to_its_sequence() -> None:
    bench = Bench()
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.refuse(T0 + 20, (1, "book"))
    assert bench.gaps() == []
    assert bench.feed.books[1].in_sync


def test_a_bad_frame_before_the_line_breaks_is_a_gap_until_it_is_back() -> None:
    bench = Bench(QUOTES)
    bench.live()
    bench.refuse(T0 + 20)
    bench.lose(T0 + 30)
    bench.feed.sample(T0 + SECOND)
    assert bench.gaps() == [doubted("quotes", T0 + 20, at_ns=T0 + 20)]
    bench.live(T0 + 90 * SECOND)
    assert bench.gaps() == [doubted("quotes", T0 + 20, T0 + 90 * SECOND, at_ns=T0 + 20)]


def test_a_bad_frame_does_not_end_the_gap_of_a_silent_stream() -> None:
    bench = Bench(QUOTES)
    bench.live()
    bench.feed.ledger.dead(bench.feed.ledger.accounts[1, "quotes"], T0 + 10, "why")
    bench.drain()
    bench.refuse(T0 + 20)
    bench.feed.sample(T0 + SECOND)
    assert bench.gaps() == []
    assert bench.renewed == [QUOTES]


def test_a_bad_frame_of_what_is_not_live_opens_nothing() -> None:
    bench = Bench(QUOTES, TRADES[0])
    bench.refuse(T0 + 20)
    bench.refuse(T0 + 20, (1, "trades"))
    assert bench.gaps() == []


def test_trades_without_ids_are_a_gap_by_time_that_repair_looks_at() -> None:
    bench = Bench(TRADES[0], contiguous=False)
    bench.live()
    bench.refuse(T0 + 20)
    bench.feed.sample(T0 + SECOND)
    opened = Gap(1, "trades", REJECTED, T0, evidence="no: never", opened_ns=T0 + 20)
    assert bench.gaps() == [opened, msgspec.structs.replace(opened, to_ns=T0 + SECOND)]


# Candles


def candle(open_ns: int, source: CandleSource = CandleSource.STREAM) -> Candle:
    return Candle(1, open_ns, "1", "1", "1", "1", "0", None, None, None, None, source, open_ns + MINUTE)


M0 = T0 // MINUTE * MINUTE


def test_a_skipped_minute_is_asked_for_and_is_a_gap_when_rest_does_not_have_it() -> None:
    bench = Bench(CANDLES)
    bench.live()
    for minute in (0, 3):
        bench.take(candle(M0 + minute * MINUTE), M0 + (minute + 1) * MINUTE)
    assert bench.wanted_candles == [(1, 4)]
    bench.drain()
    bench.feed.sample(M0 + 4 * MINUTE + 30 * SECOND)
    ends = (M0 + MINUTE, M0 + 2 * MINUTE)
    assert bench.gaps() == [Gap(1, "candles", "candles skipped", *ends, opened_ns=M0 + 4 * MINUTE)]


def test_minutes_between_candles_of_one_reply_had_no_trade() -> None:
    bench = Bench(CANDLES)
    bench.live()
    for minute in (0, 5):
        bench.take(candle(M0 + minute * MINUTE), M0 + (minute + 1) * MINUTE)
    bench.drain()
    reply = [candle(M0 + minute * MINUTE, CandleSource.REST) for minute in (0, 2, 5)]
    bench.feed.take_candles(1, reply)
    assert bench.drain() == reply
    bench.feed.sample(M0 + 10 * MINUTE)
    last = M0 // MINUTE + 5
    assert bench.drain() == [Mark(1, "candles", last, M0 + 6 * MINUTE, M0 + 10 * MINUTE - 2 * SECOND, T0)]


def test_a_reply_that_begins_later_leaves_the_minutes_before_it_in_question() -> None:
    bench = Bench(CANDLES)
    bench.live()
    for minute in (0, 5):
        bench.take(candle(M0 + minute * MINUTE), M0 + (minute + 1) * MINUTE)
    bench.drain()
    bench.feed.take_candles(1, [candle(M0 + minute * MINUTE, CandleSource.REST) for minute in (3, 5)])
    bench.feed.sample(M0 + 10 * MINUTE)
    ends = (M0 + MINUTE, M0 + 2 * MINUTE)
    assert bench.gaps() == [Gap(1, "candles", "candles skipped", *ends, opened_ns=M0 + 6 * MINUTE)]


def test_a_restart_without_a_candle_missed_says_so() -> None:
    bench = Bench(CANDLES, known=Progress(M0 // MINUTE, M0 + MINUTE))
    opened = Gap(1, "candles", "not collected", M0 + MINUTE, evidence="the daemon did not run", opened_ns=T0)
    assert bench.gaps() == [opened]
    bench.live(M0 + MINUTE + 5 * SECOND)
    assert bench.feed.minutes_without_candle(CANDLES, M0 + MINUTE + 5 * SECOND) == 2
    bench.feed.take_candles(1, [candle(M0, CandleSource.REST)])
    (closed,) = bench.gaps()
    assert (closed.opened_ns, closed.from_ns, closed.to_ns, closed.state) == (T0, M0 + MINUTE, M0 + MINUTE, "repaired")


def test_candles_of_rest_alone_or_of_nobody_are_stored() -> None:
    bench = Bench(TRADES[0])
    bench.feed.take_candles(1, [candle(M0)])
    bench.feed.take_candles(1, [])
    assert bench.drain() == [candle(M0)]
    other = Bench(CANDLES)
    assert other.feed.minutes_without_candle(CANDLES, T0) == 0
    other.take(candle(M0, CandleSource.OPEN), T0)
    assert other.feed.minutes_without_candle(CANDLES, T0) == 0  # an open one counts for nothing


# Quiet streams


def state(sequence: int, bid: str = "9", ask: str = "11") -> BookState:
    return BookState(1, sequence, [(bid, "1")], [(ask, "1")], 1000, T0 + 60 * SECOND)


def verdict(bench: Bench, at_ns: int) -> list[Stream]:
    """Whose subscription is renewed when nothing comes for the moment that it may take."""
    bench.feed.sample(at_ns + SECOND)
    assert bench.renewed == []
    bench.feed.sample(at_ns + 4 * SECOND)
    return bench.renewed


@pytest.mark.parametrize("sequence", [9, 10])
def test_a_quiet_book_without_news_is_well(sequence: int) -> None:
    bench = Bench(BOOKS[0])
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.feed.check(BOOKS[0], state(sequence), T0 + 60 * SECOND)
    assert verdict(bench, T0 + 60 * SECOND) == []
    assert bench.gaps() == []


def test_a_quiet_book_with_news_is_dead_and_not_believed_until_the_next_snapshot() -> None:
    bench = Bench(BOOKS[0])
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.feed.sample(T0 + 30 * SECOND)
    bench.drain()
    bench.feed.check(BOOKS[0], state(12), T0 + 60 * SECOND)
    assert verdict(bench, T0 + 60 * SECOND) == [BOOKS[0]]
    told = "the venue has newer data than its stream brought"
    opened = Gap(1, "book", "silent", T0 + 10, evidence=told, opened_ns=T0 + 64 * SECOND)
    assert bench.gaps() == [opened]
    bench.wanted.clear()
    bench.take(delta(1, 11, T0 + 65 * SECOND), T0 + 65 * SECOND)  # late, and it would continue the book
    assert bench.wanted == [1]
    bench.drain()
    bench.feed.join(BookState(1, 11, [("9", "1")], [], 1000, T0 + 65 * SECOND + 5))
    assert bench.gaps() == [msgspec.structs.replace(opened, to_ns=T0 + 65 * SECOND + 5, state="unrecoverable")]


def test_a_book_that_brought_nothing_is_compared_with_the_snapshot_of_the_check_before() -> None:
    bench = Bench(BOOKS[0])
    bench.live()
    bench.feed.check(BOOKS[0], state(12), T0 + 60 * SECOND)
    assert bench.feed.books[1].in_sync
    assert verdict(bench, T0 + 60 * SECOND) == []
    bench.feed.check(BOOKS[0], state(12), T0 + 120 * SECOND)
    assert verdict(bench, T0 + 120 * SECOND) == []
    bench.feed.check(BOOKS[0], state(13), T0 + 180 * SECOND)
    assert verdict(bench, T0 + 180 * SECOND) == [BOOKS[0]]


def test_news_that_come_a_moment_later_are_no_death() -> None:
    bench = Bench(BOOKS[0], QUOTES)
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.take(quote(5), T0 + 20)
    bench.feed.check(BOOKS[0], state(11), T0 + 60 * SECOND)
    bench.feed.check(QUOTES, state(11, bid="10"), T0 + 60 * SECOND)
    bench.take(delta(1, 11, T0 + 61 * SECOND), T0 + 61 * SECOND)
    bench.take(quote(6, T0 + 61 * SECOND), T0 + 61 * SECOND)
    bench.feed.sample(T0 + 70 * SECOND)
    assert bench.renewed == []


@pytest.mark.parametrize(
    ("asked", "dead"),
    [
        (state(7), False),
        (state(7, bid="8"), True),
        (state(7, ask="12"), True),
        (BookState(1, 7, [("9", "2")], [("11", "1")], 1000, T0), True),
        (BookState(1, 7, [("9", "2")], [], 1000, T0), False),  # one side is empty: there is no quote to send
    ],
)
def test_quiet_quotes_are_compared_with_the_best_of_the_book(asked: BookState, *, dead: bool) -> None:
    bench = Bench(QUOTES)
    bench.live()
    bench.take(quote(5, T0 + 20), T0 + 20)
    bench.feed.sample(T0 + 30 * SECOND)
    bench.drain()
    bench.feed.check(QUOTES, asked, T0 + 60 * SECOND)
    assert verdict(bench, T0 + 60 * SECOND) == ([QUOTES] if dead else [])
    told = "the venue has newer data than its stream brought"
    opened = Gap(1, "quotes", "silent", T0 + 20, evidence=told, opened_ns=T0 + 64 * SECOND)
    assert bench.gaps() == ([opened] if dead else [])


def test_quotes_that_never_came_are_compared_with_the_check_before() -> None:
    bench = Bench(QUOTES)
    bench.live()
    for second, bid in ((60, "9"), (120, "9")):
        bench.feed.check(QUOTES, state(7, bid), T0 + second * SECOND)
        assert verdict(bench, T0 + second * SECOND) == []
    bench.feed.check(QUOTES, state(7, "8"), T0 + 180 * SECOND)
    assert verdict(bench, T0 + 180 * SECOND) == [QUOTES]


def test_a_check_of_what_is_collected_no_more_is_nothing() -> None:
    bench = Bench(BOOKS[0], QUOTES)
    bench.feed.unfollow(bench.streams, T0)
    for stream in bench.streams:
        bench.feed.check(stream, state(7), T0)
    assert bench.drain() == []


def test_each_kind_of_stream_is_asked_about_when_it_is_quiet_and_not_before() -> None:
    bench = Bench(*BOOKS, *TRADES, CANDLES, QUOTES, TICKER)
    bench.live()
    for second in range(0, 60, 5):
        bench.feed.sample(T0 + second * SECOND)
    bench.take(trade(1), T0 + 59 * SECOND)
    assert bench.checks == []
    bench.feed.sample(T0 + 60 * SECOND)
    assert bench.checks == [*BOOKS, TRADES[1], QUOTES, TICKER]
    bench.feed.sample(T0 + 150 * SECOND)
    assert CANDLES in bench.checks


def test_trades_without_ids_are_not_taken_for_quiet_nor_a_ticker_for_them() -> None:
    bench = Bench(TRADES[0], TICKER, contiguous=False)
    bench.live()
    for second in range(0, 200, 10):
        bench.take(trade(7, T0 + second * SECOND), T0 + second * SECOND)
    bench.feed.sample(T0 + 200 * SECOND)
    assert set(bench.checks) == {TICKER}
    marks = {item.channel: item for item in bench.drain() if isinstance(item, Mark)}
    assert (marks["trades"].proved_ns, marks["ticker"].proved_ns) == (T0 + 190 * SECOND + 1, T0)


# Beginning, ending, and no room


def test_what_was_not_collected_is_a_gap_from_where_each_stream_stood() -> None:
    known = Progress(None, T0 - MINUTE)
    bench = Bench(QUOTES, BOOKS[0], known=known)
    lost = ("not collected", T0 - MINUTE)
    opened = [Gap(1, channel, *lost, evidence="the daemon did not run", opened_ns=T0) for channel in ("quotes", "book")]
    assert bench.drain() == opened
    bench.live(T0 + 5)
    bench.sync(1, 10, T0 + 10)
    quotes, book = (msgspec.structs.replace(gap, state="unrecoverable") for gap in opened)
    assert bench.gaps() == [
        msgspec.structs.replace(quotes, to_ns=T0 + 5),
        msgspec.structs.replace(book, to_ns=T0 + 10),
    ]


def test_what_is_collected_no_more_is_marked_and_then_forgotten() -> None:
    bench = Bench(TRADES[0], BOOKS[0], QUOTES)
    bench.live()
    bench.sync(1, 10, T0 + 10)
    bench.take(trade(5), T0 + 10)
    bench.take(quote(5, T0 + 20), T0 + 20)
    bench.drain()
    bench.feed.unfollow(bench.streams, T0 + 5 * SECOND)
    assert bench.drain() == [
        Mark(1, "trades", 5, T0, T0 + 3 * SECOND, T0),
        Mark(1, "book", None, T0 + 10, T0 + 3 * SECOND, T0 + 10),
        Mark(1, "quotes", None, T0 + 20, T0 + 3 * SECOND, T0),
    ]
    bench.take(trade(9), T0 + 6 * SECOND)  # the line still brings some
    bench.take(delta(1, 11, T0 + 6 * SECOND), T0 + 6 * SECOND)
    bench.lose(T0 + 7 * SECOND)
    bench.live(T0 + 8 * SECOND)
    bench.feed.sample(T0 + 60 * SECOND)
    bench.feed.finish(T0 + 60 * SECOND)
    assert bench.drain() == [trade(9)]


def test_the_end_names_what_is_missing_and_says_how_far_each_came() -> None:
    bench = Bench(TRADES[0])
    bench.live()
    for number in (5, 8):
        bench.take(trade(number, T0 + number), T0 + 10)
    bench.drain()
    bench.feed.finish(T0 + SECOND)
    assert bench.drain() == [
        Gap(1, "trades", "trade ids skipped", T0 + 5, T0 + 8, 6, 7, "5 was followed by 8", opened_ns=T0 + 10),
        Mark(1, "trades", 8, T0 + 8, T0 + 8, T0),
    ]


def test_ticks_without_room_are_one_gap_of_each_book() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.feed.hold(T0 + SECOND + 672_000)  # timers run late: the tick itself is the first that is missing
    bench.feed.hold(T0 + 2 * SECOND)
    bench.feed.sample(T0 + 3 * SECOND)
    ends = (T0 + SECOND, T0 + 3 * SECOND, None, None)
    told = "there was no room for samples"
    assert bench.drain() == [
        Gap(1, "book", "no room for more", *ends, told, "unrecoverable", opened_ns=T0 + SECOND),
        msgspec.structs.replace(stored(T0 + 3 * SECOND, "1", 10, T0 + 10), event_ns=None),
    ]
