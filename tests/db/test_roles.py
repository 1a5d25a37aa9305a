"""Roles, each tried with a login that is nothing but its member."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from ingest.clock import MINUTE
from ingest.embedded import Server, default_root, prepare
from ingest.records import Gap, Instrument, Mark, Stream
from ingest.simulator.audit import audit
from ingest.store import roles
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.database import connect, connect_sync, with_database
from ingest.store.migrate import migrate, pending
from ingest.store.registry import Registry
from tests.conftest import Fetch, TestServer
from tests.db.logins import login, name_of
from tests.db.support import BTC, NOON, book, candle, quote, ticker, trade, trades
from tests.end_to_end.processes import Daemon, Simulator, assert_equal

READ_BY_THE_DAEMON = {
    *("migrations", "policies", "oldest_chunks", "removals", "maintenance_runs", "installation"),
    *("trade_candles_1m", "book_1m", *(f"candles_{step}" for step in ("5m", "15m", "30m", "1h", "4h", "1d", "1w"))),
}
"""Tables that the owner alone changes: when migrating, and on the maintenance connection."""

Rows = list[tuple[Any, ...]]


@pytest.fixture
def analyst(database_url: str) -> Iterator[str]:
    with login(database_url, roles.ANALYST) as url:
        yield url


@pytest.fixture
def writer_url(database_url: str) -> Iterator[str]:
    with login(database_url, roles.WRITER) as url:
        yield url


def run(url: str, statement: str, *parameters: object) -> Rows:
    with connect_sync(url, role="test") as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


RELATIONS = (
    "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1"
)
# Each with a NULL of the type of each argument.
CALLS = (
    "SELECT format('SELECT * FROM %I.%I(%s)', n.nspname, p.proname,"
    " (SELECT string_agg(format('NULL::%s', format_type(t, NULL)), ', ' ORDER BY i)"
    "  FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, i)))"
    " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " WHERE n.nspname = 'market' AND p.prokind = 'f' ORDER BY 1"
)


# What an analyst may do


def test_an_analyst_reads_every_view_of_market(analyst: str, fetch: Fetch) -> None:
    views = [row[0] for row in fetch(RELATIONS, "market")]
    assert "market.trades" in views
    for view in views:
        assert run(analyst, f"SELECT * FROM {view} LIMIT 1") == []


def test_an_analyst_calls_every_function_of_market(analyst: str, fetch: Fetch) -> None:
    calls = [row[0] for row in fetch(CALLS)]
    assert len(calls) >= 5
    refused = []
    for call in calls:
        try:
            run(analyst, call)
        except errors.InsufficientPrivilege as error:
            refused.append((call, str(error)))
        except psycopg.Error:
            continue  # of no exchange and no symbol there is nothing to tell
    assert refused == []


def test_an_analyst_reads_rows_and_their_coverage(
    analyst: str, database_url: str, instruments: dict[int, Instrument]
) -> None:
    async def store() -> None:
        writer = CopyWriter(database_url, role="test", instruments=instruments)
        await writer.write(trades(10), marks=[Mark(1, "trades", 10, NOON + MINUTE, NOON + MINUTE, NOON)])
        await writer.write([book()])
        await writer.write([candle()])
        await writer.close()

    asyncio.run(store())
    one = "market.instrument_id('binance', 'BTC/USDT')"
    assert run(analyst, f"SELECT count(*), min(exchange) FROM market.trades WHERE instrument_id = {one}") == [
        (10, "binance")
    ]
    assert run(analyst, f"SELECT count(*) FROM market.order_books WHERE instrument_id = {one}") == [(1,)]
    assert run(analyst, f"SELECT close FROM market.candles WHERE instrument_id = {one} AND timeframe = '1m'") != []
    assert run(analyst, "SELECT grade FROM market.coverage('binance', 'BTC/USDT', 'trades') LIMIT 1") != []
    assert run(analyst, f"SELECT count(*) FROM market.trades WHERE side = 'buy' AND instrument_id = {one}") == [(3,)]


def test_an_analyst_sees_nothing_of_ingest(analyst: str, fetch: Fetch) -> None:
    tables = [row[0] for row in fetch(RELATIONS, "ingest")]
    assert "ingest.trades" in tables
    for table in tables:
        with pytest.raises(errors.InsufficientPrivilege):
            run(analyst, f"SELECT * FROM {table} LIMIT 0")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO market.tickers (instrument_id) VALUES (1)",
        "UPDATE market.instruments SET symbol = 'X'",
        "DELETE FROM market.trades",
        "CREATE TABLE market.mine (a int)",
        "CREATE TABLE ingest.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION market.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT drop_chunks('ingest.trades', now())",
        "SELECT ingest.epoch_ns(now())",
        "TRUNCATE ingest.trades",
        "SET ROLE ingest_owner",
        "SET ROLE ingest_writer",
    ],
)
def test_an_analyst_cannot_write(analyst: str, statement: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):  # the latter: of a join
        run(analyst, statement)


def test_the_analysts_time_out_is_a_default(database_url: str, fetch: Fetch) -> None:
    settings = fetch("SELECT unnest(rolconfig) FROM pg_roles WHERE rolname = 'market_analyst' ORDER BY 1")
    assert settings == [("search_path=market, public",), ("statement_timeout=60s",)]
    with login(database_url, roles.ANALYST) as url:
        name = sql.Identifier(name_of(url))
        with connect_sync(database_url, role="test") as admin:
            for statement in ("SET statement_timeout = '100ms'", "SET search_path = market, public"):
                admin.execute(sql.SQL("ALTER ROLE {} ").format(name) + sql.SQL(statement))
        with psycopg.connect(url, autocommit=True) as session:  # as any client connects
            assert session.execute("SELECT count(*) FROM trades").fetchall() == [(0,)]
            session.execute("SELECT time_bucket('1 minute', now())")
            with pytest.raises(errors.QueryCanceled):
                session.execute("SELECT pg_sleep(5)")
            session.execute("SET statement_timeout = '5s'")
            session.execute("SELECT pg_sleep(0.3)")


# What the daemon may do


@pytest.mark.parametrize("staged", [False, True])
async def test_the_writer_writes_every_kind_of_row(writer_url: str, fetch: Fetch, *, staged: bool) -> None:
    assert not pending(writer_url)
    registry = Registry(writer_url)
    ids = await registry.register_instruments("binance", [BTC])
    stream = Stream(ids[BTC.symbol], BTC, "trades")
    await registry.register_streams([stream], {"trades": "trade"}, {"trades": "ids"})
    await registry.save_states({stream: ("live", None)})
    await registry.close()
    writer = CopyWriter(writer_url, role="test", instruments={1: BTC})
    try:
        for row in (trade(), candle(), book(), quote(), ticker()):
            assert await writer.write([row], staged=staged) == Written(1, 0, 0)
        assert await writer.write([trade(), trade("2", price="NaN")], staged=staged) == Written(0, 1, 1)
        gaps = [Gap(1, "trades", "test", NOON, NOON + MINUTE, opened_ns=NOON)]
        await writer.write([trade("3")], gaps=gaps, marks=[Mark(1, "trades", 3, NOON, NOON, NOON)], staged=staged)
    finally:
        await writer.close()
    assert fetch("SELECT count(*) FROM ingest.trades") == [(2,)]
    assert ("test",) in fetch("SELECT cause FROM ingest.gaps")
    assert fetch("SELECT watermark_id, state FROM ingest.streams WHERE channel = 'trades'") == [(3, "live")]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE ingest.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE VIEW market.mine AS SELECT 1",
        "ALTER TABLE ingest.trades ADD mine int",
        "DROP TABLE ingest.gaps",
        "DROP VIEW market.trades",
        "TRUNCATE ingest.trades",
        "SELECT drop_chunks('ingest.trades', now())",
        "SELECT set_chunk_time_interval('ingest.trades', INTERVAL '1 hour')",
        "UPDATE ingest.trades SET price = 1",
        "DELETE FROM ingest.trades",
        "DELETE FROM ingest.gaps",
        "DELETE FROM ingest.candles_1m",
        "UPDATE ingest.migrations SET sha256 = ''",
        "SET ROLE ingest_owner",
        "SET ROLE ingest_maintainer",
    ],
)
def test_the_writer_does_no_more(writer_url: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        run(writer_url, statement)


def test_every_table_is_written_by_the_daemon_or_named_here(fetch: Fetch) -> None:
    """A new table needs a line in sql/queries/roles_grants.sql, or one above."""
    found = fetch(
        "SELECT c.relname::text FROM pg_class c"
        " WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT has_table_privilege('ingest_writer', c.oid, 'INSERT') ORDER BY 1"
    )
    assert {row[0] for row in found} <= READ_BY_THE_DAEMON
    unread = fetch(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm')"
        " AND c.relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace)"
        " AND NOT has_table_privilege('ingest_writer', c.oid, 'SELECT')"
    )
    assert unread == []


def test_a_daemon_that_is_a_writer_and_nothing_else(database_url: str, writer_url: str, tmp_path: Path) -> None:
    """Streams, marks, gaps, the spool and repair, against the venue's ledger."""
    venue = Simulator("--trades-per-second", "500")
    first = second = None
    small = "[pipeline]\nqueue_max_rows = 1500\nbatch_max_rows = 500\n"
    try:
        first = Daemon(tmp_path, venue, writer_url, small)
        first.wait_until_live()
        with connect_sync(database_url, role="test") as lock, lock.transaction():
            lock.execute("LOCK TABLE ingest.trades, ingest.order_books IN ACCESS EXCLUSIVE MODE")
            venue.ledger.pause(paused=False)
            first.wait_until(lambda: "spool.filling" in first.log_file.read_text())
        assert first.stop() == 0
        time.sleep(1.5)  # trades go on
        second = Daemon(tmp_path, venue, writer_url, small)
        second.wait_until_live()
        time.sleep(1)
        second.wait_until(venue.between_candles)
        venue.ledger.pause(paused=True)
        second.wait_until_committed(venue)
        second.wait_until_candles(venue)
        unsettled = "SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')"
        second.wait_until(lambda: second.count(unsettled) == 0)
        assert second.stop() == 0
        compared = audit(database_url, venue.ledger, since=venue.since, depth=20)
    finally:
        for daemon in (first, second):
            if daemon is not None:
                daemon.close()
        venue.close()
    assert_equal([comparison for comparison in compared if comparison.channel != "book"])
    log = (tmp_path / "daemon.log").read_text()
    assert "permission denied" not in log
    assert "Traceback" not in log
    assert second.count("SELECT count(*) FROM ingest.gaps WHERE state = 'repaired' AND channel = 'trades'") == 3
    assert second.count("SELECT count(*) FROM ingest.streams WHERE watermark_id IS NOT NULL AND state = 'stopped'") > 0


# What maintenance may do


async def test_only_a_maintainer_becomes_the_owner(database_url: str, writer_url: str, fetch: Fetch) -> None:
    fetch("INSERT INTO ingest.trades VALUES (now(), 1, '1', 'buy', 1, 1, now())")
    with login(database_url, roles.WRITER, roles.MAINTAINER) as both:
        connection = await connect(both, role="test")
        try:
            with pytest.raises(
                errors.InsufficientPrivilege
            ):  # by itself it has the owner's rights no more than a writer
                await connection.execute("SELECT drop_chunks('ingest.trades', INTERVAL '-1 day')")
            assert await roles.become_owner(connection)
            await connection.execute("SELECT drop_chunks('ingest.trades', INTERVAL '-3 days')")
        finally:
            await connection.close()
    assert fetch("SELECT count(*) FROM ingest.trades") == [(0,)]
    connection = await connect(writer_url, role="test")
    try:
        assert not await roles.become_owner(connection)
        assert await (await connection.execute("SELECT current_user")).fetchone() == (name_of(writer_url),)
    finally:
        await connection.close()


@pytest.mark.community
async def test_the_owner_has_jobs_and_refreshes(database_url: str, writer_url: str, fetch: Fetch) -> None:
    """TimescaleDB runs a policy as the owner of its table, who must be allowed to log in."""
    owners = fetch("SELECT DISTINCT owner::text FROM timescaledb_information.jobs WHERE job_id >= 1000")
    assert owners == [("ingest_owner",)]
    aggregates = fetch(
        "SELECT format('%I.%I', view_schema, view_name) FROM timescaledb_information.continuous_aggregates"
    )
    for (aggregate,) in aggregates:
        with pytest.raises(errors.InsufficientPrivilege):
            run(writer_url, f"CALL refresh_continuous_aggregate('{aggregate}', NULL, NULL)")


# Who migrates


def owners(url: str) -> Rows:
    return run(
        url,
        "SELECT DISTINCT pg_get_userbyid(o) FROM ("
        " SELECT relowner FROM pg_class WHERE relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace)"
        " UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname IN ('ingest', 'market')"
        " UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace IN ('ingest'::regnamespace, 'market'::regnamespace)"
        " UNION ALL SELECT typowner FROM pg_type WHERE typnamespace = 'ingest'::regnamespace AND typtype = 'e') a (o)",
    )


def missing(url: str) -> list[str]:
    with connect_sync(url, role="test") as connection:
        return roles.missing(connection)


def test_a_superusers_schema_belongs_to_the_owner(empty_database_url: str) -> None:
    migrate(empty_database_url)
    assert owners(empty_database_url) == [(roles.OWNER,)]
    assert missing(empty_database_url) == []


def test_a_member_of_the_owner_migrates(database_url: str, empty_database_url: str) -> None:
    """`database_url` is asked for because migrating it has made the roles."""
    grant_create(empty_database_url, roles.OWNER)
    with login(empty_database_url, roles.OWNER) as url:
        assert migrate(url)
        assert owners(url) == [(roles.OWNER,)]
        assert missing(url) == []
        assert not migrate(url)
    with login(empty_database_url, roles.ANALYST) as url:
        assert run(url, "SELECT * FROM market.trades") == []


def test_who_may_make_no_roles_migrates_all_the_same(database_url: str, empty_database_url: str) -> None:
    """Then the tables are its own, and the statements for the rest are told."""
    with login(empty_database_url) as url:
        grant_create(empty_database_url, name_of(url))
        assert migrate(url)
        assert owners(url) == [(name_of(url),)]
        left = missing(url)
        assert f"GRANT {roles.OWNER} TO {name_of(url)}" in left
        assert f"ALTER TABLE ingest.trades OWNER TO {roles.OWNER}" in left
        assert [statement for statement in left if roles.ANALYST in statement] == []  # what it could grant it did
        with connect_sync(empty_database_url, role="test") as admin:
            for statement in left:
                admin.execute(statement.encode())
        assert missing(empty_database_url) == []
        assert owners(url) == [(roles.OWNER,)]
        assert not migrate(url)


def test_a_table_that_another_made_is_handed_over(database_url: str) -> None:
    run(database_url, "CREATE TABLE ingest.later (a int); CREATE VIEW market.later AS SELECT a FROM ingest.later")
    assert missing(database_url) != []
    assert not migrate(database_url)  # nothing to apply, and yet
    assert missing(database_url) == []
    with login(database_url, roles.ANALYST) as url:
        assert run(url, "SELECT * FROM market.later") == []


def grant_create(url: str, role: str) -> None:
    """As whoever sets up a database for ingest does."""
    with connect_sync(url, role="test") as admin:
        name = admin.info.dbname
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(role)))


def test_many_databases_make_the_roles_at_once(database_server: TestServer) -> None:
    """Roles belong to the server: on a new one, all of these want to make them."""
    if database_server.embedded is None:
        pytest.skip("needs a new server, and only the embedded one can be made")
    names = [f"race_{number}" for number in range(6)]
    with Server.temporary(prepare(default_root(), print)) as server:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'ingest_owner'").fetchall() == []
            for name in names:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        urls = [with_database(server.dsn, name) for name in names]
        with ThreadPoolExecutor(len(urls)) as pool:
            assert all(pool.map(migrate, urls))
        assert [missing(url) for url in urls] == [[]] * len(urls)
