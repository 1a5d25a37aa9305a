"""Backup and restore: every row of every table again, by both methods, and by whoever may.

On a database with several chunks of each table, compressed ones where the edition compresses, and rollups.
"""

import asyncio
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from ingest import backup
from ingest.backup import facts
from ingest.backup.archive import MANIFEST, Manifest
from ingest.cli import app
from ingest.clock import MINUTE
from ingest.errors import ConfigError, DatabaseUnavailable, Exit
from ingest.records import Gap, Instrument, Mark, Reject
from ingest.store import programs, roles
from ingest.store.copy_writer import CopyWriter
from ingest.store.database import connect_sync
from tests.conftest import TestServer
from tests.db.logins import login
from tests.db.support import (
    DAY,
    NOON,
    book,
    candle,
    funding,
    liquidation,
    mark_price,
    open_interest,
    quote,
    ticker,
    trade,
)

Rows = dict[str, list[Any]]
Say = Callable[[str], None]

JOBS_OF_GAPS = (
    "INSERT INTO ingest.backfill_jobs (purpose, gap_id, instrument_id, channel, from_time, to_time)"
    " SELECT 'repair', gap_id, instrument_id, channel, from_time, to_time FROM ingest.gaps"
)
CHANGES = (
    "INSERT INTO ingest.rollup_changes (instrument_id, channel, from_time, to_time)"
    " VALUES (1, 'candles', now() - INTERVAL '1 hour', now())"
)
OLDEST_CHUNK = (
    "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
    " WHERE hypertable_name = 'trades' ORDER BY range_start LIMIT 1"
)


@pytest.fixture
def full_url(database_url: str, instruments: dict[int, Instrument]) -> str:
    """A database with rows of every kind in several chunks, what daemons leave behind, and rollups of them."""
    asyncio.run(_fill(database_url, instruments))
    with connect_sync(database_url, role="test") as connection:
        for statement in (JOBS_OF_GAPS, CHANGES):
            connection.execute(statement)
        _roll_up(connection)
    return database_url


async def _fill(url: str, instruments: dict[int, Instrument]) -> None:
    writer = CopyWriter(url, role="test", instruments=instruments)
    times = [NOON - day * DAY + minute * MINUTE for day in range(4) for minute in range(90)]
    try:
        rows = [
            trade(str(n), time_ns=t, instrument_id=1 + n % 2, side=None if n % 5 else "sell")
            for n, t in enumerate(times)
        ]
        odd = [trade("\\N", time_ns=NOON), trade("tab\tand\nline", time_ns=NOON), trade("ä€𝄞", time_ns=NOON)]
        mark = Mark(1, "trades", 7, NOON, NOON, NOON - DAY)
        gap = Gap(1, "trades", "a test's", NOON - MINUTE, NOON, opened_ns=NOON)
        await writer.write([*rows, *odd], marks=[mark], gaps=[gap])
        await writer.write([candle(time_ns=t, quote_volume=None) for t in times])
        await writer.write([book(time_ns=t, asks=()) for t in times])
        await writer.write([quote(time_ns=t, sequence=n) for n, t in enumerate(times)])
        await writer.write([ticker(), ticker(instrument_id=2, last=None)])
        await writer.write([funding(time_ns=t) for t in times])
        await writer.write([open_interest(time_ns=t, value=None) for t in times])
        await writer.write([mark_price(time_ns=t) for t in times])
        await writer.write([liquidation(time_ns=t) for t in times])
        await writer.write([Reject("binance", "a stream", "a \\ reason", bytes(range(256)), NOON)])
    finally:
        await writer.close()


def _roll_up(connection: psycopg.Connection) -> None:
    """Fill the rollups of the edition at hand, with one row whose source is long gone."""
    _hold_jobs(connection)
    sources = {source.name: source for source in facts.tables(connection)}
    finest_first = connection.execute("SELECT table_name FROM ingest.policies WHERE source IS NOT NULL ORDER BY bucket")
    for (name,) in finest_first.fetchall():
        if sources[name].is_aggregate:
            connection.execute(f"CALL refresh_continuous_aggregate('ingest.{name}', NULL, NULL)".encode())
    for name in ("candles_1h", "candles_1d"):
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (time, instrument_id, open, high, low, close, volume, minutes)"
                " VALUES ('2023-01-02', 1, 1, 2, 0.5, 1.5, 10, 60)"
            ).format(sources[name].identifier)
        )
    if sources["candles_1h"].is_aggregate:
        (oldest,) = connection.execute(OLDEST_CHUNK).fetchall()
        connection.execute("SELECT compress_chunk(%s::regclass, true)", oldest)


def _hold_jobs(connection: psycopg.Connection) -> None:
    """Policies refresh and compress whenever they like; not while this is compared."""
    connection.execute("SELECT alter_job(job_id, scheduled => false) FROM ingest.policy_jobs WHERE run_by = 'server'")
    running = "SELECT 1 FROM timescaledb_information.job_stats WHERE job_status = 'Running' AND job_id >= 1000"
    while connection.execute(running).fetchall():
        connection.execute("SELECT pg_sleep(0.1)")


def every_row(url: str) -> Rows:
    """Every table's and rollup's rows as text, sorted."""
    with connect_sync(url, role="test") as connection:
        return {
            source.name: sorted(
                row[0]
                for row in connection.execute(
                    sql.SQL("SELECT ({})::text FROM {} t").format(
                        sql.SQL("ROW({})").format(sql.SQL(", ").join(map(sql.Identifier, source.columns))),
                        source.identifier,
                    )
                ).fetchall()
            )
            for source in facts.tables(connection)
        }


@pytest.fixture
def other_url(database_server: TestServer) -> Iterator[str]:
    with database_server.empty() as url:
        yield url


def has_program(url: str) -> bool:
    with connect_sync(url, role="test") as connection:
        return programs.find("pg_dump", facts.look(connection).postgres) is not None


def said() -> tuple[list[str], Say]:
    lines: list[str] = []
    return lines, lines.append


@pytest.mark.parametrize("method", ["dump", "tables"])
def test_every_row_comes_back(full_url: str, other_url: str, tmp_path: Path, method: backup.Choice) -> None:
    if method == "dump" and not has_program(full_url):
        pytest.skip("no pg_dump of the server's version on this machine")
    file = tmp_path / "ingest.zip"
    before = every_row(full_url)
    manifest = backup.backup(full_url, file, method=method, in_container=False, report=print)
    assert manifest.rows == {name: len(rows) for name, rows in before.items()}
    assert manifest.rows["trades"] == 363
    assert file.stat().st_mode & 0o077 == 0
    assert backup.restore(other_url, file, in_container=False, report=print) is Exit.OK
    assert every_row(other_url) == before
    with connect_sync(other_url, role="test") as connection:
        assert connection.execute("SELECT count(*) FROM show_chunks('ingest.trades')").fetchone() == (4,)
        assert roles.missing(connection) == [] or all("ON DATABASE" in each for each in roles.missing(connection))
        # What numbers itself goes on behind what was restored.
        connection.execute(
            "INSERT INTO ingest.gaps (instrument_id, channel, from_time, cause) VALUES (1, 'book', now(), 'x')"
        )
        connection.execute("INSERT INTO ingest.exchanges (name) VALUES ('another')")


def test_a_restored_database_goes_on(
    full_url: str, other_url: str, tmp_path: Path, instruments: dict[int, Instrument]
) -> None:
    file = tmp_path / "ingest.zip"
    backup.backup(full_url, file, method="tables", in_container=False, report=print)
    backup.restore(other_url, file, in_container=False, report=print)
    asyncio.run(_fill(other_url, instruments))  # the same again, as a daemon that repairs would
    before, after = every_row(full_url), every_row(other_url)
    for table in ("trades", "candles_1m", "order_books", "quotes", "tickers", "gaps", "rejected"):
        assert after[table] == before[table], table
    with login(other_url, roles.ANALYST) as url, connect_sync(url, role="test") as connection:
        assert connection.execute("SELECT count(*) FROM market.trades").fetchone() == (363,)


def test_without_a_superuser(full_url: str, other_url: str, tmp_path: Path) -> None:
    """Read by a maintainer, restored by a member of the owner."""
    file = tmp_path / "ingest.zip"
    lines, say = said()
    with login(full_url, roles.MAINTAINER) as reader:
        assert backup.backup(reader, file, method="auto", in_container=False, report=say).method == "tables"
    assert lines[0] == "by tables: only a superuser could restore a dump"
    with connect_sync(other_url, role="test") as admin:
        grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {}")
        admin.execute(grant.format(sql.Identifier(admin.info.dbname), sql.Identifier(roles.OWNER)))
    with login(other_url, roles.OWNER) as owner:
        assert backup.restore(owner, file, in_container=False, report=print) is Exit.OK
    assert every_row(other_url) == every_row(full_url)


def test_a_dump_is_no_ones_but_a_superusers(full_url: str, other_url: str, tmp_path: Path) -> None:
    if not has_program(full_url):
        pytest.skip("no pg_dump of the server's version on this machine")
    file = tmp_path / "ingest.zip"
    backup.backup(full_url, file, method="dump", in_container=False, report=print)
    with login(other_url) as url, pytest.raises(ConfigError, match=r"only a superuser .* --method tables"):
        backup.restore(url, file, in_container=False, report=print)


def test_rows_that_come_meanwhile_are_not_half_in_it(full_url: str, other_url: str, tmp_path: Path) -> None:
    """One snapshot: what is committed after its start is in no table of it."""
    file = tmp_path / "ingest.zip"
    before = every_row(full_url)

    def write_more(line: str) -> None:
        if line.startswith("candles_1m"):
            with connect_sync(full_url, role="test") as connection:
                connection.execute("INSERT INTO ingest.trades VALUES (now(), 1, 'late', 'buy', 1, 1, now())")
                connection.execute("INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload)"
                                   " VALUES (now(), 'binance', 's', 'late', 'x')")  # fmt: skip

    backup.backup(full_url, file, method="tables", in_container=False, report=write_more)
    assert len(every_row(full_url)["trades"]) == len(before["trades"]) + 1
    backup.restore(other_url, file, in_container=False, report=print)
    assert every_row(other_url) == before


def test_a_database_with_rows_is_left_alone(full_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ingest.zip"
    backup.backup(full_url, file, method="tables", in_container=False, report=print)
    before = every_row(full_url)
    with pytest.raises(ConfigError, match="not empty, and a restore never mixes"):
        backup.restore(full_url, file, in_container=False, report=print)
    assert every_row(full_url) == before


def test_no_backup_is_overwritten(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ingest.zip"
    file.write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        backup.backup(database_url, file, method="tables", in_container=False, report=print)
    assert file.read_text() == "precious"


def test_what_fails_halfway_leaves_no_file(full_url: str, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(line: str) -> None:
        raise StopError(line)

    with pytest.raises(StopError):
        backup.backup(full_url, tmp_path / "ingest.zip", method="tables", in_container=False, report=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_backup_is_refused_before_anything_changes(full_url: str, other_url: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.zip", tmp_path / "broken.zip"
    backup.backup(full_url, whole, method="tables", in_container=False, report=print)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(b"64000.10", b"64000.11") if "trades" in name else data)
    with pytest.raises(ConfigError, match=r"tables/trades\.copy is damaged"):
        backup.restore(other_url, broken, in_container=False, report=print)
    broken.write_bytes(whole.read_bytes()[:-500])
    with pytest.raises(ConfigError, match="is no whole backup"):
        backup.restore(other_url, broken, in_container=False, report=print)
    assert _schemas(other_url) == []


def test_a_backup_of_a_newer_schema_is_refused(full_url: str, other_url: str, tmp_path: Path) -> None:
    whole, newer = tmp_path / "whole.zip", tmp_path / "newer.zip"
    manifest = backup.backup(full_url, whole, method="tables", in_container=False, report=print)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(newer, "w") as target:
        for name in source.namelist():
            changed = msgspec.structs.replace(manifest, migrations=(*manifest.migrations, "9999_newer.sql"))
            target.writestr(name, msgspec.json.encode(changed) if name == MANIFEST else source.read(name))
    with pytest.raises(ConfigError, match=r"9999_newer\.sql: restore it with that version"):
        backup.restore(other_url, newer, in_container=False, report=print)
    assert _schemas(other_url) == []


def test_a_part_that_does_not_fit_changes_nothing(full_url: str, other_url: str, tmp_path: Path) -> None:
    """All tables or none: a row that breaks a constraint takes back the others."""
    whole, bad = tmp_path / "whole.zip", tmp_path / "bad.zip"
    manifest = backup.backup(full_url, whole, method="tables", in_container=False, report=print)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(bad, "w") as target:
        parts = []
        for part in manifest.parts:
            data = source.read(part.name)
            if part.table == "trades":
                data = data.replace(b"64000.10", b"-1")
            target.writestr(part.name, data)
            parts.append(msgspec.structs.replace(part, sha256=_sha256(data)))
        target.writestr(MANIFEST, msgspec.json.encode(msgspec.structs.replace(manifest, parts=tuple(parts))))
    with pytest.raises(Exception, match="does not fit this schema"):
        backup.restore(other_url, bad, in_container=False, report=print)
    rows = every_row(other_url)
    assert [name for name in ("trades", "candles_1m", "exchanges", "instruments") if rows[name]] == []


@pytest.mark.community
def test_from_one_edition_to_the_other(full_url: str, community_server: TestServer, tmp_path: Path) -> None:
    """By tables a record moves from Debian's server to Community: rollups, too, whose source is gone."""
    file = tmp_path / "ingest.zip"
    before = every_row(full_url)
    backup.backup(full_url, file, method="tables", in_container=False, report=print)
    with community_server.empty() as url:
        assert backup.restore(url, file, in_container=False, report=print) is Exit.OK
        assert every_row(url) == before


def test_no_program_of_that_version_is_told(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"no pg_dump of PostgreSQL 7.*postgresql-client-7.*--method tables"):
        programs.client(database_url, "pg_dump", 7)


def test_the_password_is_not_among_the_words(database_url: str) -> None:
    if not has_program(database_url):
        pytest.skip("no pg_dump of the server's version on this machine")
    with connect_sync(database_url, role="test") as connection:
        major, password = facts.look(connection).postgres, connection.info.password
    command = programs.client(database_url, "pg_dump", major)
    assert command.environment["PGPASSWORD"] == password
    assert [word for word in command.argv if password in word and password != "ingest"] == []


def test_the_commands(full_url: str, other_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ingest.zip"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", full_url)
    runner = CliRunner()
    assert runner.invoke(app, ["backup", str(file), "--method", "tables"]).exit_code == 0
    assert msgspec.json.decode(zipfile.ZipFile(file).read(MANIFEST), type=Manifest).method == "tables"
    monkeypatch.setenv("DATABASE_URL", other_url)
    assert runner.invoke(app, ["restore", str(file)]).exit_code == 0
    assert every_row(other_url) == every_row(full_url)
    assert isinstance(runner.invoke(app, ["backup", str(file), "--method", "magic"]).exception, ConfigError)


def _schemas(url: str) -> list[Any]:
    with connect_sync(url, role="test") as connection:
        return connection.execute("SELECT nspname FROM pg_namespace WHERE nspname IN ('ingest', 'market')").fetchall()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
