"""Migrations: once, in order, whole or not at all, and never edited."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

import ingest.store.migrate as module
from ingest.errors import ConfigError, DatabaseUnavailable, Fatal
from ingest.store.migrate import Plan, migrate, pending
from ingest.store.sqlfiles import sql_root

Rows = list[tuple[Any, ...]]
Look = Callable[[str], Rows]


@pytest.fixture
def look(empty_database_url: str) -> Look:
    def execute(statement: str) -> Rows:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return execute


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `sql/` to be changed, which `migrate` then uses."""
    copy = tmp_path / "sql"
    shutil.copytree(sql_root(), copy)
    monkeypatch.setattr(module, "sql_root", lambda: copy)
    return copy


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `sql/` with two migrations and a definition, without TimescaleDB."""
    root = tmp_path / "sql"
    (root / "migrations").mkdir(parents=True)
    (root / "definitions").mkdir()
    (root / "migrations" / "0001_one.sql").write_text("CREATE TABLE public.one (a int);")
    (root / "migrations" / "0002_two.sql").write_text(
        "CREATE TABLE public.two (a int); INSERT INTO public.two VALUES (2);"
    )
    (root / "definitions" / "10_view.sql").write_text(
        "CREATE OR REPLACE VIEW public.three AS SELECT a FROM public.two;"
    )
    monkeypatch.setattr(module, "sql_root", lambda: root)
    return root


LEDGER = "SELECT name, sha256, applied_at FROM ingest.migrations ORDER BY name"
TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1
"""


def _names(plan: Plan) -> tuple[list[str], list[str]]:
    return [file.name for file in plan.migrations], [file.name for file in plan.definitions]


def test_from_nothing_and_again(empty_database_url: str, look: Look) -> None:
    said: list[str] = []
    plan = migrate(empty_database_url, report=said.append)
    files = sorted(path.name for path in (sql_root() / "migrations").glob("*.sql"))
    definitions = sorted(path.name for path in (sql_root() / "definitions").glob("*.sql"))
    assert _names(plan) == (files, definitions)
    ((licence,),) = look("SHOW timescaledb.license")
    which = "community" if licence == "timescale" else "apache"
    assert said == [
        *(f"applied sql/migrations/{name}" for name in files),
        f"applied sql/policies/{which} ({len(plan.policies)} tables)",
        f"applied sql/definitions ({len(definitions)} files)",
    ]
    ledger = look(LEDGER)
    assert [(name, sha) for name, sha, _ in ledger] == sorted(
        [(f.name, f.sha256) for f in plan.migrations]
        + [(f"policies/{which}/{f.name}", f.sha256) for f in plan.policies]
        + [(f"definitions/{f.name}", f.sha256) for f in plan.definitions]
    )
    assert look("SELECT to_regclass('market.trades') IS NOT NULL") == [(True,)]
    said.clear()
    again = migrate(empty_database_url, report=said.append)
    assert not again
    assert said == []
    assert look(LEDGER) == ledger
    assert not pending(empty_database_url)


def test_a_dry_run_changes_nothing(empty_database_url: str, look: Look) -> None:
    everything = "SELECT count(*) FROM pg_class UNION ALL SELECT count(*) FROM pg_namespace"
    before = look(everything)
    plan = migrate(empty_database_url, dry_run=True)
    assert _names(plan)[0][0] == "0001_schemas_and_reference.sql"
    assert look(everything) == before
    assert _names(migrate(empty_database_url)) == _names(plan)


def test_an_edited_migration_is_refused(empty_database_url: str, small: Path, look: Look) -> None:
    migrate(empty_database_url)
    before = look(LEDGER)
    (small / "migrations" / "0001_one.sql").write_text("CREATE TABLE public.one (a int, b int);")
    (small / "migrations" / "0003_three.sql").write_text("CREATE TABLE public.more (a int);")
    for dry_run in (True, False):
        with pytest.raises(Fatal, match=r"sql/migrations/0001_one\.sql was edited .* Restore the file"):
            migrate(empty_database_url, dry_run=dry_run)
    assert look(LEDGER) == before
    assert look(TABLES) == [("one",), ("three",), ("two",)]


def test_a_migration_before_an_applied_one_is_refused(empty_database_url: str, small: Path, look: Look) -> None:
    migrate(empty_database_url)
    (small / "migrations" / "0001_zero.sql").write_text("CREATE TABLE public.zero (a int);")
    with pytest.raises(Fatal, match=r"0001_zero\.sql is not applied, but the later 0002_two\.sql is"):
        migrate(empty_database_url)
    assert look(TABLES) == [("one",), ("three",), ("two",)]


def test_a_failing_migration_leaves_nothing_of_itself(empty_database_url: str, small: Path, look: Look) -> None:
    broken = small / "migrations" / "0003_broken.sql"
    broken.write_text("CREATE TABLE public.half (a int); INSERT INTO public.half VALUES (1); SELECT 1 / 0;")
    said: list[str] = []
    with pytest.raises(
        Fatal, match=r"sql/migrations/0003_broken\.sql failed: division by zero\. Nothing of that file was applied"
    ):
        migrate(empty_database_url, report=said.append)
    assert said == ["applied sql/migrations/0001_one.sql", "applied sql/migrations/0002_two.sql"]
    assert look(TABLES) == [("one",), ("two",)]
    assert [row[0] for row in look(LEDGER)] == ["0001_one.sql", "0002_two.sql"]
    broken.write_text("CREATE TABLE public.half (a int);")
    assert _names(migrate(empty_database_url)) == (["0003_broken.sql"], ["10_view.sql"])
    assert look(TABLES) == [("half",), ("one",), ("three",), ("two",)]


def test_a_failing_definition_leaves_the_old_ones(empty_database_url: str, small: Path, look: Look) -> None:
    migrate(empty_database_url)
    before = look(LEDGER)
    (small / "definitions" / "10_view.sql").write_text(
        "CREATE OR REPLACE VIEW public.three AS SELECT a, 1 AS b FROM public.two;"
    )
    (small / "definitions" / "20_bad.sql").write_text("CREATE VIEW public.four AS SELECT nothing FROM public.two;")
    with pytest.raises(Fatal, match=r'20_bad\.sql failed: column "nothing" does not exist'):
        migrate(empty_database_url)
    assert look(LEDGER) == before
    assert look("SELECT * FROM public.three") == [(2,)]


def test_definitions_are_applied_again_when_one_changed(empty_database_url: str, small: Path, look: Look) -> None:
    (small / "definitions" / "20_other.sql").write_text(
        "CREATE OR REPLACE VIEW public.four AS SELECT a FROM public.three;"
    )
    migrate(empty_database_url)
    (small / "definitions" / "10_view.sql").write_text(
        "CREATE OR REPLACE VIEW public.three AS SELECT a + 1 AS a FROM public.two;"
    )
    assert _names(pending(empty_database_url)) == ([], ["10_view.sql", "20_other.sql"])
    assert _names(migrate(empty_database_url)) == ([], ["10_view.sql", "20_other.sql"])
    assert look("SELECT * FROM public.four") == [(3,)]
    assert not pending(empty_database_url)


def test_two_at_once_apply_once(empty_database_url: str, look: Look) -> None:
    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(migrate, [empty_database_url] * 4))
    assert sorted(map(bool, plans)) == [False, False, False, True]
    done = next(plan for plan in plans if plan)
    assert len(look(LEDGER)) == len(done.migrations) + len(done.policies) + len(done.definitions)


def test_without_the_extension_it_says_so(empty_database_url: str, folder: Path, look: Look) -> None:
    first = folder / "migrations" / "0001_schemas_and_reference.sql"
    first.write_text(first.read_text().replace("EXISTS timescaledb", "EXISTS timescaledb_that_is_not_there"))
    with pytest.raises(Fatal, match=r"this PostgreSQL has no TimescaleDB .* Install the extension"):
        migrate(empty_database_url)
    assert look("SELECT to_regnamespace('market')::text") == [(None,)]


def test_a_newer_database_lacks_nothing(empty_database_url: str, small: Path, look: Look) -> None:
    migrate(empty_database_url)
    look("INSERT INTO ingest.migrations (name, sha256) VALUES ('0003_newer.sql', 'abc')")
    assert not pending(empty_database_url)
    assert not migrate(empty_database_url)


def test_a_newer_database_that_breaks_this_program_is_refused(empty_database_url: str, small: Path, look: Look) -> None:
    (small / "migrations" / "0003_later.sql").write_text(f"{module.BREAKS}\nALTER TABLE public.two RENAME a TO b;")
    (small / "definitions" / "10_view.sql").write_text(
        "CREATE OR REPLACE VIEW public.three AS SELECT b FROM public.two;"
    )
    migrate(empty_database_url)
    assert look("SELECT name, compatible FROM ingest.migrations WHERE name !~ '/' ORDER BY name") == [
        ("0001_one.sql", True),
        ("0002_two.sql", True),
        ("0003_later.sql", False),
    ]
    (small / "migrations" / "0003_later.sql").unlink()
    before = look(LEDGER)
    for act in (migrate, pending):
        with pytest.raises(ConfigError, match=r"a later version \(0003_later\.sql\), with which this one cannot work"):
            act(empty_database_url)
    assert look(LEDGER) == before


def test_a_newer_database_keeps_its_newer_views(empty_database_url: str, small: Path, look: Look) -> None:
    view, newer = small / "definitions" / "10_view.sql", small / "migrations" / "0003_newer.sql"
    old = view.read_text()
    view.write_text("CREATE OR REPLACE VIEW public.three AS SELECT a, a + 1 AS b FROM public.two;")
    newer.write_text("CREATE TABLE public.newer (a int);")
    migrate(empty_database_url)
    view.write_text(old)
    newer.unlink()
    assert not pending(empty_database_url)
    assert not migrate(empty_database_url)
    assert look("SELECT * FROM public.three") == [(2, 3)]


def test_no_server_is_told_with_what_to_do() -> None:
    with pytest.raises(DatabaseUnavailable, match="ingest db status"):
        migrate("postgresql://nobody@127.0.0.1:1/none")
