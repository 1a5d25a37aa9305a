"""Maintenance: one at a time, what is due and no more, and again after whatever went wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from io import StringIO

import psycopg
import pytest
from rich.console import Console
from structlog.testing import capture_logs

from ingest import maintain
from ingest.clock import MINUTE, SECOND
from ingest.errors import Exit, Retryable
from ingest.maintain import LOCK, Done, Forbidden, Maintenance
from ingest.store import roles
from ingest.store.rollup import ORIGIN, Span, ceiling, floor, groups
from tests.conftest import Fetch
from tests.db import rollup_data as data
from tests.db.logins import login
from tests.db.rollup_data import rows, store
from tests.db.support import Proxy

DAY = timedelta(days=1)


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def url(database_url: str) -> str:
    data.still(database_url)
    return database_url


def apache(fetch: Fetch) -> None:
    if fetch("SELECT current_setting('timescaledb.license', true)") == [("timescale",)]:
        pytest.skip("under Community the server's own jobs do this")


# Buckets


@pytest.mark.parametrize("bucket", ["1 minute", "5 minutes", "4 hours", "1 day", "7 days"])
def test_buckets_are_those_of_time_bucket(fetch: Fetch, bucket: str) -> None:
    ((length,),) = fetch("SELECT %s::interval", bucket)
    times = [datetime(1969, 7, 20, 20, 17, tzinfo=UTC), ORIGIN, datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC)]
    for time in times:
        assert fetch("SELECT time_bucket(%s::interval, %s::timestamptz)", bucket, time) == [(floor(time, length),)]
        assert ceiling(time, length) == (time if floor(time, length) == time else floor(time, length) + length)


def test_spans_are_grouped_where_they_lie_near_each_other() -> None:
    def span(instrument_id: int, start: float, end: float) -> Span:
        return Span(instrument_id, ORIGIN + start * DAY, ORIGIN + end * DAY)

    spans = [span(1, 9, 9.1), span(2, 0, 5), span(1, 1, 1.5), span(3, 5.5, 6), span(2, 7.1, 7.2)]
    assert groups(spans) == [[spans[1], spans[2], spans[3]], [spans[4]], [spans[0]]]
    assert groups([]) == []


# One pass


async def test_one_pass_at_a_time(url: str, fetch: Fetch) -> None:
    await store(url, data.candles(data.this_minute() - 10 * MINUTE, range(10)))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        maintenance = Maintenance(url)
        try:
            assert await maintenance.once() is None
            console = Console(width=200, record=True, file=StringIO())
            assert await asyncio.to_thread(maintain.once, url, console) == Exit.OK
            assert console.export_text() == "another process is maintaining this database: nothing was done\n"
            other.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
            assert await maintenance.once() is not None
        finally:
            await maintenance.close()
    assert fetch("SELECT count(*) FROM ingest.rollup_changes") == [(0,)]


def test_an_error_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(_: Maintenance) -> maintain.Done:
        return maintain.Done(errors=['trades: syntax error at "[/x]"'])

    monkeypatch.setattr(Maintenance, "once", once)
    console = Console(width=200, record=True, file=StringIO())
    assert maintain.once("postgresql://nowhere", console) == Exit.FAILED
    assert 'failed: trades: syntax error at "[/x]"\n' in console.export_text()


async def test_several_processes_do_the_work_once(url: str, fetch: Fetch) -> None:
    apache(fetch)
    await store(url, data.candles(data.this_minute() - 600 * MINUTE, range(600)))
    several = [Maintenance(url) for _ in range(4)]
    try:
        done = [each for each in await asyncio.gather(*(each.once() for each in several)) if each is not None]
    finally:
        await asyncio.gather(*(each.close() for each in several))
    assert len([each for each in done if each.buckets]) == 1


async def test_a_pass_writes_only_what_differs(url: str, fetch: Fetch) -> None:
    apache(fetch)
    start = data.this_minute() - 300 * MINUTE
    await store(url, data.candles(start, range(300)))
    first = await data.maintain(url)
    assert first.buckets >= 60 + 20 + 10 + 5 + 1 + 1 + 1
    assert (await data.maintain(url)).buckets == 0
    changed = data.candle(1, start, 3, volume="9999")
    await store(url, [changed], staged=True)
    assert (await data.maintain(url)).buckets == 7
    fetch(
        "INSERT INTO ingest.rollup_changes (instrument_id, channel, from_time, to_time)"
        " VALUES (1, 'candles', now(), now())"
    )
    assert (await data.maintain(url)).buckets == 0


async def test_trades_and_books_wait_for_their_turn(url: str, fetch: Fetch) -> None:
    apache(fetch)
    hand, start = Hand(), data.this_minute()
    maintenance = Maintenance(url, now=hand)
    waiting = "SELECT DISTINCT channel FROM ingest.rollup_changes ORDER BY 1"
    try:
        await maintenance.step()
        await store(url, data.candles(start, range(1)), data.trades(start, 10), data.books(start, 10))
        assert await maintenance.step() == Done(buckets=7)
        assert fetch(waiting) == [("book",), ("trades",)]
        hand.now_ns += 60 * SECOND
        assert await maintenance.step() == Done(buckets=2)
        assert fetch(waiting) == []
    finally:
        await maintenance.close()


async def test_more_changes_than_one_transaction_takes(url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    apache(fetch)
    monkeypatch.setattr("ingest.store.rollup.CHANGES", 3)
    start = data.this_minute() - 100 * MINUTE
    await store(url, *([each] for each in data.candles(start, range(10))))
    assert fetch("SELECT count(*) FROM ingest.rollup_changes") == [(10,)]
    await data.maintain(url)
    assert data.rollup(url, "candles_5m") == data.direct(url, "5 minutes")
    assert fetch("SELECT count(*) FROM ingest.rollup_changes") == [(0,)]


async def test_a_pass_that_is_cut_is_made_again(url: str, fetch: Fetch) -> None:
    await store(url, data.candles(data.this_minute() - 100 * MINUTE, range(100)))
    async with Proxy(url) as line:
        maintenance = Maintenance(line.url)
        try:
            line.cut_after(4_000)
            with pytest.raises(Retryable):
                await maintenance.once()
        finally:
            await maintenance.close()
    await data.maintain(url)
    assert data.rollup(url, "candles_5m") == data.direct(url, "5 minutes")


async def test_it_runs_until_cancelled_and_tries_again(url: str, fetch: Fetch) -> None:
    apache(fetch)
    fetch("UPDATE ingest.policies SET refresh_every = '0.2 seconds' WHERE source IS NOT NULL")
    maintenance = Maintenance(url)
    running = asyncio.create_task(maintenance.run())
    try:
        for round_ in range(2):
            await store(url, data.candles(data.this_minute() - (10 * round_ + 20) * MINUTE, range(3)))
            async with asyncio.timeout(30):
                while data.rollup(url, "candles_1d") != data.direct(url, "1 day"):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'ingest maintenance' AND datname = current_database()"
    ) == [(0,)]


async def test_a_refresh_that_fails_is_told_and_tried_later(url: str, fetch: Fetch) -> None:
    await store(url, data.candles(data.this_minute() - 100 * MINUTE, range(100)))
    fetch("INSERT INTO ingest.refresh_requests (table_name) VALUES ('trades')")  # no rollup: it has no source
    fetch("INSERT INTO ingest.refresh_requests (table_name) VALUES ('candles_5m')")
    maintenance = Maintenance(url)
    try:
        done = await maintenance.once()
        assert done is not None
        assert (done.requests, [error.partition(":")[0] for error in done.errors]) == (1, ["trades"])
        assert fetch("SELECT table_name, attempts, not_before > now() FROM ingest.refresh_requests") == [
            ("trades", 1, True)
        ]
        done = await maintenance.once()
        assert done is not None
        assert done.errors == []
    finally:
        await maintenance.close()


async def test_a_login_that_only_writes_is_told_what_it_lacks(url: str) -> None:
    with login(url, roles.WRITER) as writer_url, capture_logs() as logs:
        maintenance = Maintenance(writer_url)
        with pytest.raises(Forbidden, match="GRANT it ingest_maintainer"):
            await maintenance.once()
        running = asyncio.create_task(maintenance.run())
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [line["event"] for line in logs] == ["maintenance.forbidden"]


@pytest.mark.parametrize("server", ["here", pytest.param("community", marks=pytest.mark.community)])
async def test_a_maintainer_maintains_as_the_owner(server: str, request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue("url" if server == "here" else "community_database_url")
    data.still(url)
    day = 24 * 60 * MINUTE
    await store(url, data.candles(data.this_minute() - 10 * day, range(10)))  # late: by request under Community
    with login(url, roles.WRITER, roles.MAINTAINER) as maintainer_url:
        await data.maintain(maintainer_url, url)
    assert data.rollup(url, "candles_5m") == data.direct(url, "5 minutes")


# Retention


async def test_old_chunks_are_dropped_and_others_stay(url: str, fetch: Fetch) -> None:
    now = data.this_minute()
    day = 24 * 60 * MINUTE
    await store(url, data.books(now - 33 * day, 3), data.books(now - 29 * day, 3), data.trades(now - 300 * day, 3))
    done = await data.maintain(url)
    data.run_jobs(url, "policy_retention")
    assert fetch("SELECT count(*) FROM ingest.order_books") == [(3,)]
    assert fetch("SELECT count(*) FROM ingest.trades") == [(3,)]
    if fetch("SHOW timescaledb.license") == [("apache",)]:
        assert done.chunks == {"order_books": 1}


@pytest.mark.parametrize("server", ["here", pytest.param("community", marks=pytest.mark.community)])
async def test_coverage_knows_what_was_dropped(server: str, request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue("url" if server == "here" else "community_database_url")
    data.still(url)
    day, now = 24 * 60 * MINUTE, data.this_minute()
    rows(
        url,
        """
        INSERT INTO ingest.exchanges (name) VALUES ('binance');
        INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)
        VALUES (1, 'BTC/USDT', 'BTCUSDT', 'spot', 'BTC', 'USDT');
        INSERT INTO ingest.streams (instrument_id, channel, id_space, promise, state, covered_from, proved_to)
        VALUES (1, 'trades', 'trade', 'ids', 'stopped', now() - INTERVAL '500 days', now());
        """,
    )

    def pieces() -> list[tuple[str, str | None]]:
        asked = (
            "SELECT grade, cause FROM market.coverage('binance', 'BTC/USDT', 'trades', NULL, now() - INTERVAL '1 h')"
        )
        return [(grade, cause) for grade, cause in rows(url, asked)]

    async def drop() -> None:
        await data.maintain(url)
        data.run_jobs(url, "policy_retention")
        await data.maintain(url)

    kept = data.floor(now - 10 * day, DAY)
    await store(url, data.trades(now - 400 * day, 3), data.trades(now - 10 * day, 3))
    assert pieces() == [("proved", None)]
    await drop()
    assert pieces() == [("gap", "retention"), ("proved", None)]
    assert rows(url, "SELECT channel, before FROM market.removals") == [("trades", kept)]
    await store(url, data.trades(now - 400 * day, 3), staged=True)
    rows(
        url,
        "INSERT INTO ingest.backfill_jobs (purpose, instrument_id, channel, from_time, to_time, state, finished_at)"
        " VALUES ('backfill', 1, 'trades', now() - INTERVAL '401 days', now() - INTERVAL '399 days', 'done', now())",
    )
    assert pieces() == [("gap", "retention"), ("proved", None), ("gap", "retention"), ("proved", None)]
    await drop()
    assert pieces() == [("gap", "retention"), ("proved", None)]
    assert rows(url, "SELECT table_name, before FROM ingest.removals") == [("trades", kept)]


async def test_the_writer_writes_no_candle_that_is_past_its_retention(url: str, fetch: Fetch) -> None:
    day = 24 * 60 * MINUTE
    now = data.this_minute()
    old, new = data.candles(now - 731 * day, range(3)), data.candles(now - 700 * day, range(3))
    await store(url, old + new, staged=True)
    assert fetch("SELECT count(*), min(time) > now() - INTERVAL '701 days' FROM ingest.candles_1m") == [(3, True)]


async def test_rows_that_are_old_leave(url: str, fetch: Fetch) -> None:
    fetch(
        """
        INSERT INTO ingest.exchanges (name) VALUES ('x');
        INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)
        VALUES (1, 'A/B', 'AB', 'spot', 'A', 'B');
        INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload)
        SELECT now() - make_interval(days => d), 'x', 's', 'r', 'p' FROM unnest(ARRAY[1, 89, 91, 500]) d;
        INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, cause, state, opened_at, closed_at)
        SELECT 1, 'trades', now(), now(), s || d, s, now(), now() - make_interval(days => d)
        FROM unnest(ARRAY['repaired', 'unrecoverable']) s, unnest(ARRAY[1, 100]) d;
        INSERT INTO ingest.backfill_jobs (purpose, gap_id, instrument_id, channel, from_time, to_time, state,
                                          finished_at)
        SELECT 'repair', gap_id, 1, channel, now() - make_interval(days => w), now() - make_interval(days => w), s,
               now() - INTERVAL '40 days'
        FROM ingest.gaps, unnest(ARRAY['done', 'failed', 'cancelled']) s, unnest(ARRAY[50, 400]) w
        WHERE cause = 'repaired100';
        INSERT INTO ingest.backfill_jobs (purpose, instrument_id, channel, from_time, state, finished_at)
        VALUES ('backfill', 1, 'trades', now(), 'failed', now()), ('backfill', 1, 'trades', now(), 'waiting', NULL);
        """
    )
    done = await data.maintain(url)
    assert done.rows == {"rejected": 2, "backfill_jobs": 5, "gaps": 1}
    assert fetch("SELECT count(*) FROM ingest.rejected") == [(2,)]
    assert [row[0] for row in fetch("SELECT cause FROM ingest.gaps ORDER BY 1")] == [
        "repaired1", "unrecoverable1", "unrecoverable100"
    ]  # fmt: skip
    assert fetch("SELECT state, gap_id, to_time < now() - INTERVAL '49 days' FROM ingest.backfill_jobs ORDER BY 1") == [
        ("done", None, True), ("failed", None, None), ("waiting", None, None)
    ]  # fmt: skip
    assert rows(url, "SELECT 1 FROM ingest.refresh_requests") == []
