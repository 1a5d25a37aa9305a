"""Everything that is put is stored once, through real writers, whatever happens to the line to the database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg
import pytest

from ingest.clock import MINUTE, SECOND
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Counts, Pipeline
from ingest.pipeline.spool import Spool
from ingest.records import Candle, Gap, Item, Mark, OrderBook, Record, Reject, Trade
from ingest.retry import Backoff
from ingest.store.copy_writer import CopyWriter, Written
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.support import (
    NOON,
    Proxy,
    Rows,
    book,
    book_row,
    candle,
    candle_row,
    expected,
    gap_row,
    mark_row,
    progress,
    reject_row,
    stored_books,
    stored_candles,
    stored_gaps,
    stored_marks,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

SMALL = Limits(max_rows=100, max_age_ns=20_000_000)


MANY = 100_000_000


class Delivering:
    """A pipeline whose delivery runs, on a spool where it is given one."""

    def __init__(
        self,
        writers: Sequence[CopyWriter],
        limits: Limits = SMALL,
        queue_max_rows: int = 100_000,
        spool: Spool | None = None,
    ) -> None:
        self.pipeline = Pipeline(list(writers), limits, queue_max_rows=queue_max_rows, spool=spool)
        for lane in self.pipeline._lanes:
            lane.backoff = Backoff(first_seconds=0.05, cap_seconds=0.2)
        self._writers = len(writers)
        self._spool = spool

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        """Closed when the block ends, and waited for until all is delivered, or on disk."""
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self.pipeline.seal_by_age()), group.create_task(self.pipeline.spill_over())]
            lanes = [group.create_task(self.pipeline.deliver(index)) for index in range(self._writers)]
            try:
                yield self.pipeline
            finally:
                self.pipeline.close()
                await asyncio.wait(lanes)
                for helper in helpers:
                    helper.cancel()
        if self._spool is not None:
            self._spool.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the pipeline tells nobody
            await asyncio.sleep(0.005)


async def _stored(pipeline: Pipeline, rows: int) -> None:
    """Wait until so many are."""
    while pipeline.counts.stored < rows:  # noqa: ASYNC110 - the pipeline tells nobody
        await asyncio.sleep(0.005)


def _interleaved(*kinds: Sequence[Item]) -> list[Item]:
    return [item for group in zip(*kinds, strict=True) for item in group]


async def test_everything_put_is_stored_once(make_writer: MakeWriter, fetch: Fetch) -> None:
    count = 1_050
    btc, eth = trades(count), trades(count, instrument_id=2)
    candles = [candle(time_ns=NOON + number * MINUTE, instrument_id=1 + number % 2) for number in range(count)]
    books = [book(time_ns=NOON + number * SECOND, instrument_id=1 + number % 2) for number in range(count)]
    gaps = [Gap(1, "trades", str(number), NOON, opened_ns=NOON) for number in range(count)]
    rejects = [Reject("binance", "x", "why", str(number).encode(), NOON) for number in range(count)]
    delivering = Delivering([make_writer(), make_writer()])
    records = _interleaved(btc, eth, candles, books, gaps, rejects)
    async with delivering.running() as pipeline:
        for start in range(0, len(records), 37):
            pipeline.put(records[start : start + 37])
            await asyncio.sleep(0)
        pipeline.put([])
    assert stored_trades(fetch) == expected(*btc, *eth)
    assert stored_candles(fetch) == [candle_row(c) for c in sorted(candles, key=lambda c: (c.instrument_id, c.time_ns))]
    assert stored_books(fetch) == [book_row(b) for b in sorted(books, key=lambda b: (b.instrument_id, b.time_ns))]
    assert sorted(stored_gaps(fetch), key=repr) == sorted(map(gap_row, gaps), key=repr)
    assert stored_rejects(fetch) == [reject_row(r) for r in rejects]
    assert pipeline.held_rows == 0
    assert (pipeline.counts.duplicate, pipeline.counts.rejected) == (0, 0)
    assert pipeline.counts.stored == 5 * count  # gaps are no rows
    with pytest.raises(RuntimeError, match="closed"):
        pipeline.put([trade()])


async def test_closing_with_nothing_put_ends(make_writer: MakeWriter) -> None:
    delivering = Delivering([make_writer(), make_writer()])
    async with delivering.running() as pipeline:
        pass
    pipeline.close()
    assert pipeline.counts == Counts()


async def test_a_lonely_row_is_written_when_it_comes_of_age(make_writer: MakeWriter, fetch: Fetch) -> None:
    async with Delivering([make_writer()], Limits(max_age_ns=20_000_000)).running() as pipeline:
        pipeline.put([trade()])
        async with asyncio.timeout(5):
            await _stored(pipeline, 1)
        assert stored_trades(fetch) == expected(trade())


async def test_full_and_room(make_writer: MakeWriter, fetch: Fetch, proxy: Proxy) -> None:
    batch = trades(3_000)
    proxy.refuse()
    async with Delivering([make_writer(proxy.url)], queue_max_rows=1_000).running() as pipeline:
        pipeline.put(batch[:999])
        assert pipeline.held_rows == 999
        async with asyncio.timeout(1):
            await pipeline.room()  # there is some
        pipeline.put(batch[999:1_500])  # a frame may pass the bound
        assert pipeline.full
        waiting = [asyncio.ensure_future(pipeline.room()) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        assert pipeline.held_rows == 1_500
        proxy.accept()
        await asyncio.gather(*waiting)
        assert pipeline.held_rows <= 1_000
        pipeline.put(batch[1_500:])
    assert stored_trades(fetch) == expected(*batch)
    assert pipeline.held_rows == 0


async def test_a_bound_of_one_row_still_moves(make_writer: MakeWriter, fetch: Fetch) -> None:
    async with Delivering([make_writer()], Limits(max_age_ns=4_000_000), queue_max_rows=1).running() as pipeline:
        for record in trades(5):
            pipeline.put([record])
            assert pipeline.full
            async with asyncio.timeout(5):
                await pipeline.room()
    assert stored_trades(fetch) == expected(*trades(5))


async def test_the_database_away_and_back_loses_nothing(make_writer: MakeWriter, fetch: Fetch, proxy: Proxy) -> None:
    btc, eth = trades(2_000), trades(2_000, instrument_id=2)
    async with Delivering([make_writer(proxy.url), make_writer(proxy.url)]).running() as pipeline:
        for start in range(0, 2_000, 50):
            pipeline.put([*btc[start : start + 50], *eth[start : start + 50]])
            if start == 500:
                proxy.refuse()
            elif start == 1_000:
                proxy.accept()
            elif start == 1_500:
                proxy.cut_after(5_000)
            elif start == 1_800:
                proxy.cut()
            await asyncio.sleep(0.005)
    assert stored_trades(fetch) == expected(*btc, *eth)
    assert stored_rejects(fetch) == []
    assert pipeline.held_rows == 0
    assert pipeline.counts.stored + pipeline.counts.duplicate == 4_000
    assert [row[2] for row in progress(fetch)] == [2_000, 2_000]


async def test_one_writer_away_does_not_hold_the_other(make_writer: MakeWriter, fetch: Fetch, proxy: Proxy) -> None:
    proxy.refuse()
    away, near = make_writer(proxy.url), make_writer()
    async with Delivering([away, near]).running() as pipeline:
        for instrument_id in (1, 2):
            pipeline.put(trades(200, instrument_id=instrument_id))
        async with asyncio.timeout(5):
            await _stored(pipeline, 200)
        assert len(stored_trades(fetch)) == 200
        proxy.accept()
    assert stored_trades(fetch) == expected(*trades(200), *trades(200, instrument_id=2))


class Recording(CopyWriter):
    """A real writer that notes what it wrote."""

    log: list[tuple[str, Record]]

    async def write(
        self, records: Sequence[Record], *, gaps: Sequence[Gap] = (), marks: Sequence[Mark] = (), staged: bool = False
    ) -> Written:
        written = await super().write(records, gaps=gaps, marks=marks, staged=staged)
        self.log += [(self._role, record) for record in records]
        return written


def _streams(log: Iterable[tuple[str, Record]]) -> dict[tuple[type, int], tuple[set[str], list[Record]]]:
    by_stream: dict[tuple[type, int], tuple[set[str], list[Record]]] = {}
    for role, record in log:
        assert isinstance(record, Trade | Candle | OrderBook)
        roles, records = by_stream.setdefault((type(record), record.instrument_id), (set(), []))
        roles.add(role)
        records.append(record)
    return by_stream


async def test_a_stream_is_written_in_order_by_one_writer(database_url: str, make_writer: MakeWriter) -> None:
    log: list[tuple[str, Record]] = []
    writers = [Recording(database_url, role=f"writer {number}", instruments={}) for number in range(3)]
    for writer in writers:
        writer.log = log
    streams: list[list[Record]] = [list(trades(500, instrument_id=number)) for number in range(1, 6)]
    streams += [[candle(time_ns=NOON + n * MINUTE, instrument_id=number) for n in range(500)] for number in range(1, 6)]
    async with Delivering(writers).running() as pipeline:
        for start in range(0, 500, 9):
            for stream in streams:
                pipeline.put(stream[start : start + 9])
            await asyncio.sleep(0.001)
    seen = _streams(log)
    assert len(seen) == 10
    for stream in streams:
        first = stream[0]
        assert isinstance(first, Trade | Candle)
        roles, records = seen[type(first), first.instrument_id]
        assert len(roles) == 1
        assert records == stream


async def test_cancelled_delivery_counts_what_is_left_as_held(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy
) -> None:
    writer = make_writer(proxy.url)
    pipeline = Pipeline([writer], SMALL, queue_max_rows=10_000)
    pipeline.put(trades(350))
    delivering = asyncio.ensure_future(pipeline.deliver(0))
    await _stored(pipeline, 300)
    proxy.stall_after(0)
    pipeline.put(trades(250, first=351))
    await proxy.stalled.wait()
    delivering.cancel()
    await asyncio.sleep(0.02)
    proxy.flow()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert pipeline.held_rows == 300
    assert writer._connection is None
    assert stored_trades(fetch) == expected(*trades(300))
    pipeline.close()
    await pipeline.deliver(0)  # and it can be taken up again
    assert pipeline.held_rows == 0
    assert stored_trades(fetch) == expected(*trades(600))


async def test_bad_and_known_rows_are_counted(make_writer: MakeWriter, fetch: Fetch) -> None:
    good = trades(10)
    async with Delivering([make_writer()]).running() as pipeline:
        pipeline.put([*good, trade("bad", price="NaN"), *good, trade("1", time_ns=good[0].time_ns, price="1")])
    counts = pipeline.counts
    assert (counts.stored, counts.duplicate, counts.rejected) == (10, 10, 2)
    assert counts.lag_ns > 0
    assert stored_trades(fetch) == expected(*good)


# With a spool: nothing is lost and nothing doubled, and no mark passes what is not stored


def _some(first: int, last: int) -> list[Item]:
    """Trades of both instruments, each with a mark at the last; and a gap of books."""
    items: list[Item] = []
    for instrument_id in (1, 2):
        items += trades(last - first + 1, first=first, instrument_id=instrument_id)
        items.append(_mark(instrument_id, last))
    return [*items, _gap(first)]


def _mark(instrument_id: int, number: int) -> Mark:
    return Mark(instrument_id, "trades", number, NOON + number, NOON + number, NOON)


def _gap(number: int) -> Gap:
    return Gap(1, "book", f"cause {number:06}", NOON, opened_ns=NOON)


def _assert_whole(fetch: Fetch, last: int, step: int) -> None:
    rows = [*trades(last), *trades(last, instrument_id=2)]
    assert stored_trades(fetch) == expected(*rows)
    assert stored_marks(fetch) == [mark_row(_mark(instrument_id, last)) for instrument_id in (1, 2)]
    assert sorted(row[2] for row in stored_gaps(fetch)) == [_gap(first).cause for first in range(1, last, step)]
    assert stored_rejects(fetch) == []
    assert [row[2] for row in progress(fetch)] == [last, last]


def _passed_over(fetch: Fetch) -> Rows:
    """Streams whose mark is ahead of what is stored.

    Marks first: a chunk that is made between the planning of a statement and its snapshot is not looked into.
    """
    marks = fetch(
        "SELECT instrument_id, watermark_id FROM ingest.streams WHERE channel = 'trades' AND watermark_id > 0"
    )
    stored = "SELECT count(*) FROM ingest.trades WHERE instrument_id = %s AND trade_id::bigint <= %s"
    rows = [(*mark, fetch(stored, *mark)[0][0]) for mark in marks]
    return [row for row in rows if row[2] < row[1]]


async def test_away_at_the_start_then_back_then_away_in_mid_stream(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.refuse()
    spool = Spool.open(tmp_path, MANY, writers=2)
    async with Delivering([make_writer(proxy.url), make_writer(proxy.url)], spool=spool).running() as pipeline:
        for first in range(1, 5_000, 50):
            pipeline.put(_some(first, first + 49))
            if first in (1_001, 3_001):
                await _until(lambda: pipeline.held_rows == 0)  # all of it is on disk
                proxy.accept()
            elif first == 2_001:
                proxy.refuse()
            elif first == 3_501:
                proxy.cut_after(20_000)
            elif first % 500 == 1:
                proxy.cut()
            assert await asyncio.to_thread(_passed_over, fetch) == []
        await _until(lambda: spool.batches == 0 and pipeline.held_rows == 0)
    assert pipeline.counts.spooled > 2_000
    _assert_whole(fetch, 5_000, 50)


async def test_a_line_that_stalls_is_spilled_around_and_its_batch_is_stored_once(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy, tmp_path: Path
) -> None:
    """The batch in flight goes to disk too; when the line flows again, it is there already, or comes again."""
    spool = Spool.open(tmp_path, MANY, writers=1)
    async with Delivering([make_writer(proxy.url)], queue_max_rows=2_000, spool=spool).running() as pipeline:
        pipeline.put(_some(1, 50))
        await _until(lambda: pipeline.counts.stored == 100)
        proxy.stall_after(3_000)
        for first in range(51, 2_000, 50):
            pipeline.put(_some(first, first + 49))
        await proxy.stalled.wait()
        await _until(lambda: pipeline.held_rows == 0)
        assert pipeline.counts.spooled >= 3_000
        proxy.flow()
        await _until(lambda: spool.batches == 0)
        pipeline.put(_some(2_001, 2_050))
    _assert_whole(fetch, 2_050, 50)


async def test_a_database_that_is_too_slow(
    database_url: str, make_writer: MakeWriter, fetch: Fetch, tmp_path: Path
) -> None:
    spool = Spool.open(tmp_path, MANY, writers=2)
    async with Delivering([make_writer(), make_writer()], queue_max_rows=1_000, spool=spool).running() as pipeline:
        with psycopg.connect(database_url) as lock:
            lock.execute("LOCK TABLE ingest.trades IN EXCLUSIVE MODE")
            for first in range(1, 3_000, 50):
                pipeline.put(_some(first, first + 49))
                async with asyncio.timeout(10):
                    await pipeline.room()  # the disk makes it
            await _until(lambda: pipeline.held_rows <= 500)  # half of what may wait in memory
            assert stored_trades(fetch) == []
        pipeline.put(_some(3_001, 3_050))
        await _until(lambda: spool.batches == 0 and pipeline.held_rows == 0)
    _assert_whole(fetch, 3_050, 50)


async def test_a_spool_at_its_bound_holds_intake_until_the_database_is_back(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.refuse()
    spool = Spool.open(tmp_path, 500_000, writers=1)
    last = 0
    async with Delivering([make_writer(proxy.url)], queue_max_rows=1_500, spool=spool).running() as pipeline:
        while last < 20_000:
            pipeline.put(_some(last + 1, last + 50))
            last += 50
            await asyncio.sleep(0.001)
            if pipeline.full:
                waiting = asyncio.ensure_future(pipeline.room())
                await asyncio.wait([waiting], timeout=0.7)
                if not waiting.done():
                    break
        assert pipeline.full
        assert spool.bytes <= 500_000
        proxy.accept()
        async with asyncio.timeout(20):
            await waiting
        pipeline.put(_some(last + 1, last + 50))
        last += 50
        await _until(lambda: spool.batches == 0 and pipeline.held_rows == 0)
    _assert_whole(fetch, last, 50)


async def test_closed_while_away_the_next_run_delivers_it_also_with_other_writers(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy, tmp_path: Path
) -> None:
    first = 1
    for writers in (2, 3, 1):
        spool = Spool.open(tmp_path, MANY, writers=writers)
        async with Delivering([make_writer(proxy.url) for _ in range(writers)], spool=spool).running() as pipeline:
            pipeline.put(_some(first, first + 49))
            await asyncio.sleep(0.1)
            proxy.refuse()
            pipeline.put(_some(first + 50, first + 99))
        assert pipeline.held_rows == 0
        first += 100
        assert _passed_over(fetch) == []
    assert Spool.inspect(tmp_path).batches > 0
    proxy.accept()
    spool = Spool.open(tmp_path, MANY, writers=2)
    async with Delivering([make_writer(), make_writer()], spool=spool).running() as pipeline:
        pipeline.put(_some(first, first + 49))
        await _until(lambda: spool.batches == 0 and pipeline.held_rows == 0)
    _assert_whole(fetch, first + 49, 50)


async def test_the_server_restarts_under_a_pipeline(
    make_writer: MakeWriter, fetch: Fetch, tmp_path: Path, restart_server: Callable[[], Awaitable[None]]
) -> None:
    spool = Spool.open(tmp_path, MANY, writers=2)
    async with Delivering([make_writer(), make_writer()], spool=spool).running() as pipeline:
        restarting: asyncio.Future[None] | None = None
        for first in range(1, 4_000, 50):
            pipeline.put(_some(first, first + 49))
            if first == 1_001:
                restarting = asyncio.ensure_future(restart_server())
            await asyncio.sleep(0.01)
        assert restarting is not None
        await restarting
        await _until(lambda: spool.batches == 0 and pipeline.held_rows == 0)
    _assert_whole(fetch, 4_000, 50)


async def test_what_a_damaged_spool_lost_is_in_the_gaps_and_the_rest_is_stored(
    make_writer: MakeWriter, fetch: Fetch, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.refuse()
    for first in (1, 201):
        spool = Spool.open(tmp_path, MANY, writers=1)
        async with Delivering([make_writer(proxy.url)], spool=spool).running() as pipeline:
            pipeline.put([*trades(200, first=first), *[book(time_ns=NOON + n * SECOND) for n in (first, first + 1)]])
            pipeline.put([_mark(1, first + 199)])
    damaged = tmp_path / "00000001.spool"
    with closing(sqlite3.connect(damaged)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged.write_bytes(b"noise" * 5_000)
    proxy.accept()
    for _ in range(2):  # and it is told once
        spool = Spool.open(tmp_path, MANY, writers=1)
        async with Delivering([make_writer()], spool=spool).running():
            pass
    assert stored_trades(fetch) == expected(*trades(200, first=201))
    assert len(stored_books(fetch)) == 2
    assert stored_marks(fetch) == [mark_row(_mark(1, 400))]
    gaps = stored_gaps(fetch)
    lost = [(row[1], row[8], row[5], row[6]) for row in gaps if row[2] == "spool file damaged"]
    assert sorted(lost, key=repr) == [
        ("book", "unrecoverable", 77, 77),
        ("trades", "open", 1, 100),
        ("trades", "open", 101, 200),
    ]
    assert all("00000001.spool" in row[7] for row in gaps)
    assert Spool.inspect(tmp_path).damaged_files == ["00000001.spool.damaged"]
