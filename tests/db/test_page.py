"""What the status page reads: the stored digits, at no cost to who writes, and words where something is missing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import AsyncConnection

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.page.facts import Facts
from ingest.page.feed import Client, Feed
from ingest.page.market import CANDLES, LEVELS, TRADES, Choice, View
from ingest.page.overview import GAPS, Overview
from ingest.records import Gap, Levels
from ingest.store.copy_writer import CopyWriter
from ingest.store.database import connect
from ingest.store.sqlfiles import query
from tests.conftest import Fetch
from tests.db.logins import login
from tests.db.rollup_data import maintain, this_minute
from tests.db.support import NOON, Proxy, book, candle, moment, trade, trades

FACTS = Facts("0", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
NAMES = ("binance", "BTC/USDT")
MINUTES = Choice(*NAMES, 60)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """As the feed makes it."""
    made = await connect(database_url, role="page")
    await made.execute(query("page_session"))
    yield made
    await made.close()


@asynccontextmanager
async def following(url: str, choice: Choice | None = None) -> AsyncIterator[Client]:
    """A viewer of a feed that runs, a second of which lasts 20 ms."""
    feed = Feed(url, lambda: FACTS, period_seconds=0.02)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        client = feed.enter()
        assert client is not None
        if choice is not None:
            client.choose(choice)
        yield client
        running.cancel()


async def told(client: Client, name: str) -> Any:
    """The next message with this part."""
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await client.next() or b"{}")
            if name in message:
                return message[name]


# The chart


async def test_candles_have_the_stored_digits(writer: CopyWriter, connection: AsyncConnection) -> None:
    await writer.write([candle(), candle(time_ns=NOON + 2 * MINUTE, close="104.50000000", volume="0.00000001")])
    market = await View(MINUTES).look(connection)
    seconds = NOON / SECOND
    assert msgspec.to_builtins(market.candles) == [
        [seconds, "100", "110", "90", "105", "12.5", 42],
        [seconds + 120, "100", "110", "90", "104.50000000", "0.00000001", 42],
    ]
    assert market.instrument is not None
    assert (market.instrument.base, market.instrument.quote, market.error) == ("BTC", "USDT", None)


@pytest.mark.parametrize("seconds", [60, 180, 300, 3_600, 86_400, 604_800])
async def test_candles_of_any_length_are_those_of_ohlcv(
    writer: CopyWriter, connection: AsyncConnection, fetch: Fetch, database_url: str, seconds: int
) -> None:
    start = this_minute() - 400 * MINUTE
    await writer.write([candle(time_ns=start + n * MINUTE, close=str(95 + n % 10)) for n in range(400) if n % 7])
    await maintain(database_url)
    market = await View(Choice(*NAMES, seconds)).look(connection)
    stored = fetch(
        "SELECT extract(epoch FROM time)::float8, open::text, high::text, low::text, close::text, volume::text, trades"
        " FROM market.ohlcv('binance', 'BTC/USDT', make_interval(secs => %s), '2020-01-01', now() + INTERVAL '8 days')",
        seconds,
    )
    span = [list(row) for row in stored if row[0] > stored[-1][0] - CANDLES * seconds]
    assert msgspec.to_builtins(market.candles) == span


async def test_candles_of_seconds_are_made_from_trades(writer: CopyWriter, connection: AsyncConnection) -> None:
    await writer.write([trade(str(n), time_ns=NOON + n * SECOND, price=f"{100 + n}.0") for n in range(10)])
    market = await View(Choice(*NAMES, 5)).look(connection)
    assert [(c.open, c.close, c.trades) for c in market.candles] == [("100.0", "104.0", 5), ("105.0", "109.0", 5)]


async def test_what_came_since_the_last_look_is_added(
    writer: CopyWriter, connection: AsyncConnection, fetch: Fetch
) -> None:
    view = View(MINUTES)
    await writer.write([candle(time_ns=NOON + n * MINUTE) for n in range(CANDLES + 20)])
    first = await view.look(connection)
    assert len(first.candles) == CANDLES
    last = NOON + (CANDLES + 19) * MINUTE
    await writer.write([candle(time_ns=last + MINUTE, close="99")])
    fetch("UPDATE ingest.candles_1m SET close = 91 WHERE time = %s", moment(last))  # as one that was still open
    again = await view.look(connection)
    assert again.candles[:-2] == first.candles[1:-1]
    assert [c.close for c in again.candles[-2:]] == ["91", "99"]


async def test_an_instrument_without_rows_is_empty_and_no_error(
    instruments: object, connection: AsyncConnection
) -> None:
    market = await View(MINUTES).look(connection)
    assert (market.candles, market.book, market.trades, market.error) == ([], None, [], None)


async def test_an_unknown_instrument_is_told_with_the_nearest_one(
    instruments: object, connection: AsyncConnection
) -> None:
    market = await View(Choice("binance", "BTC/USD", 60)).look(connection)
    assert market.error is not None
    assert market.error.startswith('exchange "binance" has no symbol "BTC/USD". Did you mean "BTC/USDT"?')


async def test_a_chart_that_takes_too_long_says_so(writer: CopyWriter, connection: AsyncConnection) -> None:
    await writer.write([candle()])
    await connection.execute("SET statement_timeout = '1ms'; SET enable_indexscan = off")
    view, errors = View(MINUTES), set[str | None]()
    async with asyncio.timeout(30):
        while not errors - {None}:  # a millisecond may do
            errors.add((await view.look(connection)).error)
    assert errors - {None} == {"The database took too long for this chart. Choose a longer interval."}
    await connection.execute("SET statement_timeout = 0")
    assert len((await view.look(connection)).candles) == 1


async def test_the_book_is_the_latest_snapshot(writer: CopyWriter, connection: AsyncConnection) -> None:
    now = this_minute()
    bids: Levels = tuple((f"{99 - n}.50", f"{n + 1}.0") for n in range(LEVELS + 8))
    await writer.write([book(time_ns=now - MINUTE), book(time_ns=now, bids=bids, in_sync=False)])
    shown = (await View(MINUTES).look(connection)).book
    assert shown is not None
    assert (shown.time, shown.in_sync, shown.spread) == (moment(now), False, "0.60")
    assert list(zip(shown.bid_prices, shown.bid_amounts, strict=True)) == list(bids[:LEVELS])
    assert list(zip(shown.ask_prices, shown.ask_amounts, strict=True)) == [("100.1", "3")]


async def test_the_last_trades_come_first(writer: CopyWriter, connection: AsyncConnection) -> None:
    batch = trades(TRADES + 5)
    await writer.write(batch)
    shown = (await View(MINUTES).look(connection)).trades
    expected = [[t.time_ns / SECOND, t.side, t.price, t.amount] for t in reversed(batch[5:])]
    assert msgspec.to_builtins(shown) == [[pytest.approx(time, abs=1e-6), *rest] for time, *rest in expected]


# What is the same for everybody


async def test_gaps_are_counted_and_those_to_repair_come_first(
    writer: CopyWriter, connection: AsyncConnection, fetch: Fetch
) -> None:
    gaps = [
        Gap(1, "trades", "cut", start, start + SECOND, n, n + 4, opened_ns=start)
        for n, start in enumerate(NOON + n * MINUTE for n in range(GAPS + 3))
    ]
    await writer.write(trades(1), gaps=gaps)
    fetch("UPDATE ingest.gaps SET state = 'repaired', closed_at = opened_at + INTERVAL '5 s' WHERE from_id > 1")
    fetch("UPDATE ingest.gaps SET state = 'unrecoverable' WHERE from_id = 2")
    shown = await Overview().gaps(connection)
    counts = shown.counts
    assert (counts.open, counts.repaired, counts.unrecoverable, counts.repairing) == (2, GAPS, 1, 0)
    assert counts.oldest_seconds is not None
    assert len(shown.latest) == GAPS
    assert [gap.state for gap in shown.latest] == ["open", "open", *["repaired"] * (GAPS - 2)]
    first = shown.latest[0]
    assert (first.exchange, first.symbol, first.channel, first.cause) == (*NAMES, "trades", "cut")
    assert (first.from_time, first.to_time) == (moment(NOON + MINUTE), moment(NOON + MINUTE + SECOND))
    assert (first.seconds, first.missing_ids) == (1.0, 5)


async def test_streams_and_venues(writer: CopyWriter, connection: AsyncConnection, fetch: Fetch) -> None:
    fetch(
        "INSERT INTO ingest.exchange_status (exchange_id, state, since, checked_at)"
        " SELECT exchange_id, 'online', now(), now() FROM ingest.exchanges"
    )
    await writer.write(trades(7))
    shown = await Overview().streams(connection)
    assert [(s.symbol, s.rows_stored) for s in shown.streams if s.channel == "trades"] == [
        ("BTC/USDT", 7),
        ("ETH/USDT", 0),
    ]
    assert [(venue.exchange, venue.state) for venue in shown.venues] == [("binance", "online")]


async def test_the_database_and_what_keeps_it(
    writer: CopyWriter, connection: AsyncConnection, database_url: str, fetch: Fetch
) -> None:
    await writer.write(trades(5))
    await maintain(database_url)
    shown = await Overview().database(connection)
    ((name, version),) = fetch("SELECT current_database(), current_setting('server_version')")
    assert (shown.server.database, shown.server.postgresql) == (name, version)
    assert shown.server.migration is not None
    assert shown.server.bytes > 1_000_000
    assert "trades" in [table.name for table in shown.tables]
    assert [table.bytes for table in shown.tables] == sorted((table.bytes for table in shown.tables), reverse=True)
    assert {"refresh", "retention"} <= {job.policy for job in shown.jobs}
    assert isinstance(max(job.last_succeeded_at or moment(0) for job in shown.jobs), datetime)


# The feed


async def test_the_connection_can_change_nothing_and_gives_up_soon(connection: AsyncConnection) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await connection.execute("DELETE FROM ingest.gaps")
    shown = await (await connection.execute("SHOW statement_timeout")).fetchone()
    assert shown == ("3s",)


async def test_a_viewer_gets_every_part_and_then_what_is_new(writer: CopyWriter, database_url: str) -> None:
    async with following(database_url, MINUTES) as client:
        message: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while message.keys() < {"daemon", "streams", "gaps", "database", "market"}:
                message |= json.loads(await client.next() or b"{}")
        assert message["market"]["candles"] == []
        await writer.write([candle()])
        while not (market := await told(client, "market"))["candles"]:
            pass
        assert market["choice"] == {"exchange": "binance", "symbol": "BTC/USDT", "seconds": 60}
        assert [row[4] for row in market["candles"]] == ["105"]


async def test_nobody_looks_and_no_connection_is_held(instruments: object, database_url: str, fetch: Fetch) -> None:
    statement = (
        "SELECT count(*)::int FROM pg_stat_activity"
        " WHERE application_name = 'ingest page' AND datname = current_database()"
    )
    feed = Feed(database_url, lambda: FACTS, period_seconds=0.02)
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        running = group.create_task(feed.run())
        await asyncio.sleep(0)
        assert fetch(statement) == [(0,)]
        client = feed.enter()
        assert client is not None
        await told(client, "streams")
        assert fetch(statement) == [(1,)]
        feed.leave(client)
        while fetch(statement) != [(0,)]:  # noqa: ASYNC110 - the server tells of no event
            await asyncio.sleep(0.02)
        running.cancel()


async def test_a_database_that_goes_is_told_and_one_that_comes_back_is_read(instruments: object, proxy: Proxy) -> None:
    async with following(proxy.url, MINUTES) as client:
        await told(client, "streams")
        proxy.refuse()
        assert (await told(client, "away")).startswith("the database does not take it: ")
        proxy.accept()
        assert len((await told(client, "streams"))["streams"]) > 0
        assert "candles" in await told(client, "market")


async def test_viewers_of_one_chart_cost_one_reading(
    instruments: object, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thousand viewers chose is read once a round for each choice."""
    looks: list[Choice] = []
    real = View.look

    async def counted(self: View, connection: AsyncConnection) -> Any:
        looks.append(self.choice)
        return await real(self, connection)

    monkeypatch.setattr(View, "look", counted)
    feed = Feed(database_url, lambda: FACTS, period_seconds=60.0)
    async with asyncio.TaskGroup() as group:
        clients = [client for _ in range(10) if (client := feed.enter()) is not None]
        for client in clients:
            client.choose(MINUTES)
        running = group.create_task(feed.run())
        for client in clients:
            await told(client, "market")
        running.cancel()
    assert looks == [MINUTES]


PARTS = {"streams", "gaps", "database", "market"}


async def all_parts(client: Client) -> dict[str, Any]:
    """Each part as it was told last, once all were."""
    message: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while not message.keys() >= PARTS:
            message |= json.loads(await client.next() or b"{}")
    return message


async def test_the_daemons_own_role_may_read_all_of_it(instruments: object, database_url: str) -> None:
    with login(database_url, "ingest_writer") as url:
        async with following(url, MINUTES) as client:
            message = await all_parts(client)
    assert [part for part in PARTS if message[part].get("error")] == []


async def test_who_may_not_read_a_part_is_told_and_sees_the_rest(instruments: object, database_url: str) -> None:
    with login(database_url, "market_analyst") as url:
        async with following(url, MINUTES) as client:
            message = await all_parts(client)
    words = {"error": "The daemon's login may not read it: permission denied for schema ingest."}
    assert (message["gaps"], message["database"]) == (words, words)
    assert "streams" in message["streams"]
    assert message["market"]["candles"] == []


async def test_times_keep_their_milliseconds(writer: CopyWriter, connection: AsyncConnection) -> None:
    await writer.write([trade(time_ns=NOON + 123 * MILLISECOND)])
    (shown,) = (await View(MINUTES).look(connection)).trades
    assert round(shown.time_seconds * 1000) == NOON // MILLISECOND + 123
