"""Everything that is put is stored once, through real writers, whatever happens to the line to the database."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import pytest

from ingest.clock import MINUTE, SECOND
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Counts, Pipeline
from ingest.records import Candle, Gap, OrderBook, Reject, Trade
from ingest.store.copy_writer import CopyWriter, Record, Written
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.support import (
    NOON,
    Proxy,
    book,
    book_row,
    candle,
    candle_row,
    expected,
    progress,
    reject_row,
    stored_books,
    stored_candles,
    stored_gaps,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

SMALL = Limits(max_rows=100, max_age_ns=20_000_000)


class Delivering:
    """A pipeline whose delivery runs."""

    def __init__(self, writers: Sequence[CopyWriter], limits: Limits = SMALL, queue_max_rows: int = 100_000) -> None:
        self.pipeline = Pipeline(list(writers), limits, queue_max_rows=queue_max_rows)
        self._writers = len(writers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        """Closed and wholly delivered when the block ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pipeline.seal_by_age())
            for index in range(self._writers):
                group.create_task(self.pipeline.deliver(index))
            try:
                yield self.pipeline
            finally:
                self.pipeline.close()


async def _stored(pipeline: Pipeline, rows: int) -> None:
    """Wait until so many are."""
    while pipeline.counts.stored < rows:  # noqa: ASYNC110 - the pipeline tells nobody
        await asyncio.sleep(0.005)


def _interleaved(*kinds: Sequence[Record]) -> list[Record]:
    return [record for group in zip(*kinds, strict=True) for record in group]


async def test_everything_put_is_stored_once(make_writer: MakeWriter, fetch: Fetch) -> None:
    count = 1_050
    btc, eth = trades(count), trades(count, instrument_id=2)
    candles = [candle(time_ns=NOON + number * MINUTE, instrument_id=1 + number % 2) for number in range(count)]
    books = [book(time_ns=NOON + number * SECOND, instrument_id=1 + number % 2) for number in range(count)]
    gaps = [Gap(1, "trades", str(number), NOON) for number in range(count)]
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
    assert [row[6] for row in stored_gaps(fetch)] == [gap.cause for gap in gaps]  # in the order of the stream
    assert stored_rejects(fetch) == [reject_row(r) for r in rejects]
    assert pipeline.held_rows == 0
    assert (pipeline.counts.duplicate, pipeline.counts.rejected) == (0, 0)
    assert pipeline.counts.received == 4 * count
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

    async def write(self, records: Sequence[Record], *, staged: bool = False) -> Written:
        written = await super().write(records, staged=staged)
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
    assert (counts.received, counts.stored, counts.duplicate, counts.rejected) == (22, 10, 10, 2)
    assert counts.lag_ns > 0
    assert stored_trades(fetch) == expected(*good)
