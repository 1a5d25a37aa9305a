"""Warnings and errors in `ingest.logs`: which, in what words, and that nothing waits or fails for them."""

import asyncio
import logging
from collections.abc import Iterator

import psycopg
import pytest
import structlog

from ingest import events, log
from ingest.config.operation import Log
from ingest.maintain import Maintenance
from ingest.operate.journal import Journal
from tests.conftest import Fetch

KEPT = "SELECT level, module, event, fields FROM ingest.logs ORDER BY time, event"
AWAY = "postgresql://nobody:pl4nted@127.0.0.1:9/nowhere?connect_timeout=2"


@pytest.fixture(autouse=True)
def logging_as_configured() -> Iterator[None]:
    """As the daemon sets it up; and as it was, for the tests that come after."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.configure("debug", "json")
    structlog.configure(cache_logger_on_first_use=False)  # else loggers that are used here stay as they are for ever
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


async def journal_of(url: str, *, database: bool = True) -> None:
    """Say some things while a journal listens, as the daemon does."""
    say = structlog.get_logger()
    journal = Journal(url, Log(database=database))
    async with journal.listening():
        say.info("progress", rows=1)
        say.warning(
            "odd", exchange="binance", number=3, part=1.5, flag=True, nothing=None, text="a\0b", nan=float("nan")
        )
        say.error("broken", dsn="postgresql://u:pl4nted@h/d", held={"dsn": "postgresql://u:pl4nted@h/d"})
        events.say(events.SpoolFilling(7))
        await asyncio.to_thread(logging.getLogger("aiohttp.server").error, "a %s", "library")
        await asyncio.to_thread(logging.getLogger("psycopg.pool").error, "its own")
        try:
            int("postgresql://u:pl4nted@h/d")
        except ValueError:
            say.exception("crashed")
    say.error("too late")


async def test_warnings_and_errors_are_kept_with_their_fields_and_without_secrets(
    database_url: str, fetch: Fetch
) -> None:
    await journal_of(database_url)
    rows = fetch(KEPT)
    assert [(level, module, event) for level, module, event, _ in rows] == [
        ("warning", __name__, "odd"),
        ("error", __name__, "broken"),
        ("warning", __name__, "spool.filling"),
        ("error", "aiohttp.server", "aiohttp.server"),
        ("error", __name__, "crashed"),
    ]
    fields = [row[3] for row in rows]
    assert fields[0] == {
        "exchange": "binance",
        "number": 3,
        "part": 1.5,
        "flag": True,
        "nothing": None,
        "text": "a\\0b",
        "nan": "nan",
    }
    assert fields[1] == {"dsn": "postgresql://u:***@h/d", "held": "{'dsn': 'postgresql://u:***@h/d'}"}
    assert fields[2] == {"held_rows": 7, "reason": "the database is away or too slow"}
    assert fields[3]["message"] == "a library"
    assert "ValueError" in fields[4]["exception"]
    assert "pl4nted" not in str(rows)


async def test_by_default_nothing_is_kept(database_url: str, fetch: Fetch) -> None:
    await journal_of(database_url, database=False)
    assert fetch(KEPT) == []


async def test_what_finds_no_room_is_counted(database_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.operate.journal._QUEUE_LINES", 3)
    journal = Journal(database_url, Log(database=True))
    async with journal.listening():
        for number in range(10):
            structlog.get_logger().error("much", symbol=str(number))
    assert [(row[2], row[3].get("symbol"), row[3].get("lines")) for row in fetch(KEPT)] == [
        *(("much", str(number), None) for number in range(3)),
        ("log.dropped", None, 7),
    ]


async def test_without_a_database_it_holds_nobody_up_and_says_nothing_of_itself() -> None:
    journal = Journal(AWAY, Log(database=True))
    heard: list[log.Line] = []
    with log.heard_by(heard.append):
        async with journal.listening():
            structlog.get_logger().error("broken")
            assert [await journal._write() for _ in range(3)] == [False] * 3
            assert [line.event for line in journal._lines] == ["broken"]  # it waits
    assert [line.event for line in heard] == ["broken"]


async def test_lines_wait_for_a_database_that_comes_back(database_url: str, fetch: Fetch) -> None:
    journal = Journal(AWAY, Log(database=True))
    async with journal.listening():
        structlog.get_logger().error("broken")
        assert not await journal._write()
        journal._url = database_url
    assert [row[2] for row in fetch(KEPT)] == ["broken"]


@pytest.mark.parametrize("time_ns", [-1, 10**30, 2**62])
async def test_a_line_that_cannot_be_stored_holds_up_no_other(database_url: str, fetch: Fetch, time_ns: int) -> None:
    journal = Journal(database_url, Log(database=True))
    async with journal.listening():
        journal.take(log.Line(time_ns, "error", "m", "odd", {}))
        assert await journal._write()
        journal.take(log.Line(0, "oops", "m", "a level that there is not", {}))
        assert await journal._write()
        structlog.get_logger().error("broken")
    assert [row[2] for row in fetch(KEPT) if row[2] != "odd"].count("broken") == 1
    assert [row[2] for row in fetch(KEPT) if row[2] not in ("odd", "log.dropped")] == ["broken"]


async def test_old_lines_leave_by_the_retention(database_url: str, fetch: Fetch) -> None:
    if fetch("SELECT current_setting('timescaledb.license', true)") == [("timescale",)]:
        pytest.skip("under Community the server's own job does this")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ingest.logs SELECT now() - make_interval(days => days), 'error', 'm', 'e', '{}', 'p'"
            " FROM unnest(ARRAY[1, 300, 500]) AS days"
        )
    maintenance = Maintenance(database_url)
    try:
        done = await maintenance.once()
    finally:
        await maintenance.close()
    assert done is not None
    assert done.chunks == {"logs": 1}
    assert fetch("SELECT count(*) FROM ingest.logs WHERE time > now() - INTERVAL '365 days'") == [(2,)]
    assert fetch("SELECT count(*) FROM ingest.logs") == [(2,)]
