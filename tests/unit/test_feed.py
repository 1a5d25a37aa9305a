"""The feed: what is stored at each tick, which holes are reported, and what becomes of frames that are no good."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from ingest.clock import MILLISECOND, SECOND
from ingest.collect.continuity import PATIENCE_NS
from ingest.collect.feed import Feed, Wants, tick_after
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Event, Ignored, Options, Shutdown
from ingest.exchanges.binance import Binance
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Gap,
    Instrument,
    OrderBook,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)
from ingest.store.copy_writer import Record

T0 = 1_700_000_000 * SECOND
BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
ETH = Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT")
BOOKS = [Stream(1, BTC, "book"), Stream(2, ETH, "book")]


class Scripted(Binance):
    """Says what it is told to: a frame's text is the name of its events."""

    def __init__(self, *, contiguous: bool = True) -> None:
        super().__init__({}, Options())
        self.contiguous_trade_ids = contiguous
        self.script: dict[str, Callable[[], Sequence[Event]]] = {}

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:  # noqa: ARG002
        return self.script[frame.decode()]()


class Bench:
    """A feed whose rows and requests are at hand."""

    def __init__(self, *, cadence_ns: int = SECOND, contiguous: bool = True) -> None:
        self.rows: list[Record] = []
        self.wanted: list[int] = []
        self.wanted_candles: list[tuple[int, int]] = []
        self.adapter = Scripted(contiguous=contiguous)
        wants = Wants(self.wanted.append, lambda *wanted: self.wanted_candles.append(wanted))
        self.feed = Feed("binance", self._put, wants, cadence_ns=cadence_ns)
        self.feed.follow(BOOKS, 2, self.adapter)

    def _put(self, rows: Iterable[Record]) -> None:
        self.rows.extend(rows)

    def take(self, event: Event, at_ns: int) -> Sequence[Ack | Shutdown] | None:
        self.adapter.script["x"] = lambda: (event,)
        return self.feed.take(self.adapter, b"x", at_ns)

    def drain(self) -> list[Record]:
        rows, self.rows[:] = list(self.rows), []
        return rows

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


def test_tick_after() -> None:
    assert tick_after(T0, SECOND) == 1.0
    assert tick_after(T0 + SECOND - 1, SECOND) == 1e-9
    assert tick_after(T0 + 250 * MILLISECOND, SECOND) == 0.75


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
        Gap(1, "trades", "trade ids skipped", T0 + 1, T0 + 2, 7, 9, "6 was followed by 10"),
        Gap(1, "trades", "trade ids skipped", T0 + 2, T0 + 3, 11, 11, "10 was followed by 12"),
    ]


def test_a_hole_that_the_other_line_fills_in_time_is_no_gap() -> None:
    bench = Bench()
    rows = [trade(number) for number in (5, 10, 7, 6, 9)]
    for row in rows:
        bench.take(row, T0)
    bench.feed.sample(T0 + PATIENCE_NS)
    assert bench.drain() == [
        *rows,
        Gap(1, "trades", "trade ids skipped", T0, T0, 8, 8, "7 was followed by 9"),
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


def test_every_ticker_is_stored() -> None:
    bench = Bench()
    ticker = Ticker(1, T0, "1", None, None, None, None, None, None, None, None, None, T0)
    for _ in range(2):  # the database knows it by its time
        assert bench.take(ticker, T0) == []
    assert bench.drain() == [ticker, ticker]
    assert bench.feed.kinds == {"Ticker": 2}


# Books that break and mend


def test_a_break_is_one_gap_from_the_last_good_change_to_the_first_good_one() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.take(delta(1, 11, T0 + 20), T0 + 20)
    bench.drain()
    bench.wanted.clear()
    bench.take(delta(1, 15, T0 + 30, "5"), T0 + 30)
    bench.take(delta(1, 17, T0 + 40, "7"), T0 + 40)
    assert (bench.drain(), bench.wanted) == ([], [1])
    bench.feed.join(BookState(1, 14, [("9", "4")], [], 1000, T0 + 50))  # there is another hole behind it
    assert bench.wanted == [1, 1]
    assert not [row for row in bench.drain() if isinstance(row, Gap)]
    bench.feed.join(BookState(1, 16, [("9", "6")], [], 1000, T0 + 60))
    (gap,) = bench.drain()
    assert isinstance(gap, Gap)
    assert (gap.instrument_id, gap.channel, gap.cause) == (1, "book", "book out of sync")
    assert (gap.from_ns, gap.to_ns, gap.from_id, gap.to_id) == (T0 + 20, T0 + 40, None, None)
    assert "is followed by" in gap.evidence
    assert bench.wanted == [1, 1]


def test_a_lost_line_is_one_gap_whatever_follows() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.sync(2, 70, T0 + 20)
    bench.drain()
    bench.wanted.clear()
    for _ in range(3):
        bench.feed.disconnected([*BOOKS, Stream(1, BTC, "trades")], "the line was cut")
    assert not any(book.in_sync for book in bench.feed.books.values())
    bench.take(delta(1, 50, T0 + 100), T0 + 100)
    bench.feed.join(BookState(1, 50, [], [], 1000, T0 + 110))
    assert bench.drain() == [
        Gap(1, "book", "book out of sync", T0 + 10, T0 + 110, evidence="the line was cut"),
    ]
    assert bench.wanted == [1]


def test_a_line_lost_before_the_first_snapshot_is_no_gap() -> None:
    bench = Bench()
    bench.take(delta(1, 10, T0), T0)
    bench.feed.disconnected(BOOKS, "the line was cut")
    bench.sync(1, 20, T0 + 10)
    assert bench.drain() == []


def test_a_bad_level_is_a_reject_and_a_break() -> None:
    bench = Bench()
    bench.sync(1, 10, T0 + 10)
    bench.drain()
    bench.take(BookDelta(1, 11, 11, None, [("x", "1")], [], T0 + 19, T0 + 20), T0 + 20)
    assert bench.drain() == [Reject("binance", "", "book level: 'x', '1' is not decimal text", b"x", T0 + 20)]
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
    bench.feed.disconnected(BOOKS, "the line was cut")
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
    bench.drain()
    bench.feed.join(BookState(1, 12, [("9", "1")], [("12", "1")], 1000, T0 + 50))
    assert [row for row in bench.drain() if isinstance(row, Gap)]


def test_a_delta_of_a_book_that_nobody_asked_for() -> None:
    bench = Bench()
    assert bench.take(delta(9, 1, T0), T0) == []
    assert bench.feed.ignored == {"book: not subscribed": 1}
    assert bench.drain() == []


# Frames


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
    assert bench.take(Ignored("why"), T0) == []
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

    def refuse() -> Sequence[Event]:
        raise Rejected("no: never")

    bench.adapter.script["bad"] = refuse
    assert bench.feed.take(bench.adapter, b"bad", T0) is None
    bench.take(trade(1), T0 + 1)
    assert bench.drain() == [Reject("binance", "", "no: never", b"bad", T0), trade(1)]
    assert bench.feed.rejected == {"no": 1}
