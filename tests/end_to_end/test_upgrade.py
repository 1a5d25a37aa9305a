"""The two-step rule: the previous daemon works with the next version's schema, while and after it is brought in."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

import ingest.store.migrate as migrations
from ingest.cli import app
from ingest.simulator.audit import audit
from ingest.store.sqlfiles import sql_root
from tests.end_to_end.processes import Daemon, Simulator, assert_equal
from tests.end_to_end.test_operation import get

LATER = """\
ALTER TABLE ingest.trades ADD COLUMN later_text text;
ALTER TABLE ingest.streams ADD COLUMN later_count bigint NOT NULL DEFAULT 0;
CREATE TABLE ingest.later (a int PRIMARY KEY);
"""
MISSING = "SELECT count(*) FROM ingest.gaps WHERE channel = 'trades' AND state <> 'repaired'"
LATER_VIEW = "CREATE OR REPLACE VIEW market.later AS SELECT instrument_id, later_text FROM ingest.trades;\n"


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`sql/` of a version after this one, which `migrate`, in the test's own process, then uses."""
    folder = tmp_path / "sql"
    shutil.copytree(sql_root(), folder)
    (folder / "migrations" / "9001_later.sql").write_text(LATER)
    (folder / "definitions" / "99_later.sql").write_text(LATER_VIEW)
    monkeypatch.setattr(migrations, "sql_root", lambda: folder)
    return folder


def trades(daemon: Daemon) -> int:
    return daemon.count("SELECT count(*) FROM ingest.trades")


def test_the_previous_daemon_runs_on_the_next_schema(
    venue: Simulator, daemon: Daemon, tmp_path: Path, database_url: str, next_version: Path
) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: trades(daemon) > 200)
    plan = migrations.migrate(database_url)  # the upgrade's first half, beside the running daemon
    assert [file.name for file in plan.migrations] == ["9001_later.sql"]
    before = trades(daemon)
    daemon.wait_until(lambda: trades(daemon) > before + 200)
    assert daemon.stop() == 0
    again = Daemon(tmp_path, venue, database_url)  # and a roll-back of the program alone
    try:
        again.wait_until_live()
        before = trades(again)
        again.wait_until(lambda: trades(again) > before + 200)
        venue.ledger.pause(paused=True)
        again.wait_until_committed(venue)
        again.wait_until(lambda: get(again, "/ready")[0] == 200)
        assert json.loads(get(again, "/ready")[1])["parts"]["schema"] == {"ok": True, "detail": "9001_later.sql"}
        again.wait_until(lambda: again.count(MISSING) == 0)
        assert again.stop() == 0
    finally:
        again.close()
    assert_equal(audit(database_url, venue.ledger, since=venue.since, depth=20)[:2])  # books have a named gap
    log = daemon.log_file.read_text()
    assert "database.retry" not in log
    assert "rows.rejected" not in log


def test_a_schema_that_breaks_it_is_refused_at_the_start(
    venue: Simulator, tmp_path: Path, database_url: str, next_version: Path
) -> None:
    (next_version / "migrations" / "9002_breaks.sql").write_text(f"{migrations.BREAKS}\nDROP TABLE ingest.later;\n")
    dry = CliRunner().invoke(app, ["migrate", "--dry-run"], env={"DATABASE_URL": database_url})
    assert dry.stdout.splitlines()[:2] == [
        "would apply 9001_later.sql",
        "would apply 9002_breaks.sql, with which earlier programs cannot work: the way back is a backup",
    ]
    migrations.migrate(database_url)
    daemon = Daemon(tmp_path, venue, database_url)
    assert daemon.process.wait(60) == 2
    said = daemon.log_file.read_text().splitlines()[-1]
    assert "a later version (9002_breaks.sql), with which this one cannot work. Install the later version" in said
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM ingest.streams").fetchone() == (0,)
