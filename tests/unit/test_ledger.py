"""Gaps that open and close, marks that never pass what is missing, and quiet that is told from death."""

from ingest.clock import MINUTE, SECOND
from ingest.collect.ledger import Account, Ledger
from ingest.records import Channel, Gap, Item, Mark, Progress, Stream
from tests.db.support import BTC, NOON

TRADES = Stream(1, BTC, "trades")
CANDLES = Stream(1, BTC, "candles")
BOOK = Stream(1, BTC, "book")
QUOTES = Stream(1, BTC, "quotes")


class Desk:
    """A ledger with one stream, and everything that it said."""

    def __init__(self, stream: Stream, progress: Progress | None = None, *, contiguous: bool = True) -> None:
        self.items: list[Item] = []
        self.suspected: list[Stream] = []
        self.renewed: list[Stream] = []
        self.ledger = Ledger(self.items.extend, suspect=self.suspected.append, renew=self.renewed.append)
        self.stream = stream
        self.account: Account = self.ledger.follow(stream, progress, NOON, contiguous=contiguous)

    def see(self, *numbers: int, at_ns: int = NOON) -> None:
        assert self.account.run is not None
        for number in numbers:
            self.account.run.see(number, NOON + number * SECOND, at_ns)
        self.account.token = self.account.run.last

    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    def marks(self) -> list[Mark]:
        return [item for item in self.items if isinstance(item, Mark)]


def test_a_stream_that_is_new_owes_nothing_and_is_marked_up_to_its_last_contiguous_id() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7, 8, 9)
    desk.ledger.tick(NOON + 20 * SECOND)
    assert desk.items == [Mark(1, "trades", 9, NOON + 9 * SECOND, NOON + 18 * SECOND, NOON)]


def test_a_mark_stays_below_a_hole_until_it_is_named_and_then_passes_it() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7, 9, at_ns=NOON)
    desk.ledger.tick(NOON + SECOND)
    desk.ledger.tick(NOON + 3 * SECOND)
    gap = Gap(
        *(1, "trades", "trade ids skipped", NOON + 7 * SECOND, NOON + 9 * SECOND, 8, 8, "7 was followed by 9"),
        opened_ns=NOON,
    )
    assert desk.gaps() == [gap]
    assert [mark.id for mark in desk.marks()] == [7, 9]
    assert desk.items.index(gap) < desk.items.index(desk.marks()[1])


def test_what_was_not_collected_is_a_gap_from_the_watermark_and_ends_at_the_first_live_id() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    opened = Gap(1, "trades", "not collected", NOON - MINUTE, None, 101, None, "the daemon did not run", opened_ns=NOON)
    assert desk.gaps() == [opened]
    desk.ledger.live(TRADES, NOON + SECOND)
    desk.see(104, at_ns=NOON + 2 * SECOND)
    desk.ledger.tick(NOON + 3 * SECOND)
    assert desk.marks() == []  # nothing is claimed while it is not known what is missing
    desk.ledger.tick(NOON + 5 * SECOND)
    told = "the daemon did not run; 100 was followed by 104"
    ends = (NOON - MINUTE, NOON + 104 * SECOND, 101, 103)
    assert desk.gaps()[1:] == [Gap(1, "trades", "not collected", *ends, told, opened_ns=NOON)]
    assert [mark.id for mark in desk.marks()] == [104]


def test_a_restart_that_missed_nothing_says_so() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON + SECOND)
    desk.see(101)
    desk.ledger.tick(NOON + 2 * SECOND)
    closed = desk.gaps()[-1]
    assert (closed.state, closed.from_id, closed.to_id, closed.opened_ns) == ("repaired", 101, 100, NOON)
    assert [mark.id for mark in desk.marks()] == [101]


def test_a_quiet_market_is_asked_about_after_a_restart_and_its_gap_is_closed_by_the_answer() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON + SECOND)
    assert desk.suspected == [TRADES]
    desk.ledger.latest(TRADES, 100, NOON + 2 * SECOND)
    desk.ledger.tick(NOON + 6 * SECOND)
    desk.ledger.latest(TRADES, 100, NOON + 6 * SECOND)
    assert [gap.to_ns for gap in desk.gaps()] == [None], "it may trail the stream: once is not enough"
    assert desk.suspected == [TRADES]
    desk.ledger.tick(NOON + 7 * SECOND)
    desk.ledger.tick(NOON + 8 * SECOND)  # the answer takes its time
    assert desk.suspected == [TRADES] * 2
    desk.ledger.latest(TRADES, 100, NOON + 9 * SECOND)
    assert (desk.gaps()[-1].state, desk.gaps()[-1].evidence) == (
        "repaired",
        "the daemon did not run; the venue's latest is 100",
    )


def test_history_that_trailed_at_the_first_answer_closes_nothing() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON)
    desk.ledger.latest(TRADES, 100, NOON)
    desk.ledger.tick(NOON + 5 * SECOND)
    desk.ledger.latest(TRADES, 110, NOON + 6 * SECOND)
    desk.ledger.tick(NOON + 9 * SECOND)
    assert [(gap.from_id, gap.to_id, gap.state) for gap in desk.gaps()] == [(101, None, "open"), (101, 110, "open")]


def test_a_second_gap_asks_for_two_answers_of_its_own() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON)
    desk.ledger.latest(TRADES, 100, NOON)
    desk.see(101)
    desk.ledger.tick(NOON + SECOND)
    assert [gap.state for gap in desk.gaps()] == ["open", "repaired"]
    desk.ledger.lost(TRADES, "disconnected", NOON + 20 * SECOND, NOON + 20 * SECOND)
    desk.ledger.live(TRADES, NOON + 21 * SECOND)
    desk.ledger.latest(TRADES, 101, NOON + 21 * SECOND)
    assert [gap.state for gap in desk.gaps()] == ["open", "repaired", "open"]


def test_what_the_venue_names_proves_nothing_of_the_time_before_it_was_named() -> None:
    """It may know of 115 by then: a later hole begins in time where the last trade that was seen lies."""
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON)
    desk.ledger.latest(TRADES, 110, NOON)
    desk.ledger.tick(NOON + 3 * SECOND)
    assert [(mark.id, mark.proved_ns) for mark in desk.marks()] == [(110, NOON - MINUTE)]
    desk.see(116, at_ns=NOON + 4 * SECOND)
    desk.ledger.tick(NOON + 7 * SECOND)
    hole = desk.gaps()[-1]
    assert (hole.from_id, hole.to_id, hole.from_ns) == (111, 115, NOON - MINUTE)


def test_trades_are_claimed_from_their_first_number_on() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.ledger.tick(NOON + 20 * SECOND)
    desk.ledger.lost(TRADES, "disconnected", NOON + 20 * SECOND, NOON + 20 * SECOND)
    desk.ledger.live(TRADES, NOON + 21 * SECOND)
    assert desk.items == [], "a subscription that was acknowledged and brought nothing"
    desk.ledger.latest(TRADES, 50, NOON + 60 * SECOND)
    desk.ledger.tick(NOON + 61 * SECOND)
    (mark,) = desk.marks()
    assert (mark.id, mark.began_ns, mark.proved_ns) == (50, NOON + 60 * SECOND, NOON + 60 * SECOND)
    desk.see(53, at_ns=NOON + 62 * SECOND)
    desk.ledger.tick(NOON + 65 * SECOND)
    assert [(gap.from_id, gap.to_id) for gap in desk.gaps()] == [(51, 52)]


def test_trades_that_came_before_the_next_tick_are_not_forgotten_when_the_line_is_lost() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7)
    desk.ledger.lost(TRADES, "disconnected", NOON + SECOND, NOON + SECOND)
    assert [gap.from_id for gap in desk.gaps()] == [8]


def test_candles_are_owed_from_a_gap_on_also_when_none_ever_came() -> None:
    minute = NOON // MINUTE
    desk = Desk(CANDLES)
    assert desk.account.run is not None
    desk.ledger.live(CANDLES, NOON + SECOND)
    desk.ledger.lost(CANDLES, "disconnected", NOON + 90 * SECOND, NOON + 90 * SECOND)
    desk.ledger.live(CANDLES, NOON + 5 * MINUTE)
    desk.account.run.see(minute + 5, NOON + 5 * MINUTE, NOON + 6 * MINUTE)
    desk.ledger.tick(NOON + 6 * MINUTE)
    assert [gap.to_ns for gap in desk.gaps()] == [None], "the minutes between may still come"
    desk.ledger.tick(NOON + 6 * MINUTE + 30 * SECOND)
    gap = desk.gaps()[-1]
    assert (gap.from_ns, gap.to_ns, gap.state) == (NOON + MINUTE, NOON + 4 * MINUTE, "open")


def test_a_stream_that_was_left_with_a_gap_alone_goes_on_with_it() -> None:
    left = Gap(1, "trades", "disconnected", NOON - MINUTE, None, 101, None, "reset", opened_ns=NOON - SECOND)
    desk = Desk(TRADES, Progress(None, NOON - MINUTE, left))
    desk.ledger.live(TRADES, NOON)
    desk.see(103)
    desk.ledger.tick(NOON + 5 * SECOND)
    assert [(gap.from_id, gap.to_id, gap.state) for gap in desk.gaps()] == [(101, 102, "open")]


def test_ids_that_the_venue_names_and_nobody_brings_are_missing() -> None:
    desk = Desk(TRADES, Progress(100, NOON - MINUTE))
    desk.ledger.live(TRADES, NOON)
    desk.ledger.latest(TRADES, 110, NOON)
    desk.ledger.tick(NOON + 3 * SECOND)
    assert [(gap.from_id, gap.to_id) for gap in desk.gaps()] == [(101, None), (101, 110)]


def test_a_gap_that_the_last_run_left_open_is_the_one_that_is_closed() -> None:
    left = Gap(1, "trades", "disconnected", NOON - MINUTE, None, 101, None, "reset by peer", opened_ns=NOON - SECOND)
    desk = Desk(TRADES, Progress(100, NOON - MINUTE, left))
    assert desk.gaps() == []
    desk.ledger.live(TRADES, NOON)
    desk.see(103)
    desk.ledger.tick(NOON + 5 * SECOND)
    closed = desk.gaps()[-1]
    assert (closed.cause, closed.opened_ns, closed.from_id, closed.to_id) == ("disconnected", NOON - SECOND, 101, 102)


def test_a_lost_line_opens_one_gap_however_often_it_is_lost() -> None:
    desk = Desk(QUOTES)
    desk.ledger.live(QUOTES, NOON)
    desk.ledger.lost(QUOTES, "disconnected", NOON + SECOND, NOON + 2 * SECOND, "reset")
    desk.ledger.lost(QUOTES, "disconnected", NOON + 3 * SECOND, NOON + 3 * SECOND, "refused")
    desk.ledger.live(QUOTES, NOON + 5 * SECOND)
    opened = Gap(1, "quotes", "disconnected", NOON + SECOND, None, None, None, "reset", opened_ns=NOON + 2 * SECOND)
    closed = Gap(
        *(1, "quotes", "disconnected", NOON + SECOND, NOON + 5 * SECOND, None, None, "reset", "unrecoverable"),
        opened_ns=NOON + 2 * SECOND,
    )
    assert desk.gaps() == [opened, closed]


def test_candles_are_counted_by_minutes() -> None:
    minute = NOON // MINUTE
    desk = Desk(CANDLES, Progress(minute - 10, NOON - 10 * MINUTE))
    assert desk.account.run is not None
    desk.ledger.live(CANDLES, NOON)
    desk.account.run.see(minute - 7, NOON - 7 * MINUTE, NOON)
    desk.account.run.see(minute - 6, NOON - 6 * MINUTE, NOON)
    desk.ledger.tick(NOON + 31 * SECOND)
    gap = desk.gaps()[-1]
    assert (gap.from_ns, gap.to_ns, gap.state) == (NOON - 9 * MINUTE, NOON - 8 * MINUTE, "open")
    assert desk.marks()[-1].id == minute - 6


def test_minutes_that_rest_shows_to_be_empty_are_no_gap() -> None:
    minute = NOON // MINUTE
    desk = Desk(CANDLES, Progress(minute - 10, NOON - 10 * MINUTE))
    assert desk.account.run is not None
    desk.ledger.live(CANDLES, NOON)
    desk.account.run.see(minute - 1, NOON - MINUTE, NOON)
    desk.account.run.fill(minute - 10, minute - 1)
    desk.ledger.tick(NOON + SECOND)
    assert desk.gaps()[-1].state == "repaired"


def test_trades_without_contiguous_ids_are_a_gap_by_time() -> None:
    desk = Desk(TRADES, contiguous=False)
    desk.ledger.live(TRADES, NOON)
    desk.ledger.lost(TRADES, "disconnected", NOON + SECOND, NOON + SECOND)
    desk.ledger.live(TRADES, NOON + 4 * SECOND)
    closed = desk.gaps()[-1]
    ends = (closed.from_ns, closed.to_ns, closed.from_id)
    assert (*ends, closed.state) == (NOON, NOON + 4 * SECOND, None, "open")  # not before it was collected
    desk.ledger.lost(TRADES, "disconnected", NOON + MINUTE, NOON + MINUTE)
    assert desk.gaps()[-1].from_ns == NOON + 58 * SECOND  # what was made then may have been on its way


def test_a_dead_subscription_is_a_gap_and_is_renewed() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7)
    desk.suspected.clear()
    desk.ledger.tick(NOON + SECOND)
    desk.ledger.tick(NOON + 62 * SECOND)
    assert desk.suspected == [TRADES]
    desk.ledger.latest(TRADES, 12, NOON + 63 * SECOND)
    desk.ledger.tick(NOON + 66 * SECOND)
    assert desk.renewed == [TRADES]
    assert (desk.gaps()[-1].cause, desk.gaps()[-1].from_id, desk.gaps()[-1].to_id) == ("silent", 8, None)


def test_a_quiet_that_is_real_is_learned() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7)
    desk.suspected.clear()
    desk.ledger.tick(NOON + SECOND)
    desk.ledger.tick(NOON + 61 * SECOND)
    desk.ledger.latest(TRADES, 7, NOON + 62 * SECOND)
    desk.ledger.tick(NOON + 130 * SECOND)
    assert desk.suspected == [TRADES]  # once: it was quiet for a minute, so that three are nothing special
    assert desk.renewed == []
    assert desk.gaps() == []


def test_news_that_comes_a_moment_later_ends_the_doubt() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7)
    desk.ledger.latest(TRADES, 8, NOON + SECOND)
    desk.see(8)
    desk.ledger.tick(NOON + 10 * SECOND)
    assert desk.renewed == []


def test_a_book_owes_nothing_before_its_first_snapshot() -> None:
    desk = Desk(BOOK)
    desk.ledger.live(BOOK, NOON)
    desk.ledger.tick(NOON + SECOND)
    desk.ledger.lost(BOOK, "disconnected", NOON + SECOND, NOON + SECOND)
    assert desk.items == []


def test_the_end_marks_streams_without_an_open_gap_only() -> None:
    channels: list[Channel] = ["trades", "quotes"]
    items: list[Item] = []
    ledger = Ledger(items.extend, suspect=lambda _: None, renew=lambda _: None)
    for channel in channels:
        ledger.follow(Stream(1, BTC, channel), None, NOON, contiguous=True)
        ledger.live(Stream(1, BTC, channel), NOON)
    ledger.latest(Stream(1, BTC, "trades"), 7, NOON)
    ledger.lost(Stream(1, BTC, "quotes"), "disconnected", NOON + SECOND, NOON + SECOND)
    items.clear()
    ledger.finish(NOON + 5 * SECOND)
    assert [(type(item), item.channel) for item in items if isinstance(item, Gap | Mark)] == [(Mark, "trades")]


def test_to_ask_again_does_not_put_off_that_a_stream_is_dead() -> None:
    desk = Desk(TRADES)
    desk.ledger.live(TRADES, NOON)
    desk.see(7)
    for second in range(1, 4):
        desk.ledger.latest(TRADES, 20, NOON + second * SECOND)
        desk.ledger.tick(NOON + second * SECOND)
    assert desk.renewed == []
    desk.ledger.tick(NOON + 4 * SECOND)
    assert desk.renewed == [TRADES]


def test_a_restart_of_candles_claims_no_more_than_before() -> None:
    """Their watermark is the close of the last one; the next close comes with the next candle."""
    minute = NOON // MINUTE - 2
    desk = Desk(CANDLES, Progress(minute, NOON - MINUTE))
    desk.ledger.live(CANDLES, NOON)
    desk.ledger.latest(CANDLES, minute, NOON)
    desk.ledger.tick(NOON + SECOND)
    assert [(mark.id, mark.proved_ns) for mark in desk.marks()] == [(minute, NOON - MINUTE)]
