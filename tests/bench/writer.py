"""The writer against COPY of the same bytes: same table, rows, order, batches, and number of connections.

Trades of ten instruments, in the order of their times, pass the daemon's own `Batcher` for two writers, so that
the batches are the daemon's: 20,000 rows of five instruments each. A side is timed from its first statement to
its last commit, on connections that are open; before it the table is made as it should be and a checkpoint taken.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import msgspec
import psycopg
import uvloop
from msgspec import Struct
from psycopg import AsyncConnection, sql

from ingest.clock import MICROSECOND, SECOND
from ingest.pipeline.batch import Batch
from ingest.pipeline.batcher import Batcher, Limits
from ingest.records import Instrument, Stream, Trade
from ingest.store import database
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry
from ingest.store.rows import TABLES, encode_trades, timestamp
from tests.bench.harness import Bench, Figure, Group, Pairs, alternate, number

GROUP = Group("writer")

WRITERS = 2
INSTRUMENTS = 10
TRADES_A_SECOND = 500
START_NS = 1_795_298_400 * SECOND
"""2026-11-21 22:00 UTC: two million trades, at this rate, are those of 67 minutes."""

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, TABLES[Trade].columns))
_COPY = sql.SQL("COPY ingest.trades ({}) FROM STDIN").format(_COLUMNS)
_INSERT = sql.SQL("INSERT INTO ingest.trades ({}) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING").format(
    _COLUMNS
)


class Part(Struct, frozen=True):
    """One writer's share of a load: batches of records, and the same as COPY blocks."""

    batches: list[list[Trade]]
    blocks: list[bytes]

    @property
    def last_rows(self) -> bytes:
        return encode_trades([batch[-1] for batch in self.batches])


def trades(rows: int) -> Iterator[Trade]:
    """Trades with the digits of liquid markets, by time; each instrument's ids are contiguous."""
    chance = random.Random(7)  # noqa: S311 - the same rows each time
    cents = [6_400_000 // (index + 1) ** 2 for index in range(INSTRUMENTS)]
    numbers = [3_000_000_000 + 100_000_000 * index for index in range(INSTRUMENTS)]
    for position in range(rows):
        index = chance.randrange(INSTRUMENTS)
        cents[index] = max(1_000, cents[index] + chance.randrange(-3, 4))
        numbers[index] += 1
        time_ns = START_NS + position * (SECOND // TRADES_A_SECOND) + chance.randrange(1_000) * MICROSECOND
        yield Trade(
            index + 1,
            time_ns,
            str(numbers[index]),
            "buy" if chance.randrange(2) else "sell",
            f"{cents[index] // 100}.{cents[index] % 100:02}000000",
            f"0.{chance.randrange(1, 10_000_000):08}",
            time_ns + chance.randrange(20_000_000, 50_000_000),
        )


def load(rows: int) -> list[Part]:
    """What each writer gets, batched as the daemon does it.

    A batch's records are made anew, one after the other: in the daemon they are a quarter of a second old, and not
    strewn over a gigabyte.
    """
    batcher = Batcher(WRITERS, Limits())
    sealed: list[Batch] = [batch for trade in trades(rows) if (batch := batcher.add(trade, 0)) is not None]
    sealed += batcher.seal_all()
    parts = []
    for writer in range(WRITERS):
        batches = [_anew(batch) for batch in sealed if batch.writer == writer]
        parts.append(Part(batches, [encode_trades(batch) for batch in batches]))
    return parts


def _anew(batch: Batch) -> list[Trade]:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(batch.records), type=list[Trade])


class Sides:
    """The ways of storing a load. Each returns its seconds."""

    def __init__(self, url: str, rows: int, runner: asyncio.Runner) -> None:
        self.rows = rows
        self._parts = load(rows)
        self._url = url
        self._run = runner.run
        self._plain: list[AsyncConnection] = []
        self._writers: list[CopyWriter] = []

    async def open(self) -> None:
        instruments = await _register(self._url)
        for index in range(WRITERS):
            self._plain.append(await database.connect(self._url, role=f"copy {index}"))
            writer = CopyWriter(self._url, role=f"writer {index}", instruments=instruments)
            await writer._connected()
            self._writers.append(writer)

    async def close(self) -> None:
        for connection in self._plain:
            await connection.close()
        for writer in self._writers:
            await writer.close()

    def copy(self) -> float:
        """COPY of the prebuilt blocks into the empty table."""
        self._make([])
        return self._timed(self._copy)

    def write(self) -> float:
        """The writer into the empty table."""
        self._make([])
        return self._timed(self._write)

    def write_again(self) -> float:
        """The writer into the table that `copy` has just filled."""
        self._checkpoint()
        return self._timed(self._write)

    def write_with_a_duplicate(self) -> float:
        """The writer into a table that holds the last row of every batch."""
        self._make([part.last_rows for part in self._parts])
        return self._timed(self._write)

    def insert(self) -> float:
        """`executemany` of prebuilt values into the empty table, a batch a transaction."""
        self._make([])
        return self._timed(self._insert)

    def _make(self, blocks: list[bytes]) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("TRUNCATE ingest.trades")
            for block in blocks:
                with connection.cursor().copy(_COPY) as copy:
                    copy.write(block)
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Both sides begin with a clean slate in the server, and the writer with no conflict in mind."""
        for writer in self._writers:
            writer._stage_first.clear()
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def _timed(self, store: Callable[[int], Awaitable[None]]) -> float:
        async def all_writers() -> float:
            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for index in range(WRITERS):
                    group.create_task(_awaited(store(index)))
            return time.perf_counter() - started

        seconds = self._run(all_writers())
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM ingest.trades").fetchone()
        assert row == (self.rows,), f"{row} rows are stored, {self.rows} were given"
        return seconds

    async def _copy(self, index: int) -> None:
        connection = self._plain[index]
        for block in self._parts[index].blocks:
            async with connection.transaction(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                await copy.write(block)

    async def _write(self, index: int) -> None:
        writer = self._writers[index]
        for batch in self._parts[index].batches:
            await writer.write(batch)

    async def _insert(self, index: int) -> None:
        connection = self._plain[index]
        for batch in self._parts[index].batches:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(_INSERT, [_values(trade) for trade in batch])


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _values(t: Trade) -> tuple[object, ...]:
    received = timestamp(t.received_ns)
    return timestamp(t.time_ns), t.instrument_id, t.trade_id, t.side, t.price, t.amount, received


async def _register(url: str) -> dict[int, Instrument]:
    """Instruments 1 to `INSTRUMENTS` with their trades streams, so that the writer has progress to keep."""
    listed = [
        Instrument("binance", f"C{index}/USDT", f"C{index}USDT", "spot", f"C{index}", "USDT")
        for index in range(INSTRUMENTS)
    ]
    registry = Registry(url)
    try:
        ids = await registry.register_instruments("binance", listed)
        streams = [Stream(ids[instrument.symbol], instrument, "trades") for instrument in listed]
        await registry.register_streams(streams, {"trades": "trade"}, {"trades": "ids"})
    finally:
        await registry.close()
    assert sorted(ids.values()) == list(range(1, INSTRUMENTS + 1))
    return {ids[instrument.symbol]: instrument for instrument in listed}


@contextmanager
def sides(bench: Bench, rows: int, url: str | None = None) -> Iterator[Sides]:
    """On the database of `url`, else on one of its own."""
    bench.say(f"preparing {rows:,} trades")
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        made = Sides(url or stack.enter_context(bench.database()), rows, runner)
        runner.run(made.open())
        try:
            yield made
        finally:
            runner.run(made.close())


@GROUP.measures("writer_vs_copy")
def writer_vs_copy(bench: Bench) -> Iterator[Figure]:
    with sides(bench, bench.scale.rows) as s:
        pairs = alternate(bench.scale.pairs, s.copy, s.write)
    yield Figure("writer_vs_copy", pairs.rate, at_least=0.8, note=_note(pairs, bench.scale.rows))


@GROUP.measures("replay_vs_copy")
def replay_vs_copy(bench: Bench) -> Iterator[Figure]:
    with sides(bench, bench.scale.rows) as s:
        pairs = alternate(bench.scale.pairs, s.copy, s.write_again)
    yield Figure("replay_vs_copy", pairs.rate, at_least=0.5, note=_note(pairs, bench.scale.rows))


@GROUP.measures("one_dup_vs_copy")
def one_dup_vs_copy(bench: Bench) -> Iterator[Figure]:
    with sides(bench, bench.scale.rows) as s:
        pairs = alternate(bench.scale.pairs, s.copy, s.write_with_a_duplicate)
    yield Figure("one_dup_vs_copy", pairs.rate, note=_note(pairs, bench.scale.rows))


@GROUP.measures("executemany_vs_copy")
def executemany_vs_copy(bench: Bench) -> Iterator[Figure]:
    with sides(bench, bench.scale.slow_rows) as s:
        pairs = alternate(bench.scale.pairs, s.copy, s.insert)
    yield Figure("executemany_vs_copy", pairs.rate, note=_note(pairs, bench.scale.slow_rows))


def _note(pairs: Pairs, rows: int) -> str:
    base, other = (rows / median(seconds) / 1000 for seconds in (pairs.base, pairs.other))
    return f"{number(base)} and {number(other)} thousand rows/s; {pairs.spread}"
