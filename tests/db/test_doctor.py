"""`ingest doctor`: each fault is found, its statements mend it, and a sound database has none."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from psycopg import sql
from rich.console import Console
from typer.testing import CliRunner

from ingest import clock, doctor
from ingest.cli import app
from ingest.clock import SECOND
from ingest.config.model import Config, Spool
from ingest.doctor import server as of_server
from ingest.doctor.finding import Finding, Patient, look
from ingest.doctor.settings import RULES, Server, Setting, advise
from ingest.embedded.settings import memory_for
from ingest.errors import Exit
from ingest.pipeline import spool_view
from ingest.records import Instrument
from ingest.store import roles
from ingest.store.database import connect_sync
from tests.conftest import Fetch
from tests.db.logins import login, name_of

OF_A_TEST_SERVER = {rule.name for rule in RULES} | {"disk", "disk of the spool", "analysts"}
"""What the machine, a throw-away server and its other databases' logins may be told."""

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(spool=Spool(folder=str(tmp_path / "spool")))


@pytest.fixture
def examine(database_url: str, config: Config) -> Examine:
    """The findings by check, the worst of each."""

    def findings(url: str = database_url) -> dict[str, Finding]:
        worst: dict[str, Finding] = {}
        order = ("ok", "warn", "fail")
        for finding in doctor.examine(config, url):
            known = worst.get(finding.check)
            if known is None or order.index(finding.verdict) > order.index(known.verdict):
                worst[finding.check] = finding
        return worst

    return findings


@pytest.fixture
def patient(database_url: str, config: Config) -> Iterator[Patient]:
    with connect_sync(database_url, role="test") as connection:
        yield Patient(connection, database_url, config, look(connection))


def mend(url: str, finding: Finding) -> None:
    """Run the statements that a finding gives, as they stand."""
    assert finding.statements
    with connect_sync(url, role="test") as admin:
        for statement in finding.statements:
            admin.execute(statement.encode())


def grant_on_the_copy(url: str) -> None:
    """A copy of a template has none of the rights on the database itself."""
    with connect_sync(url, role="test") as admin:
        for statement in roles.missing(admin):
            admin.execute(statement.encode())


def test_a_sound_database(database_url: str, examine: Examine) -> None:
    grant_on_the_copy(database_url)
    found = examine()
    assert {name: f for name, f in found.items() if f.verdict != "ok" and name not in OF_A_TEST_SERVER} == {}
    assert found.keys() >= {
        *("PostgreSQL", "TimescaleDB", "edition", "clock", "disk", "schema", "roles", "spool", "login", "policies"),
        *("streams", "gaps", "rejected"),
    }
    assert found["edition"].says.partition(":")[0] in ("Community", "Apache")


def test_an_empty_database(empty_database_url: str, examine: Examine) -> None:
    found = examine(empty_database_url)
    assert found["TimescaleDB"].verdict == "fail"
    assert found["schema"] == msgspec.structs.replace(found["schema"], verdict="fail", advice="run `ingest migrate`")
    assert "streams" not in found
    mend(empty_database_url, found["TimescaleDB"])
    assert examine(empty_database_url)["TimescaleDB"].verdict == "ok"


@pytest.mark.parametrize(
    ("versions", "verdict", "says"),
    [
        ({"timescaledb": "2.12.2"}, "fail", "2.12.2 is too old: 2.13 is the least"),
        ({"timescaledb": "2.9.0"}, "fail", "2.9.0 is too old: 2.13 is the least"),
        ({"timescaledb": "2.13.0", "available": "2.13.0"}, "ok", "2.13.0"),
        ({"timescaledb": "2.13.0-dev", "available": "2.13.0"}, "ok", "2.13.0-dev"),
        ({"timescaledb": "2.19.3", "available": "2.29.2"}, "warn", "2.19.3, while 2.29.2 is installed on the server"),
        ({"timescaledb": "", "available": ""}, "fail", "this server has none"),
    ],
)
def test_the_extensions_version(patient: Patient, versions: dict[str, str], verdict: str, says: str) -> None:
    aged = msgspec.structs.replace(patient, server=msgspec.structs.replace(patient.server, **versions))
    (finding,) = of_server.extension(aged)
    assert (finding.verdict, finding.says) == (verdict, says)


@pytest.mark.parametrize(
    ("facts", "verdict"), [({"major": 14}, "fail"), ({"major": 15}, "ok"), ({"is_standby": True}, "fail")]
)
def test_the_servers_version(patient: Patient, facts: dict[str, Any], verdict: str) -> None:
    (finding,) = of_server.postgres(
        msgspec.structs.replace(patient, server=msgspec.structs.replace(patient.server, **facts))
    )
    assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "verdict", "says"),
    [
        (-10, "warn", "behind the server"),
        (10, "warn", "ahead of the server"),
        (3_600, "fail", "at least 3600.0 s ahead"),
    ],
)
def test_a_wrong_clock(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, seconds: int, verdict: str, says: str
) -> None:
    right = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: right() + seconds * SECOND)
    (finding,) = of_server.clocks(patient)
    assert finding.verdict == verdict
    assert says in finding.says


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "verdict"), [(50, "ok"), (10, "warn"), (1, "fail")])
def test_a_full_disk(patient: Patient, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 100 - free, free))
    assert {finding.verdict for finding in of_server.disk(patient) if "free" in finding.says} == {verdict}


def test_a_disk_that_is_elsewhere(patient: Patient) -> None:
    far = msgspec.structs.replace(patient, server=msgspec.structs.replace(patient.server, is_local=False))
    data, _ = of_server.disk(far)
    assert data.verdict == "ok"
    assert "cannot be seen from here" in data.says


# Rights


def test_a_login_without_rights(database_url: str, examine: Examine) -> None:
    with login(database_url) as url:
        found = examine(url)
        assert found["login"].statements == (f'GRANT ingest_writer TO "{name_of(url)}"',)
        assert found["login"].verdict == "fail"
        assert found["gaps"].says.startswith("could not look: permission denied")
        mend(database_url, found["login"])
        assert examine(url)["login"].verdict == "ok"


@pytest.mark.parametrize("group", [roles.WRITER, roles.MAINTAINER, roles.OWNER])
def test_a_daemons_login_sees_enough(database_url: str, examine: Examine, group: str) -> None:
    grant_on_the_copy(database_url)
    with login(database_url, roles.WRITER, group) as url:
        found = examine(url)
        assert {name: f for name, f in found.items() if f.verdict != "ok" and name not in OF_A_TEST_SERVER} == {}
        assert ("maintenance is another's" in found["login"].says) is (group == roles.WRITER)


def test_what_was_not_granted_is_told_as_statements(database_url: str, examine: Examine, fetch: Fetch) -> None:
    fetch("CREATE TABLE ingest.later (a int)")
    fetch("REVOKE INSERT ON ingest.trades FROM ingest_writer; REVOKE ALL ON SCHEMA market FROM market_analyst")
    found = examine()["roles"]
    assert found.verdict == "warn"
    assert set(found.statements) >= {
        "ALTER TABLE ingest.later OWNER TO ingest_owner",
        "GRANT SELECT ON ingest.later TO ingest_writer",
        "GRANT INSERT ON ingest.trades TO ingest_writer",
        "GRANT USAGE ON SCHEMA market TO market_analyst",
    }
    mend(database_url, found)
    assert examine()["roles"].verdict == "ok"


def test_analysts_without_a_time_out(database_url: str, examine: Examine) -> None:
    with login(database_url, roles.ANALYST) as url:
        found = examine()["analysts"]
        mine = [statement for statement in found.statements if name_of(url) in statement]
        assert mine == [
            f"ALTER ROLE {name_of(url)} SET search_path = market, public",
            f"ALTER ROLE {name_of(url)} SET statement_timeout = '60s'",
        ]
        mend(database_url, msgspec.structs.replace(found, statements=tuple(mine)))
        after = examine().get("analysts")
        assert after is None or not [statement for statement in after.statements if name_of(url) in statement]


def test_everyone_may_make_tables(database_url: str, config: Config, fetch: Fetch) -> None:
    fetch("GRANT CREATE ON SCHEMA public TO PUBLIC")
    found = [finding for finding in doctor.examine(config, database_url) if finding.check == "analysts"]
    revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    assert found[-1].statements == (revoke,)
    mend(database_url, found[-1])
    assert [finding for finding in doctor.examine(config, database_url) if revoke in finding.statements] == []


# Settings

SOUND = {
    **{name: Setting(None, "on", "on") for name in ("fsync", "full_page_writes", "autovacuum", "track_counts")},
    "synchronous_commit": Setting(None, "on", "on"),
    "shared_buffers": Setting(2 * 1024**3, "262144", "2GB"),
    "max_wal_size": Setting(4 * 1024**3, "4096", "4GB"),
    "checkpoint_timeout": Setting(900_000, "900", "15min"),
    "wal_compression": Setting(None, "lz4", "lz4", ("pglz", "lz4", "on", "off")),
    "max_locks_per_transaction": Setting(None, "256", "256"),
    "timescaledb.max_background_workers": Setting(None, "16", "16"),
    "max_worker_processes": Setting(None, "40", "40"),
    "max_parallel_workers": Setting(None, "8", "8"),
}


@pytest.mark.parametrize(
    ("name", "setting", "verdict", "statement"),
    [
        ("fsync", Setting(None, "off", "off"), "fail", "ALTER SYSTEM SET fsync = on"),
        ("full_page_writes", Setting(None, "off", "off"), "fail", "ALTER SYSTEM SET full_page_writes = on"),
        ("autovacuum", Setting(None, "off", "off"), "fail", "ALTER SYSTEM SET autovacuum = on"),
        ("synchronous_commit", Setting(None, "off", "off"), "warn", "ALTER SYSTEM SET synchronous_commit = on"),
        ("synchronous_commit", Setting(None, "local", "local"), None, None),
        (
            "shared_buffers",
            Setting(128 * 1024**2, "16384", "128MB"),
            "warn",
            "ALTER SYSTEM SET shared_buffers = '512MB'",
        ),
        ("max_wal_size", Setting(1024**3, "1024", "1GB"), "warn", "ALTER SYSTEM SET max_wal_size = '4096MB'"),
        (
            "checkpoint_timeout",
            Setting(300_000, "300", "5min"),
            "warn",
            "ALTER SYSTEM SET checkpoint_timeout = '15min'",
        ),
        (
            "wal_compression",
            Setting(None, "off", "off", ("pglz", "lz4")),
            "warn",
            "ALTER SYSTEM SET wal_compression = lz4",
        ),
        ("wal_compression", Setting(None, "off", "off", ("pglz",)), "warn", "ALTER SYSTEM SET wal_compression = on"),
        (
            "max_locks_per_transaction",
            Setting(None, "64", "64"),
            "warn",
            "ALTER SYSTEM SET max_locks_per_transaction = 256",
        ),
        (
            "timescaledb.max_background_workers",
            Setting(None, "4", "4"),
            "warn",
            "ALTER SYSTEM SET timescaledb.max_background_workers = 12",
        ),
        ("max_worker_processes", Setting(None, "8", "8"), "warn", "ALTER SYSTEM SET max_worker_processes = 27"),
    ],
)
def test_a_setting(name: str, setting: Setting, verdict: str | None, statement: str | None) -> None:
    assert list(advise(Server(SOUND, "Community", 24, None))) == []
    found = list(advise(Server({**SOUND, name: setting}, "Community", 24, None)))
    assert [(f.check, f.verdict, f.statements) for f in found] == ([(name, verdict, (statement,))] if verdict else [])


def test_workers_do_not_matter_to_the_apache_edition() -> None:
    few = {
        "timescaledb.max_background_workers": Setting(None, "1", "1"),
        "max_worker_processes": Setting(None, "8", "8"),
    }
    assert list(advise(Server({**SOUND, **few}, "Apache", 24, None))) == []


def test_a_small_machine_is_not_asked_for_more_than_suits_it() -> None:
    small = {
        "shared_buffers": Setting(128 * 1024**2, "16384", "128MB"),
        "max_wal_size": Setting(512 * 1024**2, "512", "512MB"),
    }
    assert list(advise(Server({**SOUND, **small}, "Apache", 0, memory_for(1024**3)))) == []


def test_settings_of_the_database(database_url: str, examine: Examine, fetch: Fetch) -> None:
    (name,) = fetch("SELECT current_database()")[0]
    with connect_sync(database_url, role="test") as admin:
        for setting in ("default_transaction_read_only = on", "statement_timeout = '5s'"):
            admin.execute(sql.SQL("ALTER DATABASE {} SET ").format(sql.Identifier(name)) + sql.SQL(setting))
    found = examine()
    assert found["default_transaction_read_only"].verdict == "fail"
    assert found["statement_timeout"].verdict == "warn"
    with connect_sync(database_url, role="test") as admin:
        admin.execute("SET default_transaction_read_only = off")
        for statement in found["default_transaction_read_only"].statements:
            admin.execute(statement.encode())
    assert "default_transaction_read_only" not in examine()


def test_a_restore_that_was_not_ended(database_url: str, examine: Examine, fetch: Fetch) -> None:
    fetch("SELECT timescaledb_pre_restore()")
    found = examine()["timescaledb.restoring"]
    assert found.verdict == "fail"
    mend(database_url, found)
    assert "timescaledb.restoring" not in examine()


# Work


def test_what_comes_seldom_stands_still_when_its_line_does(
    examine: Examine, instruments: dict[int, Instrument], fetch: Fetch
) -> None:
    fetch("UPDATE ingest.streams SET state = 'live', committed_at = now(), state_since = now() - INTERVAL '1 day'")
    fetch(
        "UPDATE ingest.streams SET committed_at = now() - INTERVAL '9 hours'"
        " WHERE channel IN ('liquidations', 'funding', 'open_interest')"
    )
    assert examine()["streams"].says == "18 of 18 streams live"
    fetch("UPDATE ingest.streams SET attested_to = now() WHERE channel = 'funding'")
    assert examine()["streams"].says == "18 of 18 streams live"
    fetch(
        "UPDATE ingest.streams SET attested_to = now() - INTERVAL '1 hour'"
        " WHERE channel = 'liquidations' AND instrument_id = 1"
    )
    assert examine()["streams"].says == "no progress for 15 minutes: binance BTC/USDT liquidations (live)"


def test_a_stream_that_stands_still(examine: Examine, instruments: dict[int, Instrument], fetch: Fetch) -> None:
    fetch("UPDATE ingest.streams SET state = 'live', committed_at = now(), state_since = now()")
    assert examine()["streams"].says == "18 of 18 streams live"
    fetch(
        "UPDATE ingest.streams SET committed_at = now() - INTERVAL '1 hour'"
        " WHERE instrument_id = 2 AND channel = 'book'"
    )
    assert examine()["streams"].says == "no progress for 15 minutes: binance ETH/USDT book (live)"
    fetch(
        "UPDATE ingest.streams SET state = 'blocked', state_since = now() - INTERVAL '1 hour' WHERE instrument_id = 1"
    )
    found = examine()["streams"]
    assert found.verdict == "warn"
    assert "BTC/USDT" in found.says
    assert found.says.endswith("and 7 more")
    fetch("UPDATE ingest.streams SET state = 'stopped'")
    assert examine()["streams"].verdict == "ok"


def test_gaps_that_are_old(examine: Examine, instruments: dict[int, Instrument], fetch: Fetch) -> None:
    fetch("INSERT INTO ingest.gaps (instrument_id, channel, from_time, cause) VALUES (1, 'trades', now(), 'x')")
    assert examine()["gaps"].says.startswith("1 open, none older than a day")
    fetch("UPDATE ingest.gaps SET opened_at = now() - INTERVAL '2 days'")
    assert examine()["gaps"].says.startswith("1 gap open for more than a day")
    fetch("UPDATE ingest.gaps SET state = 'unrecoverable'")
    assert examine()["gaps"].verdict == "ok"
    fetch("INSERT INTO ingest.backfill_jobs (purpose, instrument_id, channel, from_time, state, finished_at)"
          " VALUES ('backfill', 1, 'trades', now(), 'failed', now())")  # fmt: skip
    assert examine()["gaps"].says == "1 window of history could not be fetched since yesterday"


def test_rejected_input(examine: Examine, fetch: Fetch) -> None:
    fetch("INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload) VALUES"
          " (now(), 'binance', 's', 'why', 'x'), (now() - INTERVAL '3 days', 'binance', 's', 'why', 'x')")  # fmt: skip
    assert examine()["rejected"].says == "1 since yesterday, 2 in all"


def test_a_refresh_that_fails(examine: Examine, fetch: Fetch) -> None:
    fetch("INSERT INTO ingest.refresh_requests (table_name, attempts, error) VALUES ('candles_5m', 3, 'out of luck')")
    assert examine()["rollups"].says.endswith("failed 3 times: out of luck")


def test_maintenance_that_fails_or_does_not_run(
    examine: Examine, instruments: dict[int, Instrument], fetch: Fetch
) -> None:
    """Both editions leave the old rows of tables that are not cut into chunks to maintenance."""
    assert examine()["policies"].verdict == "ok"
    fetch("UPDATE ingest.streams SET committed_at = now() - INTERVAL '1 hour', state = 'stopped'")
    assert examine()["policies"].says.endswith("is overdue")
    fetch(
        "INSERT INTO ingest.maintenance_runs VALUES ('retention', now(), now(), NULL), ('refresh', now(), now(), NULL)"
    )
    assert examine()["policies"].verdict == "ok"
    fetch(
        "UPDATE ingest.maintenance_runs SET last_error = 'out of luck', total_failures = 4 WHERE policy = 'retention'"
    )
    found = examine()["policies"]
    assert found.verdict == "fail"
    assert found.says.startswith("retention failed (4 times")
    assert found.says.endswith("out of luck")


def test_what_waits_on_disk(examine: Examine, config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waiting = spool_view.Status(3, 1500, 2_000_000, 10**9, clock.now_ns() - 60 * SECOND, {}, [])
    monkeypatch.setattr(spool_view, "inspect", lambda _: waiting)
    assert examine()["spool"].verdict == "ok"
    old = msgspec.structs.replace(waiting, oldest_ns=clock.now_ns() - 3_600 * SECOND)
    monkeypatch.setattr(spool_view, "inspect", lambda _: old)
    assert examine()["spool"].says == "1,500 rows wait, the oldest for 60 minutes (2 MB)"
    broken = msgspec.structs.replace(waiting, damaged_files=["0007.damaged"])
    monkeypatch.setattr(spool_view, "inspect", lambda _: broken)
    assert examine()["spool"].verdict == "fail"


def test_a_file_in_the_spools_place(database_url: str, config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    placed = config.model_copy(update={"spool": config.spool.model_copy(update={"folder": str(tmp_path / "file")})})
    (found,) = (finding for finding in doctor.examine(placed, database_url) if finding.check == "spool")
    assert (found.verdict, "is a file" in found.says) == ("fail", True)


# The command


def test_the_exit_code_and_the_output(database_url: str, config: Config, fetch: Fetch) -> None:
    console = Console(record=True, width=200)
    code = doctor.show(config, database_url, as_json=False, console=console)
    failed = any(finding.verdict == "fail" for finding in doctor.examine(config, database_url))
    assert code == (Exit.FAILED if failed else Exit.OK)
    fetch("CREATE TABLE ingest.later (a int)")
    fetch("INSERT INTO ingest.maintenance_runs VALUES ('retention', now(), now(), 'out of luck')")
    assert doctor.show(config, database_url, as_json=False, console=console) is Exit.FAILED
    text = console.export_text()
    assert "\nALTER TABLE ingest.later OWNER TO ingest_owner;\n" in text
    assert "out of luck" in text


def test_json(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("INGEST_SPOOL__FOLDER", str(tmp_path / "spool"))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert {finding["check"] for finding in found} >= {"PostgreSQL", "TimescaleDB", "roles", "spool"}
    assert set(found[0]) == {"check", "verdict", "says", "advice", "statements"}
    assert result.exit_code == int(any(finding["verdict"] == "fail" for finding in found))
