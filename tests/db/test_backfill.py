"""What a backfill plans against what the database holds, and what becomes of its windows."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec import structs

from ingest.backfill.cuts import cut_of
from ingest.backfill.rollups import compress
from ingest.backfill.targets import Target
from ingest.clock import MICROSECOND, MINUTE
from ingest.exchanges.adapter import Options
from ingest.exchanges.binance import Binance
from ingest.records import Instrument
from ingest.repair.repair import Repair
from ingest.store.backfill import Backfills, worker_name
from ingest.store.copy_writer import CopyWriter
from ingest.store.gap_parts import Fetched, Lost
from ingest.store.queue import Job, Queue
from ingest.store.window import Range, Window
from tests.conftest import Fetch
from tests.db.history import Hand, History, at, gap_rows, hurry, job_rows, open_gap, open_of, trade_of
from tests.db.support import DAY, NOON, candle, expected, moment, stored_trades, trade


@pytest.fixture
async def store(database_url: str, instruments: dict[int, Instrument]) -> AsyncIterator[Backfills]:
    async with Backfills(database_url) as made:
        yield made


@pytest.fixture
async def queue(database_url: str, instruments: dict[int, Instrument]) -> AsyncIterator[Queue]:
    async with Queue(database_url, role="test queue") as made:
        yield made


Run = Callable[..., Awaitable[None]]


@pytest.fixture
async def run(instruments: dict[int, Instrument], queue: Queue, writer: CopyWriter, fetch: Fetch) -> Run:
    """Works on the queue until nothing is left, with pages of ten; what is to wait is due at once."""

    async def work_on(history: History, info: bytes = b"{}", *, kept: int | None = None) -> None:
        adapter = Binance({"BTCUSDT": 1}, Options())
        adapter.limits = structs.replace(adapter.limits, trades_page=10, candles_page=10, candles_kept=kept)
        known = {1: structs.replace(instruments[1], info=info)}
        worker = Repair("binance", history, adapter, known, queue, writer, worker_name="a", now=Hand())
        for _ in range(8):
            while await worker.step():
                pass
            hurry(fetch)

    return work_on


def minutes(first: int, end: int) -> Range:
    return Range(1, "candles", open_of(first), open_of(end))


async def plan(store: Backfills, asked: Range, *, page: int = 10, by_id: bool = False) -> int:
    return await store.queue(asked, cut_of(asked, page, by_id=by_id), page=page, by_id=by_id)


async def work(queue: Queue, ranges: list[Range] | None = None) -> Job | None:
    jobs = await queue.claim([1, 2], "a", ranges=ranges)
    return jobs[0] if jobs else None


async def finish(queue: Queue, lost: tuple[Lost, ...] = ()) -> None:
    """Every window that is due, as if all of it but `lost` had come."""
    while (job := await work(queue)) is not None:
        await queue.finish(job, Fetched(1, 0, job.window.from_ns, job.window.to_ns), lost)


def planned(fetch: Fetch) -> list[tuple[int, int]]:
    """First and last minute of every window that waits."""
    rows = fetch(
        "SELECT (extract(epoch FROM from_time) * 1000000)::bigint, (extract(epoch FROM to_time) * 1000000)::bigint"
        " FROM ingest.backfill_jobs WHERE state = 'waiting' ORDER BY job_id"
    )
    return [tuple((time_us * MICROSECOND - NOON) // MINUTE for time_us in row) for row in rows]


async def test_a_range_is_planned_once_and_never_again(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    assert await plan(store, minutes(0, 25)) == 3
    assert planned(fetch) == [(0, 9), (10, 19), (20, 24)]
    assert await plan(store, minutes(0, 25)) == 0
    await finish(queue)
    assert await plan(store, minutes(0, 25)) == 0
    assert await plan(store, minutes(-5, 30)) == 2
    assert planned(fetch) == [(-5, -1), (25, 29)]


async def test_stored_and_collected_minutes_are_not_asked_for(
    fetch: Fetch, store: Backfills, writer: CopyWriter
) -> None:
    await writer.write([candle(time_ns=open_of(minute)) for minute in range(5, 8)])
    half = candle(time_ns=open_of(8), received_ns=open_of(8) + 1)  # received before it was over
    await writer.write([half])
    fetch(
        "UPDATE ingest.streams SET promise = 'grid', covered_from = %s, proved_to = %s"
        " WHERE instrument_id = 1 AND channel = 'candles'",
        *(moment(open_of(20)), moment(open_of(30))),
    )
    assert await plan(store, minutes(0, 32), page=4) == 6
    assert planned(fetch) == [(0, 3), (4, 4), (8, 11), (12, 15), (16, 19), (30, 31)]


async def test_windows_of_longer_candles_say_nothing_of_minutes(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    hours = Range(1, "candles", NOON, NOON + 180 * MINUTE, "1h")
    assert await plan(store, hours) == 1
    await finish(queue)
    assert await plan(store, hours) == 0
    assert fetch("SELECT count(*) FROM market.fetched") == [(0,)]
    assert await plan(store, minutes(0, 10)) == 1
    fetch("INSERT INTO ingest.removals VALUES ('candles_coarse', %s, now())", moment(NOON + 60 * MINUTE))
    assert await plan(store, hours) == 1
    assert await plan(store, hours) == 0  # it waits


async def test_only_windows_of_the_range_are_claimed(store: Backfills, queue: Queue) -> None:
    await plan(store, minutes(0, 10))
    await plan(store, minutes(100, 110))
    job = await work(queue, [minutes(105, 106)])
    assert job is not None
    assert job.window.first == open_of(100)
    assert await work(queue, [minutes(50, 60)]) is None
    assert await work(queue, [Range(1, "candles", open_of(0), open_of(9), "1h")]) is None
    assert await work(queue, [Range(2, "candles", open_of(0), open_of(9))]) is None


async def test_a_window_of_time_is_done_when_all_its_ids_are(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    asked = Range(1, "trades", at(0), at(1_000))
    assert await plan(store, asked, by_id=True) == 1
    job = await work(queue)
    assert job is not None
    assert await queue.cut(job, 101, 125, 10)
    assert not await queue.cut(job, 101, 125, 10)
    assert [row[1:3] for row in job_rows(fetch)[:3]] == [(101, 110), (111, 120), (121, 125)]
    for _ in range(3):
        assert await plan(store, asked, by_id=True) == 0
        assert fetch("SELECT count(*) FROM ingest.backfill_jobs WHERE state = 'cut'") == [(1,)]
        part = await work(queue)
        assert part is not None
        await queue.finish(part, Fetched(10, 0, at(part.window.first), at(part.window.last)))
    assert fetch("SELECT DISTINCT state FROM ingest.backfill_jobs") == [("done",)]
    assert await plan(store, asked, by_id=True) == 0


async def test_a_failed_window_names_no_gap_and_is_tried_by_the_next_plan(
    fetch: Fetch, store: Backfills, queue: Queue
) -> None:
    await plan(store, minutes(0, 10))
    job = await work(queue)
    assert job is not None
    await queue.fail(job, Lost(job.window, "unrecoverable", "refused"))
    assert gap_rows(fetch) == []
    (failed,) = await store.failed([minutes(0, 10)])
    assert (failed.place, failed.error) == (0, "refused")
    assert await plan(store, minutes(0, 10)) == 1
    assert await store.failed([minutes(0, 10)]) == []
    await finish(queue)
    assert await plan(store, minutes(0, 10)) == 0


async def test_what_is_not_to_be_had_is_named_and_not_asked_for_again(
    fetch: Fetch, store: Backfills, queue: Queue
) -> None:
    await plan(store, minutes(0, 10))
    lost = Lost(Window(1, "candles", open_of(3), open_of(4)), "unrecoverable", "unreadable")
    await finish(queue, (lost,))
    assert [(row[6], row[8]) for row in gap_rows(fetch)] == [("backfill", "unrecoverable")]
    assert await plan(store, minutes(0, 10)) == 0


async def test_gaps_that_a_backfill_closes_become_repaired(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    open_gap(fetch, "candles", times=(open_of(2), open_of(4)))
    open_gap(fetch, "candles", times=(open_of(8), open_of(12)))  # reaches beyond what is fetched
    fetch("UPDATE ingest.gaps SET state = 'awaiting_dump', updated_at = now() - INTERVAL '1 hour'")
    await plan(store, minutes(0, 10))
    await finish(queue)
    assert await store.close_gaps([minutes(0, 10)]) == 1
    assert [row[8] for row in gap_rows(fetch)] == ["repaired", "awaiting_dump"]
    assert await store.close_gaps([minutes(0, 10)]) == 0
    assert await plan(store, minutes(0, 10)) == 0


async def test_before_the_first_candle_all_windows_are_done(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    await plan(store, minutes(0, 40))
    job = await work(queue)
    assert job is not None
    await queue.begin_at(job, open_of(25), Fetched(), "the venue's candles begin at 25")
    assert planned(fetch) == [(20, 29), (30, 39)]
    assert fetch("SELECT count(*) FROM ingest.backfill_jobs WHERE state = 'done'") == [(2,)]


async def test_claims_of_ended_processes_are_free_at_once(fetch: Fetch, store: Backfills, queue: Queue) -> None:
    await plan(store, minutes(0, 40))
    host = socket.gethostname()
    workers = (f"{host}:{2**22 + 1} backfill 0", f"{host}:{os.getppid()}", "elsewhere:1", worker_name(1))
    for worker in workers:
        await queue.claim([1], worker)
    assert await store.release_dead() == 2  # the one that does not run, and this process's from before its start
    rows = fetch("SELECT claimed_by FROM ingest.backfill_jobs WHERE state = 'claimed' ORDER BY 1")
    assert sorted(name for (name,) in rows) == sorted(workers[1:3])


async def test_cancelled_windows_are_planned_anew_and_failed_ones_retried(
    fetch: Fetch, store: Backfills, queue: Queue
) -> None:
    await plan(store, minutes(0, 20))
    job = await work(queue)
    assert job is not None
    await queue.fail(job, Lost(job.window, "unrecoverable", "refused"))
    assert await store.cancel([1], "trades") == 0
    assert await store.cancel([1], None) == 1
    (standing,) = await store.standings()
    assert (standing.symbol, standing.failed, standing.cancelled, standing.waiting) == ("BTC/USDT", 1, 1, 0)
    assert await store.retry([1], "candles") == 1
    assert planned(fetch) == [(0, 9)]
    assert await plan(store, minutes(0, 20)) == 1


async def test_ids_in_a_row_that_nobody_vouches_for_are_not_asked_for(
    fetch: Fetch, store: Backfills, writer: CopyWriter
) -> None:
    await writer.write([trade(str(number), time_ns=at(number)) for number in range(100, 160)])
    asked = Range(1, "trades", at(0), at(300))
    assert await plan(store, asked, page=5, by_id=True) == 2
    assert fetch("SELECT from_time, to_time FROM ingest.backfill_jobs ORDER BY job_id") == [
        (moment(at(0)), moment(at(100))),  # others may share the moment of the first
        (moment(at(159)), moment(at(300) - MICROSECOND)),
    ]


@pytest.mark.community
async def test_a_compressed_chunk_is_written_and_compressed_again(
    database_url: str, fetch: Fetch, writer: CopyWriter
) -> None:
    ((now_us,),) = fetch("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
    old = (now_us * MICROSECOND - 60 * DAY) // DAY * DAY
    await writer.write([candle(time_ns=old + minute * MINUTE) for minute in range(0, 3_000, 2)], staged=True)
    asked = Range(1, "candles", old, old + 3_000 * MINUTE)
    target = Target("binance", "BTC/USDT", asked)
    assert await compress(database_url, [target]) == 1
    assert await compress(database_url, [target]) == 0
    written = await writer.write([candle(time_ns=old + minute * MINUTE) for minute in range(1_000)], staged=True)
    assert (written.stored, written.duplicate) == (500, 500)
    assert await compress(database_url, [target]) == 1
    states = fetch("SELECT DISTINCT _timescaledb_functions.chunk_status(c) FROM show_chunks('ingest.candles_1m') AS c")
    assert states == [(1,)]
    assert fetch("SELECT count(*) FROM ingest.candles_1m") == [(2_000,)]


def outcome(fetch: Fetch) -> list[tuple[object, ...]]:
    return fetch("SELECT state, error FROM ingest.backfill_jobs ORDER BY job_id")


async def test_a_range_before_the_first_candle_is_done_and_said_so(fetch: Fetch, store: Backfills, run: Run) -> None:
    history = History(minutes=range(-75, 0))
    await plan(store, minutes(-140, -70))
    await run(history)
    remark = "the venue's candles begin at 2026-11-21 10:45"
    assert outcome(fetch) == [("done", remark)] * 7
    assert fetch("SELECT count(*) FROM ingest.candles_1m") == [(5,)]
    assert gap_rows(fetch) == []
    assert len(history.requests) == 12  # the first window and the one with the first candle: thrice each, and twice


async def test_a_venue_that_keeps_the_latest_alone_has_forgotten_it(fetch: Fetch, store: Backfills, run: Run) -> None:
    await plan(store, minutes(-140, -130))
    await run(History(minutes=range(-75, 0)), kept=720)
    assert outcome(fetch) == [("done", None)]
    assert [(row[6], row[8]) for row in gap_rows(fetch)] == [("backfill", "awaiting_dump")]


async def test_an_empty_page_behind_others_is_a_market_without_trades(fetch: Fetch, store: Backfills, run: Run) -> None:
    history = History(minutes=range(-200, -141))
    await plan(store, minutes(-140, -130))
    await run(history)
    assert outcome(fetch) == [("done", "nothing was traded")]
    assert sum(first == -140 for _, first, _ in history.requests) == 3


async def test_a_market_that_was_quiet_for_longer_than_a_page_does_not_begin_behind_it(
    fetch: Fetch, store: Backfills, run: Run
) -> None:
    """Else windows before it that wait to be tried again would be called done."""
    history = History(minutes=(-140, -139, *range(-75, 0)))
    history.hours = [-180]
    await plan(store, minutes(-140, -70))
    await run(history)
    assert outcome(fetch) == [("done", None)] * 7
    assert fetch("SELECT count(*) FROM ingest.candles_1m") == [(7,)]


async def test_an_empty_page_before_the_listing_is_told_from_one_that_nothing_explains(
    fetch: Fetch, store: Backfills, run: Run
) -> None:
    listed_ms = open_of(-100) // 1_000_000
    await plan(store, minutes(-140, -130))
    await run(History(), b'{"launchTime": "%d"}' % listed_ms)
    assert outcome(fetch) == [("done", "before its listing, 2026-11-21 10:20")]
    await plan(store, minutes(-100, -90))
    await run(History(), b'{"launchTime": "%d"}' % listed_ms)
    assert outcome(fetch)[1] == ("failed", "the venue gave an empty page 3 times, and one before it")
    assert gap_rows(fetch) == []


async def test_trades_of_a_time_are_found_cut_and_fetched(fetch: Fetch, store: Backfills, run: Run) -> None:
    asked = Range(1, "trades", at(11), at(36))
    assert await plan(store, asked, by_id=True) == 1
    await run(History(latest=60))
    assert stored_trades(fetch) == expected(*map(trade_of, range(11, 36)))
    assert fetch("SELECT state, count(*) FROM ingest.backfill_jobs GROUP BY 1") == [("done", 4)]
    assert fetch(
        "SELECT grade FROM market.coverage('binance', 'BTC/USDT', 'trades', %s, %s)", moment(at(11)), moment(at(36))
    ) == [("proved",)]
    assert await plan(store, asked, by_id=True) == 0
