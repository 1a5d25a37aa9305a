"""Repair against a real database: what it stores, what becomes of the gaps, and what it tells the rollups."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec import structs

from ingest import events
from ingest.clock import MINUTE, SECOND
from ingest.errors import Blocked, Rejected, Retryable
from ingest.exchanges.adapter import History as TradeHistory
from ingest.exchanges.adapter import Options
from ingest.exchanges.binance import Binance
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import Rest
from ingest.records import Instrument
from ingest.repair import repair as module
from ingest.repair.ask import Source
from ingest.repair.repair import PATIENCE_NS, Repair
from ingest.simulator.venue import Venue, VenueConfig
from ingest.store.queue import Purpose, Queue
from ingest.store.window import Window
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.history import (
    RECEIVED,
    Hand,
    History,
    assert_rollup_changes,
    at,
    candle_of,
    changed,
    gap_row,
    gap_rows,
    hurry,
    job_rows,
    open_gap,
    open_of,
    order,
    rollup_changes,
    trade_of,
)
from tests.db.support import (
    NOON,
    Proxy,
    candle_row,
    expected,
    moment,
    stored_candles,
    stored_rejects,
    stored_trades,
)

MakeRepair = Callable[..., Repair]


@pytest.fixture
async def make_repair(
    database_url: str, instruments: dict[int, Instrument], make_writer: MakeWriter
) -> AsyncIterator[MakeRepair]:
    """Repair workers of binance, each with a queue and a writer of its own."""
    queues: list[Queue] = []

    def make(
        rest: Source,
        *,
        url: str = database_url,
        options: Options | None = None,
        page: int = 1000,
        dumps: bool = True,
        now: Hand | None = None,
        purposes: tuple[Purpose, ...] = ("repair", "backfill"),
        emit: events.Emit = events.say,
    ) -> Repair:
        adapter = Binance({"BTCUSDT": 1, "ETHUSDT": 2}, options or Options())
        adapter.limits = structs.replace(  # of this instance alone
            adapter.limits,
            trades_page=page,
            candles_page=page,
            daily_dumps=("spot",) if dumps else (),
            weight_per_minute=600_000,
        )
        queues.append(Queue(url, role=f"test {len(queues)}"))
        worker = f"worker {len(queues)}"
        writer = make_writer(url)
        clock = now or Hand()
        return Repair(
            "binance",
            rest,
            adapter,
            instruments,
            queues[-1],
            writer,
            worker_name=worker,
            purposes=purposes,
            emit=emit,
            now=clock,
        )

    yield make
    for queue in queues:
        await queue.close()


async def drain(repair: Repair) -> None:
    """Work until nothing is due."""
    while await repair.step():
        pass


def windows(fetch: Fetch) -> list[tuple[object, ...]]:
    """Windows as (first id, last id, state, attempts, rows stored, rows known)."""
    return [(row[1], row[2], *row[5:9]) for row in job_rows(fetch)]


async def test_trades_are_fetched_by_id_and_their_gap_is_closed(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=60)
    open_gap(fetch, "trades", (11, 35))
    await drain(make_repair(history, page=10))
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 36)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 35), (at(10), at(36)), "repaired")]
    assert_rollup_changes(
        fetch,
        [
            changed("trades", at(11), at(20)),
            changed("trades", at(21), at(30)),
            changed("trades", at(31), at(35)),
        ],
    )
    assert history.requests == [
        ("historicalTrades", 11, 10),
        ("historicalTrades", 21, 10),
        ("historicalTrades", 31, 5),
    ]
    assert job_rows(fetch) == [
        ("repair", 11, 20, moment(at(11)), moment(at(20)), "done", 0, 10, 0, None, False),
        ("repair", 21, 30, moment(at(21)), moment(at(30)), "done", 0, 10, 0, None, False),
        ("repair", 31, 35, moment(at(31)), moment(at(35)), "done", 0, 5, 0, None, False),
    ]


async def test_candles_are_fetched_by_minute_and_quiet_minutes_are_covered(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(minutes=(0, 1, 2, 4, 5, 9))
    open_gap(fetch, "candles", times=(open_of(1), open_of(7)))
    await drain(make_repair(history, page=4))
    assert stored_candles(fetch) == [candle_row(candle_of(minute)) for minute in (1, 2, 4, 5)]
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(1), open_of(7)), "repaired")]
    assert_rollup_changes(
        fetch,
        [
            changed("candles", open_of(1), open_of(4)),
            changed("candles", open_of(5), open_of(5)),
        ],
    )
    assert history.requests == [("klines", 1, 4), ("klines", 5, 3)]


async def test_quiet_minutes_at_the_start_of_a_window_are_covered_when_history_reaches_further_back(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(minutes=(0, 3, 9))
    open_gap(fetch, "candles", times=(open_of(1), open_of(4)))
    await drain(make_repair(history, page=4))
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(1), open_of(4)), "repaired")]
    assert history.requests == [("klines", 1, 4), ("klines", -3, 4)]


async def test_candles_that_history_has_forgotten_are_named(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(minutes=(3, 4, 9))
    open_gap(fetch, "candles", times=(open_of(1), open_of(4)))
    repair = make_repair(history, page=4)
    await drain(repair)
    hurry(fetch)
    await drain(repair)
    reason = "the venue's history does not reach back to it"
    assert gap_rows(fetch) == [
        gap_row("candles", None, (open_of(1), open_of(2)), "awaiting_dump", reason),
        gap_row("candles", None, (open_of(3), open_of(4)), "repaired"),
    ]
    assert stored_candles(fetch) == [candle_row(candle_of(minute)) for minute in (3, 4)]


async def test_only_bounded_open_gaps_of_trades_and_candles_of_known_instruments_are_taken(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=60)
    lasting = open_gap(fetch, "trades", (11, 12), cause="lasts")
    fetch("UPDATE ingest.gaps SET to_id = NULL, to_time = NULL WHERE gap_id = %s", lasting)
    closed = open_gap(fetch, "trades", (21, 22), cause="closed")
    fetch("UPDATE ingest.gaps SET state = 'unrecoverable' WHERE gap_id = %s", closed)
    open_gap(fetch, "book", times=(at(1), at(2)))
    repair = make_repair(history)
    repair._instruments = {1: Instrument("other", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")}
    open_gap(fetch, "trades", (31, 32), cause="of another venue")
    await drain(repair)
    assert [row[8] for row in gap_rows(fetch)] == ["open", "unrecoverable", "open", "open"]
    assert (job_rows(fetch), history.requests) == ([], [])


async def test_a_gap_of_nothing_is_repaired_at_once(fetch: Fetch, make_repair: MakeRepair) -> None:
    open_gap(fetch, "trades", (11, 10))
    history = History(latest=60)
    await drain(make_repair(history))
    assert gap_rows(fetch) == [gap_row("trades", (11, 10), (at(10), at(11)), "repaired")]
    assert history.requests == []


async def test_rows_that_are_stored_already_stay_one_row(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=60)
    open_gap(fetch, "trades", (11, 20))
    await drain(make_repair(history))
    open_gap(fetch, "trades", (15, 25), cause="again")
    await drain(make_repair(history))
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 26)))
    assert windows(fetch) == [(11, 20, "done", 0, 10, 0), (15, 25, "done", 0, 5, 6)]


async def test_what_it_stored_is_told_a_page_at_a_time(fetch: Fetch, make_repair: MakeRepair) -> None:
    """For metrics: nothing else counts it."""
    told: list[events.Event] = []
    open_gap(fetch, "trades", (11, 35))
    open_gap(fetch, "candles", times=(open_of(1), open_of(2)))
    await drain(make_repair(History(latest=60, minutes=(0, 1, 2, 9)), page=20, emit=told.append))
    assert sorted(told, key=str) == [
        events.HistoryCommitted("binance", "candles", stored=2, duplicate=0, rejected=0),
        events.HistoryCommitted("binance", "trades", stored=20, duplicate=0, rejected=0),
        events.HistoryCommitted("binance", "trades", stored=5, duplicate=0, rejected=0),
    ]
    open_gap(fetch, "trades", (30, 39))
    told.clear()
    await drain(make_repair(History(latest=60), emit=told.append))
    assert told == [events.HistoryCommitted("binance", "trades", stored=4, duplicate=6, rejected=0)]


async def test_two_workers_fetch_no_window_twice(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=500)
    open_gap(fetch, "trades", (1, 200))
    open_gap(fetch, "trades", (251, 450))
    workers = [make_repair(history, page=10) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*map(drain, workers))
    assert sorted(history.requests) == [
        ("historicalTrades", first, 10) for start in (1, 251) for first in range(start, start + 200, 10)
    ]
    assert stored_trades(fetch) == expected(*map(trade_of, [*range(1, 201), *range(251, 451)]))
    assert [row[8] for row in gap_rows(fetch)] == ["repaired", "repaired"]


async def test_what_a_cancelled_worker_held_is_taken_up_by_another_at_once(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    open_gap(fetch, "trades", (11, 30))
    stuck, history = History(latest=60), History(latest=60)
    stuck.answering.clear()
    running = asyncio.create_task(make_repair(stuck, page=10).run())
    await stuck.asked.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert [row[5] for row in job_rows(fetch)] == ["waiting", "waiting"]
    await drain(make_repair(history, page=10))
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 31)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 30), (at(10), at(31)), "repaired")]


async def test_a_claim_that_expired_is_taken_over_and_its_first_holder_changes_nothing(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    open_gap(fetch, "trades", (11, 20))
    slow, history = History(latest=60), History(latest=60)
    slow.answering.clear()
    slow.forgotten_below = 15
    stepping = asyncio.create_task(make_repair(slow).step())
    await slow.asked.wait()
    await drain(make_repair(history))
    assert history.requests == []  # it is claimed
    fetch("UPDATE ingest.backfill_jobs SET claimed_until = now() - INTERVAL '1 second', attempts = 1")
    await drain(make_repair(history))
    assert history.requests == [("historicalTrades", 11, 10)]
    slow.answering.set()
    assert await stepping
    assert gap_rows(fetch) == [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]
    assert windows(fetch) == [(11, 20, "done", 1, 10, 0)]
    assert_rollup_changes(fetch, [changed("trades", at(11), at(20))])


async def test_a_claim_lasts_as_long_as_the_venue_takes(
    fetch: Fetch, make_repair: MakeRepair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLAIM_SECONDS", 1.0)
    open_gap(fetch, "trades", (11, 20))
    slow, history = History(latest=60), History(latest=60)
    slow.answering.clear()
    stepping = asyncio.create_task(make_repair(slow).step())
    await slow.asked.wait()
    other, age = (
        make_repair(history),
        "SELECT claimed_until - created_at < INTERVAL '3 seconds' FROM ingest.backfill_jobs",
    )
    while fetch(age) == [(True,)]:  # it would have expired twice
        await drain(other)
        await asyncio.sleep(0.05)
    assert history.requests == []
    slow.answering.set()
    assert await stepping
    assert windows(fetch) == [(11, 20, "done", 0, 10, 0)]


FORGOTTEN = "the venue's history does not reach back to it"
SKIPPED = "the venue's history skips it"


@pytest.mark.parametrize("dumps", [True, False])
async def test_what_the_venue_has_forgotten_is_named_and_the_rest_is_fetched(
    fetch: Fetch, make_repair: MakeRepair, *, dumps: bool
) -> None:
    history = History(latest=90)
    history.forgotten_below = 46
    open_gap(fetch, "trades", (11, 75))
    repair = make_repair(history, page=10, dumps=dumps)
    await repair.step()
    hurry(fetch)
    await drain(repair)
    assert stored_trades(fetch) == expected(*map(trade_of, range(46, 76)))
    state = "awaiting_dump" if dumps else "unrecoverable"
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 45), (at(10), at(46)), state, FORGOTTEN),
        gap_row("trades", (46, 75), (at(46), at(76)), "repaired"),
    ]
    assert windows(fetch) == [
        (11, 20, "done", 1, 0, 0),
        (21, 30, "cancelled", 0, 0, 0),
        (31, 40, "cancelled", 0, 0, 0),
        (46, 50, "done", 0, 5, 0),
        (51, 60, "done", 0, 10, 0),
        (61, 70, "done", 0, 10, 0),
        (71, 75, "done", 0, 5, 0),
    ]
    assert_rollup_changes(fetch, [changed("trades", at(n), at(m)) for n, m in ((46, 50), (51, 60), (61, 70), (71, 75))])


async def test_what_is_stored_of_a_forgotten_part_is_not_named(
    fetch: Fetch, make_repair: MakeRepair, make_writer: MakeWriter
) -> None:
    """A gap is named from the last mark on; rows that came behind it are stored, whatever history says."""
    history = History(latest=90)
    history.forgotten_below = 46
    kept = [trade_of(number) for number in (*range(11, 14), *range(20, 23))]
    await make_writer().write(kept)
    open_gap(fetch, "trades", (11, 75))
    repair = make_repair(history, page=10)
    for _ in range(3):  # a window may lie across the end of such a part, and is tried by itself
        await drain(repair)
        hurry(fetch)
    lost = [row[4:6] for row in gap_rows(fetch) if row[8] == "awaiting_dump"]
    assert lost == [(14, 19), (23, 45)]
    assert {row[8] for row in gap_rows(fetch)} == {"repaired", "awaiting_dump"}
    assert stored_trades(fetch) == expected(*kept, *map(trade_of, range(46, 76)))


async def test_candles_that_are_stored_are_not_named(
    fetch: Fetch, make_repair: MakeRepair, make_writer: MakeWriter
) -> None:
    history = History(minutes=(6, 7))
    await make_writer().write([candle_of(1), candle_of(4)])
    open_gap(fetch, "candles", times=(open_of(1), open_of(6)))
    repair = make_repair(history, page=10)
    await drain(repair)
    hurry(fetch)
    await drain(repair)
    lost = [row[2:4] for row in gap_rows(fetch) if row[8] != "repaired"]
    assert lost == [(moment(open_of(2)), moment(open_of(3))), (moment(open_of(5)), moment(open_of(5)))]


async def test_a_gap_that_is_forgotten_as_a_whole_is_one_row(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=900)
    history.forgotten_below = 800
    open_gap(fetch, "trades", (11, 75))
    repair = make_repair(history, page=10)
    await drain(repair)
    hurry(fetch)
    await drain(repair)
    assert gap_rows(fetch) == [gap_row("trades", (11, 75), (at(10), at(76)), "awaiting_dump", FORGOTTEN)]
    assert [row[2] for row in windows(fetch)] == ["done", *["cancelled"] * 6]
    assert (stored_trades(fetch), rollup_changes(fetch)) == ([], [])


async def test_ids_that_the_venue_skips_are_named_each(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    history.skipped = {20, 21, 22, 33}
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history, page=30)
    await drain(repair)
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repairing")]
    assert windows(fetch) == [(11, 40, "waiting", 1, 0, 0)]
    hurry(fetch)
    await drain(repair)
    there = [number for number in range(11, 41) if number not in history.skipped]
    assert stored_trades(fetch) == expected(*map(trade_of, there))
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 19), (at(10), at(19)), "repaired"),
        gap_row("trades", (20, 22), (at(19), at(23)), "unrecoverable", SKIPPED),
        gap_row("trades", (23, 32), (at(23), at(32)), "repaired"),
        gap_row("trades", (33, 33), (at(32), at(34)), "unrecoverable", SKIPPED),
        gap_row("trades", (34, 40), (at(34), at(41)), "repaired"),
    ]
    assert_rollup_changes(fetch, [changed("trades", at(11), at(40))])


async def test_ids_that_come_at_the_second_try_were_not_skipped(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    history.skipped = {20}
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history)
    await drain(repair)
    history.skipped.clear()
    hurry(fetch)
    await drain(repair)
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 41)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repaired")]


async def test_history_that_trails_the_stream_is_waited_for_and_progress_is_kept(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=25)
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history)
    await drain(repair)
    trails = "the venue's history trails its stream"
    assert job_rows(fetch) == [
        ("repair", 11, 25, moment(at(11)), moment(at(25)), "done", 0, 15, 0, None, False),
        ("repair", 26, 40, moment(at(25)), moment(at(41)), "waiting", 0, 0, 0, trails, False),
    ]
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repairing")]
    history.latest = 50
    hurry(fetch)
    await drain(repair)
    assert history.requests == [("historicalTrades", 11, 30), ("historicalTrades", 26, 15)]
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 41)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repaired")]
    assert_rollup_changes(fetch, [changed("trades", at(11), at(25)), changed("trades", at(26), at(40))])


def delay_seconds(fetch: Fetch) -> float:
    """In how many seconds the only waiting window is due."""
    ((seconds,),) = fetch(
        "SELECT extract(epoch FROM not_before - now())::float8 FROM ingest.backfill_jobs WHERE state = 'waiting'"
    )
    return float(seconds)


async def test_history_that_never_comes_is_named_after_the_patience(fetch: Fetch, make_repair: MakeRepair) -> None:
    history, hand = History(latest=25), Hand()
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history, now=hand)
    delays = []
    for seconds in (0, 2, 2, 4, 8, 16, 32, 60):  # the time that has passed when it is tried
        hand.turn(seconds)
        await drain(repair)
        delays.append(round(delay_seconds(fetch)))
        hurry(fetch)
    assert delays == [2, 2, 4, 8, 16, 32, 60, 60]
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repairing")]
    hand.turn(PATIENCE_NS / SECOND)
    await drain(repair)
    reason = "the venue's history did not reach it within 15 minutes"
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 25), (at(10), at(25)), "repaired"),
        gap_row("trades", (26, 40), (at(25), at(41)), "awaiting_dump", reason),
    ]
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 26)))


async def test_candles_that_trail_are_waited_for_and_named_after_the_patience(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history, hand = History(minutes=range(3)), Hand()
    open_gap(fetch, "candles", times=(open_of(1), open_of(5)))
    repair = make_repair(history, now=hand, dumps=False)
    await drain(repair)
    assert [row[3:9] for row in job_rows(fetch)] == [
        (moment(open_of(1)), moment(open_of(2)), "done", 0, 2, 0),
        (moment(open_of(3)), moment(open_of(5)), "waiting", 0, 0, 0),
    ]
    hurry(fetch)
    hand.turn(PATIENCE_NS / SECOND)
    await drain(repair)
    reason = "the venue's history did not reach it within 15 minutes"
    assert gap_rows(fetch) == [
        gap_row("candles", None, (open_of(1), open_of(2)), "repaired"),
        gap_row("candles", None, (open_of(3), open_of(5)), "unrecoverable", reason),
    ]
    assert_rollup_changes(fetch, [changed("candles", open_of(1), open_of(2))])


async def test_a_minute_that_is_not_over_is_waited_for(fetch: Fetch, make_repair: MakeRepair) -> None:
    history, hand = History(minutes=range(6)), Hand()
    history.venue_ns = open_of(5) + 40 * SECOND
    open_gap(fetch, "candles", times=(open_of(4), open_of(5)))
    repair = make_repair(history, now=hand)
    await drain(repair)
    assert stored_candles(fetch) == [candle_row(candle_of(4))]
    assert 29 < delay_seconds(fetch) <= 30  # and ten of grace
    hand.turn(PATIENCE_NS / SECOND)  # that is not trailing
    hurry(fetch)
    await drain(repair)
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(4), open_of(5)), "repairing")]
    history.venue_ns = open_of(6) + 10 * SECOND
    hurry(fetch)
    await drain(repair)
    assert stored_candles(fetch) == [candle_row(candle_of(4)), candle_row(candle_of(5))]
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(4), open_of(5)), "repaired")]


UNREADABLE = "the venue's rows cannot be read: row of a reply: "


async def test_an_id_that_only_came_as_a_bad_row_is_named_after_three_tries(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=90)
    history.unreadable = {20}
    open_gap(fetch, "trades", (11, 40))
    told: list[events.Event] = []
    repair = make_repair(history, emit=told.append)
    for _ in range(2):
        await drain(repair)
        assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repairing")]
        hurry(fetch)
    await drain(repair)
    rows = gap_rows(fetch)
    reason = rows[1][9]
    assert reason.startswith(UNREADABLE)
    assert rows == [
        gap_row("trades", (11, 19), (at(10), at(19)), "repaired"),
        gap_row("trades", (20, 20), (at(19), at(21)), "unrecoverable", reason),
        gap_row("trades", (21, 40), (at(21), at(41)), "repaired"),
    ]
    rejected = stored_rejects(fetch)  # one row of input, however often it comes: received at one time here
    assert [row[:4] for row in rejected] == [
        (moment(RECEIVED), "binance", "BTC/USDT trades", reason.removeprefix("the venue's rows cannot be read: "))
    ]
    assert b'"price":"-1"' in rejected[0][4]
    said = [event for event in told if isinstance(event, events.FrameRejected)]
    why = reason.removeprefix("the venue's rows cannot be read: ")
    assert said == [events.FrameRejected("binance", why, len(rejected[0][4]))]


async def test_a_candle_that_cannot_be_read_is_named(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(minutes=range(9))
    history.unreadable = {3}
    open_gap(fetch, "candles", times=(open_of(1), open_of(5)))
    repair = make_repair(history)
    for _ in range(3):
        await drain(repair)
        hurry(fetch)
    rows = gap_rows(fetch)
    assert rows == [
        gap_row("candles", None, (open_of(1), open_of(2)), "repaired"),
        gap_row("candles", None, (open_of(3), open_of(3)), "unrecoverable", rows[1][9]),
        gap_row("candles", None, (open_of(4), open_of(5)), "repaired"),
    ]
    assert stored_candles(fetch) == [candle_row(candle_of(minute)) for minute in (1, 2, 4, 5)]


async def test_a_rate_limit_is_waited_out_by_the_whole_worker(fetch: Fetch, make_repair: MakeRepair) -> None:
    history, hand = History(latest=90), Hand()
    history.errors = [Retryable("binance: HTTP 429", retry_after_seconds=7.0)]
    open_gap(fetch, "trades", (11, 30))
    repair = make_repair(history, page=10, now=hand)
    await drain(repair)
    assert history.requests == [("historicalTrades", 11, 10)]
    ((delay, error, attempts),) = fetch(
        "SELECT extract(epoch FROM not_before - now())::float8, error, attempts FROM ingest.backfill_jobs"
        " WHERE from_id = 11"
    )
    assert 6 < delay <= 7
    assert (error, attempts) == ("binance: HTTP 429", 0)
    hand.turn(6.9)
    await drain(repair)
    assert len(history.requests) == 1
    hand.turn(0.2)
    hurry(fetch)
    await drain(repair)
    assert history.requests[1:] == [("historicalTrades", 11, 10), ("historicalTrades", 21, 10)]
    assert gap_rows(fetch) == [gap_row("trades", (11, 30), (at(10), at(31)), "repaired")]


async def test_a_venue_that_blocks_us_is_left_alone_for_long(fetch: Fetch, make_repair: MakeRepair) -> None:
    history, hand = History(latest=90), Hand()
    history.errors = [Blocked("binance: HTTP 451")]
    open_gap(fetch, "trades", (11, 20))
    repair = make_repair(history, now=hand)
    await drain(repair)
    assert 890 < delay_seconds(fetch) <= 900
    hand.turn(899)
    hurry(fetch)
    await drain(repair)
    assert len(history.requests) == 1
    hand.turn(1)
    await drain(repair)
    assert gap_rows(fetch) == [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]


async def test_a_venue_that_fails_for_hours_costs_no_window(fetch: Fetch, make_repair: MakeRepair) -> None:
    history, hand = History(latest=90), Hand()
    history.errors = [Retryable("binance: HTTP 502") for _ in range(40)]
    open_gap(fetch, "trades", (11, 20))
    repair = make_repair(history, now=hand)
    while history.errors:
        await drain(repair)
        assert delay_seconds(fetch) <= 60
        hand.turn(60)
        hurry(fetch)
    await drain(repair)
    assert gap_rows(fetch) == [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]


async def test_a_window_that_is_refused_five_times_is_named_and_the_others_go_on(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=90)
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history, page=10)
    for _ in range(5):
        history.errors = [Rejected("binance: HTTP 400: bad fromId")]
        await drain(repair)
        hurry(fetch)
    assert stored_trades(fetch) == expected(*map(trade_of, range(21, 41)))
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 20), (at(10), at(21)), "unrecoverable", "binance: HTTP 400: bad fromId"),
        gap_row("trades", (21, 40), (at(21), at(41)), "repaired"),
    ]
    assert [row[2] for row in windows(fetch)] == ["failed", "done", "done"]


async def test_trades_that_are_known_by_time_alone_are_found_and_fetched_by_id(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=90)
    open_gap(fetch, "trades", times=(at(11), at(35)))
    repair = make_repair(history, page=10)
    assert await repair.step()
    (gap,) = gap_rows(fetch)
    assert (gap[4:6], gap[8]) == ((11, 35), "repairing")
    assert windows(fetch) == [(*ids, "waiting", 0, 0, 0) for ids in ((11, 20), (21, 30), (31, 35))] + [
        (None, None, "done", 0, 0, 0)
    ]
    await drain(repair)
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 36)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 35), (at(11), at(35)), "repaired")]
    assert sum(path == "24hr" for path, *_ in history.requests) == 1
    grades = "SELECT grade FROM market.coverage_of(1, 'trades', %s, %s)"
    assert fetch(grades, moment(at(11)), moment(at(35))) == [("proved",)], "from edge to edge, not from row to row"


async def test_a_time_without_trades_is_repaired(fetch: Fetch, make_repair: MakeRepair) -> None:
    open_gap(fetch, "trades", times=(at(11) + 1000, at(12) - 1000))
    await drain(make_repair(History(latest=90)))
    assert [row[8] for row in gap_rows(fetch)] == ["repaired"]
    assert stored_trades(fetch) == []


async def test_a_time_that_nothing_follows_is_waited_for(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=40)
    history.venue_ns = at(60)
    open_gap(fetch, "trades", times=(at(31), at(50)))
    repair = make_repair(history)
    await drain(repair)
    assert [(row[5], row[9]) for row in job_rows(fetch)] == [("waiting", "the venue's history may trail its stream")]
    history.latest = 45
    history.venue_ns = at(50) + MINUTE
    hurry(fetch)
    await drain(repair)
    assert stored_trades(fetch) == expected(*map(trade_of, range(31, 46)))
    assert gap_rows(fetch) == [gap_row("trades", (31, 45), (at(31), at(50)), "repaired")]


async def test_a_time_that_history_has_forgotten_in_part_is_named(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    history.forgotten_below = 20
    open_gap(fetch, "trades", times=(at(11), at(25)))
    await drain(make_repair(history))
    reason = "the venue's history does not reach back to it"
    assert sorted(gap_rows(fetch), key=lambda row: row[2]) == [
        gap_row("trades", None, (at(11), at(20) - 1000), "awaiting_dump", reason),
        gap_row("trades", (20, 25), (at(20), at(25)), "repaired"),
    ]
    assert stored_trades(fetch) == expected(*map(trade_of, range(20, 26)))


@pytest.mark.parametrize("forgotten_below", [60, 91])
async def test_a_time_that_history_has_forgotten_waits_for_a_daily_file(
    fetch: Fetch, make_repair: MakeRepair, forgotten_below: int
) -> None:
    history = History(latest=90)
    history.forgotten_below = forgotten_below
    open_gap(fetch, "trades", times=(at(11), at(25)))
    await drain(make_repair(history))
    reason = "the venue's history does not reach back to it"
    assert gap_rows(fetch) == [gap_row("trades", None, (at(11), at(25)), "awaiting_dump", reason)]


async def test_more_trades_than_rest_is_for_wait_for_daily_files(
    fetch: Fetch, make_repair: MakeRepair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.repair.repair._IDS_MAX", 10)
    open_gap(fetch, "trades", times=(at(11), at(35)))
    await drain(make_repair(History(latest=90)))
    reason = "25 trades are too many to fetch by REST"
    assert gap_rows(fetch) == [gap_row("trades", None, (at(11), at(35)), "awaiting_dump", reason)]
    assert stored_trades(fetch) == []


async def test_a_backfill_by_time_goes_on_by_id(fetch: Fetch, make_repair: MakeRepair, database_url: str) -> None:
    async with Queue(database_url) as queue:
        await order(queue, [Window(1, "trades", at(11), at(35))])
    await drain(make_repair(History(latest=90), page=10))
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 36)))
    assert {row[0] for row in job_rows(fetch)} == {"backfill"}
    assert gap_rows(fetch) == []


async def test_a_claim_that_passed_on_while_the_ids_were_looked_for_changes_nothing(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    history = History(latest=90)
    history.answering.clear()
    open_gap(fetch, "trades", times=(at(11), at(35)))
    working = asyncio.create_task(make_repair(history).step())
    await history.asked.wait()
    fetch("UPDATE ingest.backfill_jobs SET claimed_by = 'another'")
    history.answering.set()
    assert await working
    assert [row[5] for row in job_rows(fetch)] == ["claimed"]
    assert [row[4:6] for row in gap_rows(fetch)] == [(None, None)]


async def test_times_alone_where_ids_promise_nothing_wait_for_a_daily_file(
    fetch: Fetch, make_repair: MakeRepair
) -> None:
    repair = make_repair(History(latest=90))
    repair._adapter.promises = {**repair._adapter.promises, "trades": "none"}
    open_gap(fetch, "trades", times=(at(11), at(35)))
    await drain(repair)
    reason = "its ids are not known, and REST is asked by id alone"
    assert gap_rows(fetch) == [gap_row("trades", None, (at(11), at(35)), "awaiting_dump", reason)]


async def test_a_gap_whose_closing_was_lost_in_a_crash_is_closed(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    open_gap(fetch, "trades", (11, 20))
    await drain(make_repair(history))
    fetch("UPDATE ingest.gaps SET state = 'repairing', closed_at = NULL")
    await drain(make_repair(history))
    assert gap_rows(fetch) == [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]
    assert len(history.requests) == 1


async def test_a_database_that_goes_away_in_mid_repair_costs_nothing(
    fetch: Fetch, make_repair: MakeRepair, proxy: Proxy
) -> None:
    history = History(latest=90)
    history.answering.clear()
    open_gap(fetch, "trades", (11, 40))
    repair = make_repair(history, url=proxy.url, page=10)
    draining = asyncio.create_task(drain(repair))
    await history.asked.wait()
    proxy.refuse()
    history.answering.set()
    await asyncio.sleep(0.5)
    proxy.accept()
    async with asyncio.timeout(40):
        await draining
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 41)))
    assert gap_rows(fetch) == [gap_row("trades", (11, 40), (at(10), at(41)), "repaired")]
    assert [number for _, number, _ in history.requests] == [11, 21, 31]


async def test_a_fault_of_the_program_stays_with_its_window(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    open_gap(fetch, "trades", (11, 20))
    repair = make_repair(history)
    repair._asker._rest = None  # type: ignore[assignment]
    for _ in range(5):
        await drain(repair)
        hurry(fetch)
    ((*_, state, detail, _closed),) = gap_rows(fetch)
    assert state == "unrecoverable"
    assert detail.startswith("AttributeError: ")


async def test_a_new_gap_is_looked_at_when_repair_is_woken(fetch: Fetch, make_repair: MakeRepair) -> None:
    history = History(latest=90)
    repair = make_repair(history)
    running = asyncio.create_task(repair.run())
    await asyncio.sleep(0.1)
    open_gap(fetch, "trades", (11, 20))
    repair.wake()
    async with asyncio.timeout(10):
        while gap_rows(fetch) != [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]:  # noqa: ASYNC110 - a table
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])


async def test_backfill_goes_through_the_same_worker_behind_repair(
    fetch: Fetch, database_url: str, make_repair: MakeRepair
) -> None:
    history = History(latest=90)
    history.forgotten_below = 3
    async with Queue(database_url) as queue:
        await order(queue, [Window(1, "trades", at(0), at(11), 1, 5), Window(1, "trades", at(0), at(11), 6, 10)])
    open_gap(fetch, "trades", (51, 60))
    repair = make_repair(history)
    await drain(repair)
    hurry(fetch)
    await drain(repair)
    assert [number for _, number, _ in history.requests] == [51, 1, 6, 1]
    assert stored_trades(fetch) == expected(*map(trade_of, [*range(3, 11), *range(51, 61)]))
    backfill = ("backfill", "", "awaiting_dump", FORGOTTEN, False)
    assert gap_rows(fetch) == [
        (1, "trades", moment(at(0)), moment(at(3)), 1, 2, *backfill),
        gap_row("trades", (51, 60), (at(50), at(61)), "repaired"),
    ]


async def test_repair_by_the_simulators_rest_equals_its_ledger(fetch: Fetch, make_repair: MakeRepair) -> None:
    start_us = NOON // 1000 - 3_600_000_000
    config = VenueConfig(start_us=start_us, realtime=False, symbols=("BTC/USDT", "ETH/USDT"), history_minutes=240)
    async with Venue.serve(config) as venue:
        await venue.advance(150)
        last = {s.unified: s.last_trade_id for s in venue.ledger.summary().symbols}
        first = {symbol: number - 1_700 for symbol, number in last.items()}
        minute_us = start_us // 60_000_000 * 60_000_000
        first_us, end_us = minute_us - 200 * 60_000_000, minute_us + 120_000_000
        for number, symbol in ((1, "BTC/USDT"), (2, "ETH/USDT")):
            open_gap(fetch, "trades", (first[symbol], last[symbol]), instrument_id=number)
            times = first_us * 1000, end_us * 1000 - MINUTE
            open_gap(fetch, "candles", times=times, instrument_id=number)
        options = Options(rest_url=venue.rest_url, ws_url=venue.ws_url)
        async with Rest("binance", Limiter(6000)) as rest:
            repair = make_repair(rest, options=options)
            await drain(repair)
        trades = [
            (number, t.time_us * 1000, str(t.id), t.side, t.price, t.amount)
            for number, symbol in ((1, "BTC/USDT"), (2, "ETH/USDT"))
            for t in venue.ledger.trades(symbol, first[symbol], last[symbol])
        ]
        candles = [
            (number, c.open_time_us * 1000, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades)
            for number, symbol in ((1, "BTC/USDT"), (2, "ETH/USDT"))
            for c in venue.ledger.candles(symbol, start_us=first_us, end_us=end_us)
        ]
    nanoseconds = "(extract(epoch FROM time) * 1000000)::bigint * 1000"
    assert (
        fetch(
            f"SELECT instrument_id, {nanoseconds}, trade_id, side::text, price::text, amount::text FROM ingest.trades"
            " ORDER BY instrument_id, trade_id::bigint"
        )
        == trades
    )
    assert (
        fetch(
            f"SELECT instrument_id, {nanoseconds}, open::text, high::text, low::text, close::text, volume::text,"
            " quote_volume::text, trades FROM ingest.candles_1m ORDER BY instrument_id, time"
        )
        == candles
    )
    assert {row[8] for row in gap_rows(fetch)} == {"repaired"}
    assert len(trades) > 3_000


async def test_of_the_latest_trades_alone_no_second_look_is_waited_for(make_repair: MakeRepair) -> None:
    """It would find fewer: what the first one has stored would be called lost by the second."""
    repair = make_repair(History(latest=60))
    assert (repair._tries("forgotten"), repair._tries("skipped")) == (2, 2)
    repair._adapter.history = TradeHistory("recent")
    assert (repair._tries("forgotten"), repair._tries("skipped")) == (1, 2)
