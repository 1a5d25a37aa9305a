"""The connection, the server or the task goes away in the middle: a batch is wholly there or not at all."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from ingest.errors import Fatal, Retryable
from ingest.records import Instrument, Trade
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.rows import TABLES
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.support import (
    NOON,
    Proxy,
    candle,
    expected,
    moment,
    progress,
    stored_candles,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

ROWS = 5_000
NOTHING = (1, None, None, None, 0, 0, False)


def _whole(batch: list[Trade], duplicates: int = 0) -> tuple[object, ...]:
    latest = batch[-1]
    watermark = moment(latest.time_ns), int(latest.trade_id), moment(latest.received_ns)
    return (1, *watermark, len(batch), duplicates, True)


def _terminate(fetch: Fetch) -> None:
    fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'ingest test')"
    )


async def _opened(writer: CopyWriter) -> None:
    """Connect beforehand, so that what a test lets through is the batch."""
    await writer.write([candle()])


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("let_through", [0, 1, 100, 150_000, 400_000])
async def test_the_line_is_cut_in_the_batch(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch, let_through: int, *, staged: bool
) -> None:
    writer, batch = make_writer(proxy.url), trades(ROWS)
    await _opened(writer)
    proxy.cut_after(let_through)
    with pytest.raises(Retryable, match="the database does not take it"):
        await writer.write(batch, staged=staged)
    assert stored_trades(fetch) == []
    assert progress(fetch)[0] == NOTHING
    assert await writer.write(batch, staged=staged) == Written(ROWS, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0] == _whole(batch)


@pytest.mark.parametrize("staged", [False, True])
async def test_the_backend_is_killed_during_copy(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch, *, staged: bool
) -> None:
    writer, batch = make_writer(proxy.url), trades(ROWS)
    await _opened(writer)
    proxy.stall_after(200_000)
    writing = asyncio.ensure_future(writer.write(batch, staged=staged))
    await proxy.stalled.wait()
    await asyncio.to_thread(_terminate, fetch)
    proxy.flow()
    with pytest.raises(Retryable):
        await writing
    assert stored_trades(fetch) == []
    assert progress(fetch)[0] == NOTHING
    assert await writer.write(batch, staged=staged) == Written(ROWS, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0] == _whole(batch)


@pytest.mark.parametrize("staged", [False, True])
async def test_the_commit_is_done_but_its_answer_lost(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch, *, staged: bool
) -> None:
    """Nobody can know then; writing it again must be harmless."""
    writer, batch = make_writer(proxy.url), trades(100)
    await _opened(writer)
    connection = writer._connection
    assert connection is not None
    if staged:  # made beforehand, so that the next transaction is the batch
        await writer._prepare_stage(connection, TABLES[Trade])
    committed = asyncio.Event()
    name = "transaction" if staged else "pipeline"  # whose end brings the COMMIT
    made = getattr(connection, name)

    def muted() -> object:
        context = made()

        class Muted:
            async def __aenter__(self) -> object:
                return await context.__aenter__()

            async def __aexit__(self, *error: object) -> object:
                proxy.mute()  # from here the server hears us, and we do not hear it
                committed.set()
                return await context.__aexit__(*error)

        return Muted()

    setattr(connection, name, muted)
    writing = asyncio.ensure_future(writer.write(batch, staged=staged))
    await committed.wait()
    for _ in range(200):
        if await asyncio.to_thread(stored_trades, fetch):
            break
        await asyncio.sleep(0.01)
    proxy.cut()
    proxy.answer()
    with pytest.raises(Retryable):
        await writing
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0] == _whole(batch)
    assert await writer.write(batch, staged=staged) == Written(0, 100, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0] == _whole(batch, duplicates=100)
    assert stored_rejects(fetch) == []


async def test_the_server_restarts_between_and_during_batches(
    make_writer: MakeWriter, fetch: Fetch, restart_server: Callable[[], Awaitable[None]]
) -> None:
    writer = make_writer()
    batches = [trades(2_000, first=number * 2_000 + 1) for number in range(3)]
    assert await writer.write(batches[0]) == Written(2_000, 0, 0)
    await restart_server()
    with pytest.raises(Retryable):
        await writer.write(batches[1])
    assert await writer.write(batches[1]) == Written(2_000, 0, 0)
    restarting = asyncio.ensure_future(restart_server())
    written = None
    while written is None:
        try:
            written = await writer.write(batches[2])
        except Retryable:
            await asyncio.sleep(0.02)
    await restarting
    assert written in {Written(2_000, 0, 0), Written(0, 2_000, 0)}
    assert stored_trades(fetch) == expected(*batches[0], *batches[1], *batches[2])
    assert progress(fetch)[0][:5] == _whole([*batches[0], *batches[1], *batches[2]])[:5]


@pytest.mark.parametrize("let_through", [0, 100_000])
async def test_a_write_that_is_cancelled_leaves_nothing_and_the_writer_usable(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch, let_through: int
) -> None:
    writer, batch = make_writer(proxy.url), trades(ROWS)
    await _opened(writer)
    proxy.stall_after(let_through)
    writing = asyncio.ensure_future(writer.write(batch))
    await proxy.stalled.wait()
    writing.cancel()
    await asyncio.sleep(0.05)
    proxy.flow()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert stored_trades(fetch) == []
    assert await writer.write(batch) == Written(ROWS, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0] == _whole(batch)


async def test_progress_goes_back_with_its_rows(writer: CopyWriter, fetch: Fetch) -> None:
    """The update of `streams` fails after the COPY: the rows must not be there either."""
    assert await writer.write(trades(9)) == Written(9, 0, 0)
    before = stored_trades(fetch), progress(fetch)
    await writer.write([candle()])
    fetch("ALTER TABLE ingest.streams RENAME TO streams_away")
    with pytest.raises(Fatal):
        await writer.write(trades(9, first=10))
    fetch("ALTER TABLE ingest.streams_away RENAME TO streams")
    assert (stored_trades(fetch), progress(fetch)) == before


async def test_a_missing_table_is_fatal_and_says_so(writer: CopyWriter, fetch: Fetch) -> None:
    fetch("ALTER TABLE ingest.trades RENAME TO trades_away")
    with pytest.raises(Fatal, match=r"42P01.*ingest\.trades"):
        await writer.write(trades(1))
    assert await writer.write([candle()]) == Written(1, 0, 0)


async def test_a_database_that_is_not_there_is_fatal(database_url: str, instruments: dict[int, Instrument]) -> None:
    writer = CopyWriter(database_url + "_not", role="test", instruments=instruments)
    with pytest.raises((Fatal, Retryable), match="does not exist"):
        await writer.write(trades(1))


async def test_nobody_listens(instruments: dict[int, Instrument]) -> None:
    writer = CopyWriter("postgresql://nobody@127.0.0.1:1/none", role="test", instruments=instruments)
    with pytest.raises(Retryable, match="the database does not take it"):
        await writer.write(trades(1))


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
async def test_a_lock_that_is_held_too_long_passes(
    database_url: str, make_writer: MakeWriter, fetch: Fetch, setting: str
) -> None:
    writer, batch = make_writer(f"{database_url}?options=-c%20{setting}%3D200"), trades(10)
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE ingest.trades IN EXCLUSIVE MODE")
        with pytest.raises(Retryable):
            await writer.write(batch)
    assert await writer.write(batch) == Written(10, 0, 0)
    assert stored_trades(fetch) == expected(*batch)


async def test_a_cut_in_the_middle_of_a_bisection_loses_nothing(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch
) -> None:
    writer = make_writer(proxy.url)
    await _opened(writer)
    batch = trades(1_000)
    batch[300] = trade("bad", price="NaN", time_ns=NOON)
    good = [t for t in batch if t.trade_id != "bad"]
    size = 1_000 * 95
    cuts = 0
    for let_through in (size, size * 2, size * 3, size * 4):
        proxy.cut_after(let_through)
        try:
            written = await writer.write(batch)
        except Retryable:
            cuts += 1
    written = await writer.write(batch)
    assert cuts >= 2  # the last ones may have come through
    assert written.rejected == 1
    assert stored_trades(fetch) == expected(*good)
    assert progress(fetch)[0][4] == 999


async def test_stages_are_made_again_on_a_new_connection(writer: CopyWriter, fetch: Fetch) -> None:
    for round_ in range(3):
        await writer.write(trades(5, first=round_ * 5 + 1), staged=True)
        await writer.write([candle()], staged=True)
        await asyncio.to_thread(_terminate, fetch)
        with pytest.raises(Retryable):
            await writer.write(trades(1), staged=True)
    assert stored_trades(fetch) == expected(*trades(15))
    assert len(stored_candles(fetch)) == 1
