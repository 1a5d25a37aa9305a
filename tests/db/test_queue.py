"""The queue of windows: who gets which, what becomes of their gaps, and what a crash or a race may not change."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from ingest.errors import Retryable
from ingest.records import Instrument
from ingest.store.gap_parts import Fetched, Lost, Repaired, Settled
from ingest.store.queue import Count, Job, Planned, Queue
from ingest.store.window import Window
from tests.conftest import Fetch
from tests.db.history import at, gap_row, gap_rows, job_rows, open_gap, open_of, order, rollup_changes
from tests.db.support import Proxy, moment

MakeQueue = Callable[..., Queue]

TEN = 10


@pytest.fixture
async def make_queue(database_url: str, instruments: dict[int, Instrument]) -> AsyncIterator[MakeQueue]:
    made: list[Queue] = []

    def make(url: str = database_url) -> Queue:
        made.append(Queue(url, role=f"test queue {len(made)}"))
        return made[-1]

    yield make
    for queue in made:
        await queue.close()


@pytest.fixture
def queue(make_queue: MakeQueue) -> Queue:
    return make_queue()


def tens(span: Window) -> Sequence[Window]:
    """Windows of ten ids."""
    firsts = range(span.first, span.last + 1, TEN)
    return [
        Window(span.instrument_id, span.channel, span.from_ns, span.to_ns, n, min(n + 9, span.last)) for n in firsts
    ]


def ids(first: int, last: int, *, instrument_id: int = 1) -> Window:
    return Window(instrument_id, "trades", at(first - 1), at(last + 1), first, last)


def fetched(window: Window) -> Fetched:
    """As if all of it had come."""
    return Fetched(window.last - window.first + 1, 0, at(window.first), at(window.last))


async def claim(queue: Queue, worker: str = "a", count: int = 1) -> list[Job]:
    return await queue.claim([1, 2], worker, count=count)


async def test_a_gap_is_planned_once_however_many_ask(fetch: Fetch, make_queue: MakeQueue) -> None:
    open_gap(fetch, "trades", (11, 40))
    open_gap(fetch, "trades", (11, 25), instrument_id=2)
    answers = await asyncio.gather(*(make_queue().take_gaps([1, 2], tens) for _ in range(4)))
    planned = sorted((each for gaps, _ in answers for each in gaps), key=lambda each: each.span.instrument_id)
    assert planned == [Planned(ids(11, 40), 3), Planned(ids(11, 25, instrument_id=2), 2)]
    assert all(settled == Settled([], []) for _, settled in answers)
    assert [row[1:3] for row in job_rows(fetch)] == [(11, 20), (11, 20), (21, 30), (21, 25), (31, 40)]
    assert [row[8] for row in gap_rows(fetch)] == ["repairing", "repairing"]


async def test_windows_are_claimed_by_one_repairs_first_then_the_oldest(fetch: Fetch, make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    await order(first, [ids(901, 910), ids(911, 920)])
    open_gap(fetch, "trades", (11, 30))
    await first.take_gaps([1], tens)
    got = [await claim(queue, name) for queue, name in ((first, "a"), (second, "b"), (second, "b"), (first, "a"))]
    assert [(job.purpose, job.window.from_id, job.worker) for (job,) in got] == [
        ("repair", 11, "a"),
        ("repair", 21, "b"),
        ("backfill", 901, "b"),
        ("backfill", 911, "a"),
    ]
    assert await claim(first) == []
    assert await first.claim([2], "a") == []


async def test_a_purpose_and_an_instrument_can_be_asked_for(fetch: Fetch, queue: Queue) -> None:
    await order(queue, [ids(901, 910), ids(1, 10, instrument_id=2)])
    open_gap(fetch, "trades", (11, 20))
    await queue.take_gaps([1], tens)
    (job,) = await queue.claim([1], "a", purposes=("backfill",), count=9)
    assert job.window == ids(901, 910)
    (job,) = await queue.claim([2], "a", count=9)
    assert job.window == ids(1, 10, instrument_id=2)


async def test_workers_that_claim_at_once_get_different_windows(make_queue: MakeQueue) -> None:
    queues = [make_queue() for _ in range(4)]
    await order(queues[0], [ids(n, n) for n in range(1, 101)])
    got = await asyncio.gather(*(claim(queue, str(n), 7) for n, queue in enumerate(queues * 4)))
    firsts = [job.window.first for jobs in got for job in jobs]
    assert sorted(firsts) == list(range(1, 101))


async def test_a_claim_lasts_until_it_expires_and_can_be_made_longer(make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    await order(first, [ids(1, 10)])
    (job,) = await first.claim([1], "a", seconds=-1)
    assert await first.extend(job, 100)
    assert await claim(second, "b") == []
    assert await first.extend(job, -1)
    (taken,) = await claim(second, "b")
    assert taken.job_id == job.job_id
    assert not await first.extend(job, 100)


async def test_a_claim_is_kept_while_the_work_lasts_and_not_behind_it(fetch: Fetch, make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    await order(first, [ids(1, 10)])
    (job,) = await first.claim([1], "a", seconds=100)
    fetch("UPDATE ingest.backfill_jobs SET claimed_until = now()")
    async with first.keep(job, 0.4):
        while fetch("SELECT claimed_until < now() FROM ingest.backfill_jobs") == [(True,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    fetch("UPDATE ingest.backfill_jobs SET claimed_until = now() - INTERVAL '1 second'")
    (taken,) = await claim(second, "b")
    assert await first.finish(job, Fetched()) is None
    assert await second.finish(taken, Fetched()) is not None


async def test_who_has_lost_its_claim_changes_nothing(fetch: Fetch, make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    open_gap(fetch, "trades", (11, 20))
    await first.take_gaps([1], tens)
    (job,) = await first.claim([1], "a", seconds=-1)
    (taken,) = await claim(second, "b")
    before = job_rows(fetch), gap_rows(fetch)
    lost = Lost(job.window, "unrecoverable", "no")
    assert await first.finish(job, fetched(job.window), [lost]) is None
    assert await first.fail(job, lost) is None
    assert await first.advance(job, ids(15, 20), Fetched(), seconds=1, error="no") is None
    await first.postpone(job, 5, "no", counted=True)
    await first.release(job)
    assert (job_rows(fetch), gap_rows(fetch)) == before
    assert rollup_changes(fetch) == []
    assert await second.finish(taken, fetched(taken.window)) == Settled(
        [Repaired(ids(11, 20), "disconnect", 10, 0)], []
    )


async def test_finishing_twice_is_finishing_once(fetch: Fetch, queue: Queue) -> None:
    open_gap(fetch, "trades", (11, 20))
    await queue.take_gaps([1], tens)
    (job,) = await claim(queue)
    await queue.finish(job, fetched(job.window))
    assert await queue.finish(job, fetched(job.window)) is None
    assert gap_rows(fetch) == [gap_row("trades", (11, 20), (at(10), at(21)), "repaired")]


async def test_the_last_two_windows_ending_at_once_close_the_gap(fetch: Fetch, make_queue: MakeQueue) -> None:
    queues = [make_queue() for _ in range(4)]
    for round_ in range(10):
        first = 1_000 * (round_ + 1)
        open_gap(fetch, "trades", (first, first + 39))
        await queues[0].take_gaps([1], tens)
        jobs = [(await claim(queue, str(n)))[0] for n, queue in enumerate(queues)]
        ends = zip(queues, jobs, strict=True)
        ended = await asyncio.gather(*(queue.finish(job, fetched(job.window)) for queue, job in ends))
        assert [each.repaired for each in ended if each and each.repaired] == [
            [Repaired(ids(first, first + 39), "disconnect", 40, 0)]
        ]


async def test_a_window_given_back_is_due_when_it_was_said(fetch: Fetch, queue: Queue) -> None:
    await order(queue, [ids(1, 10)])
    (job,) = await claim(queue)
    await queue.postpone(job, 30, "later", counted=True)
    assert await claim(queue) == []
    ((delay, attempts, error),) = fetch(
        "SELECT extract(epoch FROM not_before - now())::float8, attempts, error FROM ingest.backfill_jobs"
    )
    assert 29 < delay <= 30
    assert (attempts, error) == (1, "later")
    fetch("UPDATE ingest.backfill_jobs SET not_before = now()")
    (job,) = await claim(queue)
    assert job.attempts == 1
    await queue.release(job)
    (job,) = await claim(queue)
    assert job.attempts == 1


async def test_windows_beside_one_learn_its_times(fetch: Fetch, queue: Queue) -> None:
    open_gap(fetch, "trades", (11, 40))
    await queue.take_gaps([1], tens)
    _, middle, _ = await claim(queue, count=3)
    await queue.finish(middle, fetched(middle.window))
    assert [row[1:6] for row in job_rows(fetch)] == [
        (11, 20, moment(at(10)), moment(at(21)), "claimed"),
        (21, 30, moment(at(21)), moment(at(30)), "done"),
        (31, 40, moment(at(30)), moment(at(41)), "claimed"),
    ]


async def test_what_is_lost_within_a_window_is_cut_out_of_its_gap(fetch: Fetch, queue: Queue) -> None:
    open_gap(fetch, "trades", (11, 40))
    await queue.take_gaps([1], tens)
    first, second, third = await claim(queue, count=3)
    lost = Lost(ids(24, 26), "unrecoverable", "skipped")
    assert await queue.finish(second, Fetched(7, 0, at(21), at(30)), [lost]) == Settled([], [lost])
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 23), (at(10), at(23)), "repairing"),
        gap_row("trades", (24, 26), (at(23), at(27)), "unrecoverable", "skipped"),
        gap_row("trades", (27, 40), (at(27), at(41)), "repairing"),
    ]
    assert await queue.finish(first, fetched(first.window)) == Settled(
        [Repaired(Window(1, "trades", at(10), at(23), 11, 23), "disconnect", 17, 0)], []
    )
    assert await queue.finish(third, fetched(third.window)) == Settled(
        [Repaired(Window(1, "trades", at(27), at(41), 27, 40), "disconnect", 10, 0)], []
    )
    assert [(row[4:6], row[8]) for row in gap_rows(fetch)] == [
        ((11, 23), "repaired"),
        ((24, 26), "unrecoverable"),
        ((27, 40), "repaired"),
    ]


async def test_a_failed_window_of_candles_is_cut_out_by_time(fetch: Fetch, queue: Queue) -> None:
    open_gap(fetch, "candles", times=(open_of(0), open_of(8)))

    def threes(span: Window) -> Sequence[Window]:
        return [Window(1, "candles", open_of(n), open_of(n + 2)) for n in (0, 3, 6)]

    await queue.take_gaps([1], threes)
    _, second, _ = await claim(queue, count=3)
    lost = Lost(second.window, "unrecoverable", "refused")
    assert await queue.fail(second, lost) == Settled([], [lost])
    assert gap_rows(fetch) == [
        gap_row("candles", None, (open_of(0), open_of(2)), "repairing"),
        gap_row("candles", None, (open_of(3), open_of(5)), "unrecoverable", "refused"),
        gap_row("candles", None, (open_of(6), open_of(8)), "repairing"),
    ]
    assert [(row[5], row[9]) for row in job_rows(fetch)] == [
        ("claimed", None),
        ("failed", "refused"),
        ("claimed", None),
    ]
    assert fetch(
        "SELECT j.from_time, g.from_time, g.state FROM ingest.backfill_jobs j JOIN ingest.gaps g USING (gap_id)"
        " ORDER BY 1"
    ) == [
        (moment(open_of(0)), moment(open_of(0)), "repairing"),
        (moment(open_of(3)), moment(open_of(0)), "repairing"),
        (moment(open_of(6)), moment(open_of(6)), "repairing"),
    ]


async def test_what_is_forgotten_takes_the_windows_of_others_with_it(fetch: Fetch, make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    open_gap(fetch, "trades", (11, 60))
    await first.take_gaps([1], tens)
    (mine,) = await claim(first, "a")
    theirs, straddling = await claim(second, "b", 2)
    lost = Lost(Window(1, "trades", at(10), at(36), 11, 35), "awaiting_dump", "forgotten")
    assert await first.finish(mine, Fetched(), [lost]) == Settled([], [lost])
    assert await second.finish(theirs, fetched(theirs.window)) is None  # it was dropped
    named = Lost(Window(1, "trades", at(30), at(36), 31, 35), "awaiting_dump", "forgotten")  # known by now
    assert await second.finish(straddling, Fetched(5, 0, at(36), at(40)), [named]) == Settled([], [])
    assert gap_rows(fetch) == [
        gap_row("trades", (11, 35), (at(10), at(36)), "awaiting_dump", "forgotten"),
        gap_row("trades", (36, 60), (at(36), at(61)), "repairing"),
    ]
    assert [(row[1], row[2], row[5]) for row in job_rows(fetch)] == [
        (11, 20, "done"),
        (21, 30, "cancelled"),
        (36, 40, "done"),
        (41, 50, "waiting"),
        (51, 60, "waiting"),
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_lost_in_whatever_order_gaps_tell_exactly_that(
    fetch: Fetch, make_queue: MakeQueue, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    queue, last = make_queue(), 100
    gone = {number for number in range(1, last + 1) if chance.random() < 0.15}
    open_gap(fetch, "trades", (1, last))
    await queue.take_gaps([1], tens)
    jobs = await claim(queue, count=100)
    while jobs:
        job = jobs.pop(chance.randrange(len(jobs)))
        window = job.window
        stop = chance.randint(window.first, window.last)  # up to here it answers
        missing = [number for number in range(window.first, stop + 1) if number in gone]
        lost = [Lost(ids(number, number), "unrecoverable", "gone") for number in missing]
        times = Fetched(stop + 1 - window.first - len(missing), 0, at(window.first), at(stop))
        if stop == window.last:
            assert await queue.finish(job, times, lost) is not None
            continue
        rest = Window(1, "trades", at(stop), window.to_ns, stop + 1, window.last)
        assert await queue.advance(job, rest, times, lost, seconds=0, error="trails") is not None
        jobs += await claim(queue)
    rows = [(row[4], row[5], row[8]) for row in gap_rows(fetch)]
    assert [number for first, end, _ in rows for number in range(first, end + 1)] == list(range(1, last + 1))
    named = {number for first, end, state in rows for number in range(first, end + 1) if state == "unrecoverable"}
    assert named == gone
    assert {state for *_, state in rows} <= {"repaired", "unrecoverable"}
    assert sum(row[7] for row in job_rows(fetch)) == last - len(gone)


async def test_counts_tell_what_waits_and_for_how_long(fetch: Fetch, queue: Queue) -> None:
    await order(queue, [ids(1, 10), ids(11, 20), ids(21, 30)])
    open_gap(fetch, "trades", (51, 60))
    await queue.take_gaps([1], tens)
    repair, backfill = await claim(queue, count=2)
    await queue.finish(repair, fetched(repair.window))
    await queue.finish(backfill, fetched(backfill.window))
    fetch("UPDATE ingest.backfill_jobs SET created_at = now() - INTERVAL '1 hour'")
    counts = await queue.counts()
    assert [(each.purpose, each.state, each.jobs) for each in counts] == [
        ("repair", "done", 1),
        ("backfill", "done", 1),
        ("backfill", "waiting", 2),
    ]
    assert counts[0] == Count("repair", "done", 1, None)
    assert counts[2].waiting_seconds == pytest.approx(3600, abs=30)


async def test_a_database_that_is_away_is_retryable_and_found_again(
    fetch: Fetch, make_queue: MakeQueue, proxy: Proxy
) -> None:
    queue = make_queue(proxy.url)
    await order(queue, [ids(1, 10)])
    proxy.refuse()
    with pytest.raises(Retryable):
        await claim(queue)
    proxy.accept()
    (job,) = await claim(queue)
    assert job.window == ids(1, 10)
