"""The pipeline over a real spool, with a database that fails, stalls and is slow on command: nothing is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from ingest.clock import SECOND
from ingest.errors import Fatal, Retryable
from ingest.pipeline import pipeline as pipeline_module
from ingest.pipeline.batch import Batch
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.spool import Spool, SpoolError, SpoolFull
from ingest.records import Gap, Item, Mark, Record, Trade
from ingest.retry import Backoff
from ingest.store.copy_writer import CopyWriter, Written
from tests.db.support import NOON, trades

pytestmark = pytest.mark.timeout(60)

MANY = 100_000_000
SMALL = Limits(max_rows=50, max_age_ns=5_000_000)
WRITERS = 2
STREAMS = (1, 2, 3)


class Database:
    """What is stored by key, in the order in which it first came. It holds every mark to what is stored below it."""

    def __init__(self) -> None:
        self.stored: dict[tuple[int, int], Trade] = {}
        self.gaps: dict[Gap, None] = {}
        self.marks: dict[int, int] = {}
        self.given = 0  # rows, each time that they came
        self.lost: set[tuple[int, int]] = set()  # what may be missing below a mark
        self.away = False
        self.delay_seconds = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.writing = 0

    def take(self, records: Sequence[Record], gaps: Sequence[Gap], marks: Sequence[Mark]) -> Written:
        before = len(self.stored)
        for record in records:
            assert isinstance(record, Trade)
            self.stored.setdefault((record.instrument_id, int(record.trade_id)), record)
        self.given += len(records)
        self.gaps.update(dict.fromkeys(gaps))
        for mark in marks:
            assert mark.id is not None
            below = {(mark.instrument_id, number) for number in range(1, mark.id + 1)}
            assert below <= self.stored.keys() | self.lost
            self.marks[mark.instrument_id] = max(mark.id, self.marks.get(mark.instrument_id, 0))
        new = len(self.stored) - before
        return Written(new, len(records) - new, 0)

    def ids(self, instrument_id: int = 1) -> list[int]:
        return [number for stream, number in self.stored if stream == instrument_id]


class Writer:
    """One connection to it, in place of a `CopyWriter`."""

    def __init__(self, database: Database, chance: random.Random | None = None) -> None:
        self._database = database
        self._chance = chance

    async def write(
        self, records: Sequence[Record], *, gaps: Sequence[Gap] = (), marks: Sequence[Mark] = (), staged: bool = False
    ) -> Written:
        assert not staged
        database = self._database
        database.writing += 1
        try:
            await asyncio.sleep(database.delay_seconds)
            await database.open.wait()
            if database.away:
                raise Retryable("away")
            if self._chance is not None and self._chance.random() < 0.3:
                if self._chance.random() < 0.5:
                    database.take(records, gaps, marks)  # committed, and the answer is lost
                raise Retryable("the line broke")
            return database.take(records, gaps, marks)
        finally:
            database.writing -= 1

    async def close(self) -> None:
        return


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_SPILL_SECONDS", 0.002), ("_FULL_SECONDS", 0.01), ("_BLOCKED_SECONDS", 0.005)):
        monkeypatch.setattr(pipeline_module, name, seconds)


class Bench:
    """A pipeline on a spool in `folder`, delivering."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        writers: int = WRITERS,
        limits: Limits = SMALL,
        max_rows: int = 100_000,
        spool_bytes: int = MANY,
        chance: random.Random | None = None,
    ) -> None:
        self.spool = Spool.open(folder, spool_bytes, writers=writers)
        made = [Writer(database, chance) for _ in range(writers)]
        self.pipeline = Pipeline(cast("list[CopyWriter]", made), limits, queue_max_rows=max_rows, spool=self.spool)
        for lane in self.pipeline._lanes:
            lane.backoff = Backoff(first_seconds=0.004, cap_seconds=0.02)
        self.deliveries: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        """Closed when the block ends, and waited for until all is delivered or on disk."""
        pipeline = self.pipeline
        self.deliveries = [asyncio.create_task(pipeline.deliver(lane)) for lane in range(len(pipeline._lanes))]
        helpers = [asyncio.create_task(pipeline.seal_by_age()), asyncio.create_task(pipeline.spill_over())]
        try:
            yield pipeline
            pipeline.close()
            async with asyncio.timeout(60):
                await asyncio.gather(*self.deliveries)
        finally:
            for task in (*helpers, *self.deliveries):
                task.cancel()
            await asyncio.gather(*helpers, *self.deliveries, return_exceptions=True)
            if pipeline._disk is not None:
                pipeline._disk.shutdown()
            self.spool.close()
        assert [helper.exception() for helper in helpers if not helper.cancelled()] in ([], [None])


def some(first: int, last: int, streams: Sequence[int] = STREAMS) -> list[Item]:
    """Trades of each stream with these ids, and a mark at the last."""
    items: list[Item] = []
    for stream in streams:
        items += trades(last - first + 1, first=first, instrument_id=stream)
        items.append(Mark(stream, "trades", last, NOON, NOON, NOON))
    return items


def assert_whole(database: Database, last: int, streams: Sequence[int] = STREAMS) -> None:
    """Every trade is stored, each stream's in order, and marked."""
    for stream in streams:
        assert database.ids(stream) == list(range(1, last + 1))
    assert [database.stored[key] for key in sorted(database.stored)] == [
        row for stream in streams for row in trades(last, instrument_id=stream)
    ]
    assert database.marks == dict.fromkeys(streams, last)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.001)


async def test_what_a_database_takes_at_once_does_not_touch_the_disk(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        for first in range(1, 1000, 100):
            pipeline.put(some(first, first + 99))
            await asyncio.sleep(0.001)
    assert_whole(database, 1000)
    assert (pipeline.counts.spooled, pipeline.held_rows, database.given) == (0, 0, 3000)


# Away


async def test_away_at_the_start_and_back(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        for first in range(1, 1000, 100):
            pipeline.put(some(first, first + 99))
            await asyncio.sleep(0.002)
        await until(lambda: pipeline.held_rows == 0)
        assert pipeline.counts.spooled == bench.spool.rows == 3000
        database.away = False
        await until(lambda: len(database.stored) == 3000)
        await until(lambda: bench.spool.batches == 0)
        pipeline.put(some(1001, 1100))
    assert_whole(database, 1100)
    assert pipeline.counts.stored == 3300
    assert pipeline.counts.spooled == 3000  # the last ones went straight


async def test_away_in_mid_stream_again_and_again(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        for round_ in range(40):
            database.away = round_ % 8 in (3, 4, 5)
            pipeline.put(some(round_ * 50 + 1, round_ * 50 + 50))
            await asyncio.sleep(0.004)
        await until(lambda: len(database.stored) == 6_000)
    assert_whole(database, 2000)
    assert pipeline.counts.spooled > 0


async def test_new_rows_wait_behind_those_on_disk(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        pipeline.put(some(1, 500))
        await until(lambda: pipeline.held_rows == 0)
        database.delay_seconds, database.away = 0.005, False
        for first in range(501, 1000, 50):
            pipeline.put(some(first, first + 49))
            await asyncio.sleep(0.005)
        await until(lambda: len(database.stored) == 3_000)
    assert_whole(database, 1000)


async def test_notes_without_rows_wait_in_order_too(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    gaps = [Gap(1, "trades", f"cause {number}", NOON, opened_ns=NOON) for number in range(30)]
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        for number, gap in enumerate(gaps):
            pipeline.put([gap] if number % 3 else [*trades(1, first=number // 3 + 1), gap])
            await asyncio.sleep(0.002)
        await until(lambda: bench.spool.batches > 5 and pipeline.held_rows == 0)
        database.away = False
        await until(lambda: len(database.gaps) == 30)
    assert list(database.gaps) == gaps
    assert database.ids() == list(range(1, 11))


async def test_what_waiting_will_not_mend_is_kept_all_the_same(tmp_path: Path) -> None:
    database = Database()
    take = database.take

    def refuse(*_: object) -> Written:
        raise Fatal("no such table")

    bench = Bench(tmp_path, database)
    with capture_logs() as logs:
        async with bench.running() as pipeline:
            database.take = refuse  # type: ignore[method-assign,assignment]
            pipeline.put(some(1, 200))
            await until(lambda: bench.spool.rows == 600)
            database.take = take  # type: ignore[method-assign]
            await until(lambda: len(database.stored) == 600)
    assert {entry["log_level"] for entry in logs if entry["event"] == "database.retry"} == {"error"}
    assert_whole(database, 200)


# Slow


async def test_what_a_slow_database_does_not_keep_up_with_goes_to_disk(tmp_path: Path) -> None:
    database = Database()
    database.delay_seconds = 0.003
    bench = Bench(tmp_path, database, max_rows=1_000)
    async with bench.running() as pipeline:
        for first in range(1, 6000, 50):
            pipeline.put(some(first, first + 49))
            await pipeline.room()
            await asyncio.sleep(0.0005)
        assert pipeline.counts.spooled > 0
    assert_whole(database, 6000)
    assert database.given <= 18_000 * 1.2  # but few came twice: of those that were on their way when they were spilled


async def test_a_batch_that_was_spilled_while_it_was_written_is_not_written_again(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database, writers=1, max_rows=200)
    async with bench.running() as pipeline:
        database.open.clear()
        pipeline.put(some(1, 50, (1,)))
        await until(lambda: database.writing == 1)
        pipeline.put(some(51, 200, (1,)))
        await until(lambda: bench.spool.rows == 200 and pipeline.held_rows == 0)
        database.open.set()
    assert_whole(database, 200, (1,))
    assert database.given == 200


async def test_a_batch_that_was_spilled_while_it_failed_comes_from_disk(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database, writers=1, max_rows=200)
    async with bench.running() as pipeline:
        database.open.clear()
        pipeline.put(some(1, 50, (1,)))
        await until(lambda: database.writing == 1)
        pipeline.put(some(51, 200, (1,)))
        await until(lambda: bench.spool.rows == 200)
        database.away = True
        database.open.set()
        await until(lambda: pipeline._lanes[0].away)
        database.away = False
        await until(lambda: len(database.stored) == 200)
    assert_whole(database, 200, (1,))


async def test_batches_that_are_written_while_they_are_being_spilled_cost_no_other(tmp_path: Path) -> None:
    """The disk is slow: what is on its way there is committed meanwhile, and what comes behind it must stay."""
    database = Database()
    bench = Bench(tmp_path, database, writers=1, max_rows=1_000)
    append, appending = bench.spool.append, []

    def slowly(batches: Sequence[Batch]) -> None:
        appending.append(len(batches))
        time.sleep(0.05)
        append(batches)

    bench.spool.append = slowly  # type: ignore[method-assign]
    async with bench.running() as pipeline:
        database.open.clear()
        pipeline.put(some(1, 1_000, (1,)))
        await until(lambda: bool(appending))
        database.open.set()
        pipeline.put(some(1_001, 2_000, (1,)))
        await until(lambda: len(database.stored) >= 400)
        pipeline.put(some(2_001, 3_000, (1,)))
    assert_whole(database, 3_000, (1,))
    assert pipeline.held_rows == 0


# The bounds


async def test_a_full_spool_holds_intake_until_there_is_room(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database, max_rows=1_000, spool_bytes=700_000)
    with capture_logs() as logs:
        async with bench.running() as pipeline:
            last = 0
            waiting: list[asyncio.Future[None]] = []
            while not waiting:
                pipeline.put(some(last + 1, last + 50))
                last += 50
                await asyncio.sleep(0.002)
                if pipeline.full and any(entry["event"] == "spool.refuses" for entry in logs):
                    waiting = [asyncio.ensure_future(pipeline.room()) for _ in range(3)]
                    await asyncio.sleep(0.1)
                    if any(task.done() for task in waiting):  # a smaller batch found room on disk
                        await asyncio.gather(*waiting)
                        waiting = []
            assert bench.spool.bytes <= 700_000
            assert not any(task.done() for task in waiting)
            database.away = False
            async with asyncio.timeout(30):
                await asyncio.gather(*waiting)
            pipeline.put(some(last + 1, last + 50))
            last += 50
    assert_whole(database, last)
    assert pipeline.held_rows == 0


async def test_a_spool_that_cannot_be_written_leaves_all_in_memory(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database)

    def broken(_: object) -> None:
        raise SpoolError("no space left on the device")

    bench.spool.append = broken  # type: ignore[method-assign,assignment]
    async with bench.running() as pipeline:
        pipeline.put(some(1, 300))
        await asyncio.sleep(0.05)
        assert pipeline.held_rows == 900
        database.away = False
        await until(lambda: len(database.stored) == 900)
    assert_whole(database, 300)
    assert pipeline.counts.spooled == 0


@contextmanager
def unreadable(spool: Spool) -> Iterator[None]:
    """The disk fails whoever asks what waits there."""
    oldest = spool.oldest

    def broken(_: int) -> None:
        raise SpoolError("input/output error")

    spool.oldest = broken  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        spool.oldest = oldest  # type: ignore[method-assign]


async def test_a_spool_that_cannot_be_read_for_a_while_loses_nothing(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        pipeline.put(some(1, 300))
        await until(lambda: bench.spool.rows == 900)
        with unreadable(bench.spool):
            database.away = False
            pipeline.put(some(301, 400))
            await asyncio.sleep(0.05)
            assert len(database.stored) <= 50 * WRITERS  # what was on its way
        await until(lambda: len(database.stored) == 1_200)
    assert_whole(database, 400)


async def test_a_spool_that_cannot_be_read_as_a_spilled_batch_is_committed(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database, writers=1, max_rows=200)
    async with bench.running() as pipeline:
        database.open.clear()
        pipeline.put(some(1, 200, (1,)))
        await until(lambda: bench.spool.rows == 200)
        with unreadable(bench.spool):
            database.open.set()
            await until(lambda: len(database.stored) >= 50)
            await asyncio.sleep(0.03)
    assert_whole(database, 200, (1,))


# The end, and the next start


async def test_closing_while_the_database_is_away_leaves_all_on_disk_for_the_next_start(tmp_path: Path) -> None:
    database = Database()
    bench = Bench(tmp_path, database)
    async with bench.running() as pipeline:
        pipeline.put(some(1, 100))
        await until(lambda: len(database.stored) == 300)
        database.away = True
        pipeline.put(some(101, 420))
    assert pipeline.held_rows == 0
    assert len(database.stored) == 300
    assert Spool.inspect(tmp_path).rows == 960
    database.away = False
    again = Bench(tmp_path, database)
    async with again.running() as pipeline:
        pipeline.put(some(421, 500))
    assert_whole(database, 500)
    assert pipeline.held_rows == 0
    assert Spool.inspect(tmp_path).batches == 0


async def test_closing_at_once_delivers_what_the_last_run_left(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    async with Bench(tmp_path, database).running() as pipeline:
        pipeline.put(some(1, 500))
    database.away = False
    async with Bench(tmp_path, database).running():
        pass
    assert_whole(database, 500)


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (3, 2), (2, 5)])
async def test_another_number_of_writers_keeps_each_stream_in_order(tmp_path: Path, before: int, after: int) -> None:
    database, streams = Database(), (1, 2, 3, 4, 5, 6)
    database.away = True
    async with Bench(tmp_path, database, writers=before).running() as pipeline:
        for first in range(1, 500, 20):
            pipeline.put(some(first, first + 19, streams))
            await asyncio.sleep(0.001)
    assert Spool.inspect(tmp_path).rows == 3000
    database.away = False
    async with Bench(tmp_path, database, writers=after).running() as pipeline:
        for first in range(501, 700, 20):
            pipeline.put(some(first, first + 19, streams))
            await asyncio.sleep(0.002)
        await until(lambda: len(database.stored) == 4_200)
    assert_whole(database, 700, streams)


async def test_another_number_of_writers_and_away_again(tmp_path: Path) -> None:
    """What waits for lane 0 and what came since: all of it is on disk when the lanes end."""
    database, streams = Database(), (1, 2, 3, 4, 5, 6)
    database.away = True
    for writers, first in ((3, 1), (2, 101), (4, 201)):
        async with Bench(tmp_path, database, writers=writers).running() as pipeline:
            pipeline.put(some(first, first + 99, streams))
            await asyncio.sleep(0.02)
        assert pipeline.held_rows == 0
    database.away = False
    async with Bench(tmp_path, database, writers=1).running():
        pass
    assert_whole(database, 300, streams)


async def test_the_end_of_patience_puts_the_rest_on_disk(tmp_path: Path) -> None:
    """As the daemon does: delivery is cancelled in the middle of a batch, and what is left is spilled."""
    database = Database()
    bench = Bench(tmp_path, database)
    database.open.clear()
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - what ends the block is what is awaited at its end
        async with bench.running() as pipeline:
            pipeline.put(some(1, 500))
            await until(lambda: database.writing > 0)
            pipeline.close()
            for delivery in bench.deliveries:
                delivery.cancel()
            await pipeline.spill_rest()
            assert pipeline.held_rows == 0
    database.open.set()
    async with Bench(tmp_path, database).running():
        pass
    assert_whole(database, 500)


async def test_the_end_of_patience_with_a_full_spool_says_what_is_lost(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database, spool_bytes=300_000)
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - what ends the block is what is awaited at its end
        async with bench.running() as pipeline:
            pipeline.put(some(1, 5_000))
            await asyncio.sleep(0.05)
            pipeline.close()
            for delivery in bench.deliveries:
                delivery.cancel()
            await pipeline.spill_rest()
            assert 0 < pipeline.held_rows < 15_000
            assert pipeline.held_rows + bench.spool.rows >= 15_000


async def test_a_full_spool_at_the_end_and_the_database_is_back(tmp_path: Path) -> None:
    """A lane that could not put its last rows on disk goes on asking the database too."""
    database = Database()
    database.away = True
    bench = Bench(tmp_path, database, spool_bytes=300_000)
    async with bench.running() as pipeline:
        pipeline.put(some(1, 5_000))
        await until(lambda: all(lane.away for lane in pipeline._lanes))
        pipeline.close()
        await asyncio.sleep(0.05)
        assert not any(delivery.done() for delivery in bench.deliveries)
        database.away = False
        await until(lambda: all(delivery.done() for delivery in bench.deliveries))
    assert pipeline.held_rows == 0
    again = Bench(tmp_path, database)  # the last ones may have found room on disk meanwhile
    async with again.running():
        pass
    assert_whole(database, 5_000)


# Damage


async def test_what_a_damaged_spool_lost_is_named(tmp_path: Path) -> None:
    database = Database()
    database.away = True
    async with Bench(tmp_path, database, writers=1).running() as pipeline:
        pipeline.put(some(1, 100, (1,)))
    async with Bench(tmp_path, database, writers=1).running() as pipeline:
        pipeline.put(some(101, 200, (1,)))
    segments = sorted(tmp_path.glob("*.spool"))  # noqa: ASYNC240 - nothing else runs
    assert len(segments) > 1
    segments[0].write_bytes(b"noise" * 5_000)
    database.away = False
    database.lost = {(1, number) for number in range(1, 101)}
    async with Bench(tmp_path, database, writers=1).running():
        pass
    missing = set(range(1, 201)) - set(database.ids())
    assert missing
    named = [gap for gap in database.gaps if gap.cause == "spool file damaged"]
    assert {number for gap in named for number in range(gap.from_id or 0, (gap.to_id or 0) + 1)} == missing
    for gap in named:
        assert gap.from_id is not None
        assert (gap.instrument_id, gap.channel, gap.state) == (1, "trades", "open")
        assert gap.opened_ns > SECOND  # it can be stored
    assert database.marks == {1: 200}


# Anything at all


@pytest.mark.parametrize("seed", range(8))
async def test_any_mix_of_trouble(tmp_path: Path, seed: int) -> None:
    chance, database = random.Random(seed), Database()  # noqa: S311 - the same mix each time
    last = 0
    for _ in range(3):
        bench = Bench(
            tmp_path, database, writers=chance.randint(1, 3), max_rows=chance.choice((300, 1_000, 50_000)),
            limits=Limits(max_rows=chance.choice((7, 50, 500)), max_age_ns=3_000_000), chance=chance,
        )  # fmt: skip
        append = bench.spool.append

        def sometimes(batches: Sequence[Batch], append: Callable[[Sequence[Batch]], None] = append) -> None:
            if chance.random() < 0.2:
                raise SpoolFull("full")
            time.sleep(chance.choice((0.0, 0.0, 0.01)))
            append(batches)

        bench.spool.append = sometimes  # type: ignore[method-assign]
        async with bench.running() as pipeline:
            for _ in range(20):
                database.away = chance.random() < 0.3
                database.delay_seconds = chance.choice((0.0, 0.0, 0.004))
                more = chance.choice((1, 10, 30))
                pipeline.put(some(last + 1, last + more))
                last += more
                async with asyncio.timeout(15):
                    if not database.away:
                        await pipeline.room()
                await asyncio.sleep(chance.choice((0.0, 0.001, 0.004)))
            if chance.random() < 0.5:
                database.away = False
        assert pipeline.held_rows == 0
    database.away, database.delay_seconds = False, 0.0
    async with Bench(tmp_path, database, writers=1).running():
        pass
    assert_whole(database, last)
