"""Figures: put in force by `migrate`, refused where rows would be lost, and changed one at a time."""

import shutil
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from ingest import policies
from ingest.config.model import Compression, Config, Retention, Rollups
from ingest.errors import ConfigError, Exit, Fatal
from ingest.store import migrate as migrating
from ingest.store import policies as store
from ingest.store.database import connect_sync
from ingest.store.migrate import migrate
from ingest.store.policies import COMPRESSION, RETENTION, Policies
from ingest.store.sqlfiles import read_folder, sql_root
from ingest.store.stated import stated
from tests.db.rollup_data import rows
from tests.db.support import Rows

DAY, HOUR = timedelta(days=1), timedelta(hours=1)

JOBS = """
SELECT job_id, proc_name::text, schedule_interval, config::text, scheduled, initial_start
FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY job_id
"""
FIGURES = "SELECT p::text FROM ingest.policies p ORDER BY 1"


@pytest.fixture(params=["here", pytest.param("community", marks=pytest.mark.community)])
def url(request: pytest.FixtureRequest) -> str:
    name = "database_url" if request.param == "here" else "community_database_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def figures(database_url: str) -> Policies:
    with connect_sync(database_url, role="test") as connection:
        return store.read(connection)


def config(**tables: dict[str, Any]) -> Config:
    return Config.model_validate(tables)


def ledger(url: str) -> Rows:
    return rows(url, "SELECT name, sha256, applied_at FROM ingest.migrations ORDER BY name")


def changed(before: Rows, after: Rows) -> Rows:
    """The rows of `after` that `before` has not."""
    return [row for row in after if row not in before]


# What is stated


def test_the_figures_that_check_config_reads_from_the_migrations_are_those_of_a_new_database(figures: Policies) -> None:
    found = stated(read_folder(sql_root() / "migrations"))
    assert found == figures
    assert list(found) == list(figures)


def test_the_defaults_of_the_configuration_are_those_of_the_migration(figures: Policies) -> None:
    def days(value: int | str) -> timedelta | None:
        return timedelta(days=value) if isinstance(value, int) else None

    for keys, table, field in ((RETENTION, Retention(), "retention"), (COMPRESSION, Compression(), "compress_after")):
        assert set(keys) == set(type(table).model_fields)
        for key, names in keys.items():
            assert {getattr(figures[name], field) for name in names} == {days(getattr(table, key))}, key
    assert sorted(name for names in RETENTION.values() for name in names) == sorted(figures)
    late = timedelta(hours=Rollups().late_hours)
    everything = Rollups(refresh_seconds=Rollups().refresh_seconds, late_hours=Rollups().late_hours)
    assert store.override(figures, Config(rollups=everything)) == figures
    assert {policy.late_after for policy in figures.values()} == {None, late}


def test_the_defaults_fit_together(figures: Policies) -> None:
    store.check(figures)


def test_only_what_is_stated_is_put_in_force(figures: Policies) -> None:
    assert store.override(figures, Config()) == figures
    wanted = store.override(figures, config(retention={"trades": "forever"}, compression={"quotes": "never"}))
    assert {name: policy for name, policy in wanted.items() if policy != figures[name]} == {
        "trades": msgspec.structs.replace(figures["trades"], retention=None),
        "quotes": msgspec.structs.replace(figures["quotes"], compress_after=None),
    }


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"retention": {"candles": 1}},
            ["candles_1d", "3 days", "its source candles_4h", "1 day only (retention.candles)", "Raise it to 3 days"],
        ),
        (
            {"retention": {"order_books": 1}},
            ["book_1m", "25 hours", "order_books is kept for 1 day only (retention.order_books)", "Raise it to 2 days"],
        ),
        ({"retention": {"order_books": 1}}, ["or lower rollups.late_hours to 23"]),
        ({"retention": {"book_1m": 1}}, ["book_1m", "but it is kept for 1 day only (retention.book_1m)"]),
        (
            {"retention": {"candles_1w": 7}},
            ["candles_1w", "15 days", "it is kept for 7 days only (retention.candles_1w)"],
        ),
        (
            {"rollups": {"late_hours": 100}},
            ["trades is compressed after 3 days (compression.trades)", "4 days and 4 hours late"],
        ),
        ({"rollups": {"late_hours": 100}}, ["Raise the one to 5 days or lower the other to 72 hours"]),
        (
            {"compression": {"rollups": 15}},
            ["candles_1w is compressed after 15 days (compression.rollups)", "Raise the one to 16 days at least"],
        ),
    ],
)
def test_figures_that_would_lose_rows_are_refused(
    figures: Policies, tables: dict[str, dict[str, Any]], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        store.check(store.override(figures, config(**tables)))
    assert [word for word in words if word not in str(raised.value)] == []


def test_a_window_that_would_miss_late_rows_is_refused(figures: Policies) -> None:
    figures["candles_4h"] = msgspec.structs.replace(figures["candles_4h"], refresh_start=25 * HOUR)
    with pytest.raises(ConfigError, match=r"candles_4h .* set its refresh_start in ingest\.policies to 32 hours"):
        store.check(figures)


def test_shown() -> None:
    shown = [store.shown(figure) for figure in (None, DAY, 30 * DAY, 25 * HOUR, 100 * HOUR, timedelta(seconds=45))]
    assert shown == ["never", "1 day", "30 days", "25 hours", "4 days and 4 hours", "45 seconds"]


# What migrate makes of it


def test_migrating_again_changes_nothing(url: str) -> None:
    before = ledger(url), rows(url, JOBS), rows(url, FIGURES)
    assert not migrate(url)
    assert not migrate(url, Config())
    assert not migrate(url, config(retention={"trades": 365}, rollups={"late_hours": 24}))
    assert (ledger(url), rows(url, JOBS), rows(url, FIGURES)) == before


def test_a_figure_changes_its_policy_and_nothing_else(url: str) -> None:
    for tables, table, job, inside in (
        ({"retention": {"trades": 100}}, "trades", "policy_retention", "100 days"),
        ({"retention": {"candles_1d": 4000}}, "candles_1d", "policy_retention", "4000 days"),
        ({"retention": {"candles_1d": 4001}}, "candles_1d", "policy_retention", "4001 days"),
        ({"compression": {"quotes": 9}}, "quotes", "policy_compression", "9 days"),
        ({"retention": {"mark_prices": 90}}, "mark_prices", "policy_retention", "90 days"),
        ({"retention": {"liquidations": 4000}}, "liquidations", "policy_retention", "4000 days"),
    ):
        before, jobs, figures = ledger(url), rows(url, JOBS), rows(url, FIGURES)
        said: list[str] = []
        plan = migrate(url, config(**tables), report=said.append)
        assert [file.name.partition("_")[2] for file in plan.policies] == [f"{table}.sql"]
        assert [line.partition(":")[0] for line in said][:1] == [f"policy of {table}"]
        assert len(changed(figures, rows(url, FIGURES))) == len(changed(before, ledger(url))) == 1
        differing = changed(jobs, rows(url, JOBS))
        if jobs:
            assert [(row[1], inside in row[3]) for row in differing] == [(job, True)]
            known = {row[0] for row in jobs}
            assert (table, differing[0][0] in known) != ("trades", False)  # it is the same job with another figure
        assert not migrate(url, config(**tables))


def test_a_dry_run_names_the_figures_and_changes_none(url: str) -> None:
    before = ledger(url), rows(url, JOBS), rows(url, FIGURES)
    plan = migrate(url, config(retention={"trades": 100}), dry_run=True)
    assert plan.figures == ("trades: retention 365 days -> 100 days",)
    assert [file.name for file in plan.policies] == ["10_trades.sql"]
    assert (ledger(url), rows(url, JOBS), rows(url, FIGURES)) == before


def test_refused_figures_change_nothing(url: str) -> None:
    before = ledger(url), rows(url, JOBS), rows(url, FIGURES)
    with pytest.raises(ConfigError, match=r"retention\.candles"):
        migrate(url, config(retention={"candles": 1, "trades": 100}))
    assert (ledger(url), rows(url, JOBS), rows(url, FIGURES)) == before


def test_never_and_for_ever_take_the_policy_away_and_back(url: str) -> None:
    def jobs_of_trades() -> Rows:
        return rows(
            url,
            "SELECT proc_name::text FROM timescaledb_information.jobs"
            " WHERE hypertable_schema = 'ingest' AND hypertable_name = 'trades' ORDER BY 1",
        )

    both = jobs_of_trades()
    migrate(url, config(retention={"trades": "forever"}, compression={"trades": "never"}))
    assert jobs_of_trades() == []
    migrate(url, config(retention={"trades": 365}, compression={"trades": 3}))
    assert jobs_of_trades() == both


def test_late_rows_and_cadence_reach_every_rollup(url: str) -> None:
    migrate(url, config(rollups={"late_hours": 2, "refresh_seconds": 30}))
    assert rows(url, "SELECT count(*) FROM ingest.policies WHERE refresh_every = '30 seconds'") == [(9,)]
    starts: dict[str, timedelta] = dict(
        rows(url, "SELECT table_name, refresh_start FROM ingest.policies WHERE source IS NOT NULL")
    )
    assert (starts["book_1m"], starts["candles_5m"], starts["candles_4h"], starts["candles_1w"]) == (
        3 * HOUR, 3 * HOUR, 10 * HOUR, 14 * DAY + 2 * HOUR
    )  # fmt: skip
    jobs = rows(
        url,
        "SELECT schedule_interval, (config ->> 'start_offset')::interval FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'",
    )
    assert sorted(jobs) in ([], sorted((timedelta(seconds=30), start) for start in starts.values()))


def test_a_chunk_interval_is_changed_in_the_table(url: str) -> None:
    rows(url, "UPDATE ingest.policies SET chunk_interval = '12 hours' WHERE table_name = 'trades'")
    rows(url, "UPDATE ingest.policies SET chunk_interval = '60 days' WHERE table_name = 'candles_5m'")
    migrate(url)
    dimensions = rows(url, "SELECT hypertable_name::text, time_interval FROM timescaledb_information.dimensions")
    assert ("trades", 12 * HOUR) in dimensions
    assert 60 * DAY in [interval for _, interval in dimensions]


# What is refused


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "sql"
    shutil.copytree(sql_root(), copy)
    monkeypatch.setattr(migrating, "sql_root", lambda: copy)
    return copy


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE VIEW ingest.candles_5m AS SELECT 1 AS a;",
        'create view "ingest" . "candles_1w" as select 1 as a;',
        "CREATE  OR\n REPLACE\tVIEW ingest.book_1m(a) AS SELECT 1;",
    ],
)
def test_a_view_in_the_place_of_a_rollup_is_refused(database_url: str, folder: Path, statement: str) -> None:
    before = ledger(database_url)
    (folder / "definitions" / "99_bad.sql").write_text(statement)
    with pytest.raises(Fatal, match=r"99_bad\.sql makes a view named ingest\.\w+, which is a rollup"):
        migrate(database_url)
    assert ledger(database_url) == before


def test_a_database_of_the_other_edition_is_refused(url: str) -> None:
    rows(url, "UPDATE ingest.migrations SET name = replace(replace(name, 'apache', 'x'), 'community', 'apache')")
    rows(url, "UPDATE ingest.migrations SET name = replace(name, 'policies/x/', 'policies/community/')")
    with pytest.raises(Fatal, match=r"was made under the \w+ edition"):
        migrate(url)


# What is shown


def test_policies_are_shown(url: str) -> None:
    console = Console(width=200, record=True, file=StringIO())
    assert policies.show(url, console, as_json=True) == Exit.OK
    report = msgspec.json.decode(console.export_text(), type=policies.Report)
    by_table = {policy.table: policy for policy in report.policies}
    candles = by_table["candles_1h"]
    assert (candles.source, candles.bucket_seconds, candles.retention_seconds) == ("candles_30m", 3600, 1825 * 86400)
    assert (by_table["trades"].source, by_table["candles_1w"].retention_seconds) == (None, None)
    jobs = [job.what for job in candles.jobs]
    assert jobs == (["compression", "refresh", "retention"] if report.edition == "community" else [])
    assert policies.show(url, console, as_json=False) == Exit.OK
    shown = console.export_text()
    assert "for ever" in shown
    assert "15 days ago" in shown
