"""Bring a database to the schema of `sql/`: migrations once and in order, definitions whenever they change.

One migration is one transaction together with its row in `ingest.migrations`, and an advisory lock keeps two
programs from migrating at once. An applied migration is frozen: its file may not change any more.
"""

from collections.abc import Callable

import psycopg
from msgspec import Struct
from psycopg import Connection

from ingest.errors import Fatal
from ingest.store import database
from ingest.store.sqlfiles import SqlFile, query, read_folder, sql_root

_LOCK = 0x1A6E57  # any number that is ours


class Plan(Struct, frozen=True):
    """What `migrate` would do, in order."""

    migrations: tuple[SqlFile, ...]
    definitions: tuple[SqlFile, ...]

    def __bool__(self) -> bool:
        return bool(self.migrations or self.definitions)


def migrate(url: str, *, dry_run: bool = False, report: Callable[[str], None] = lambda _: None) -> Plan:
    """Apply what is missing; return what was (or, in a dry run, would be) applied. Idempotent.

    Raises `Fatal` when an applied migration was edited, or one would be applied out of order, or SQL fails; in
    each case the failing file changed nothing.
    """
    with database.connect_sync(url, role="migrate") as connection:
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            plan = _plan(connection)
            if not dry_run:
                _apply(connection, plan, report)
        except psycopg.Error as error:
            raise database.translate(error) from error
        return plan


def pending(url: str) -> Plan:
    """What the database lacks of this program's schema. A newer database lacks nothing."""
    return migrate(url, dry_run=True)


def _plan(connection: Connection) -> Plan:
    applied = _applied(connection)
    migrations = read_folder(sql_root() / "migrations")
    for file in migrations:
        if file.name in applied and applied[file.name] != file.sha256:
            raise Fatal(
                f"sql/migrations/{file.name} was edited after it had been applied to this database. "
                "Restore the file (git checkout) and put the change into a new migration."
            )
    missing = [file for file in migrations if file.name not in applied]
    known = {file.name for file in migrations}
    newest = max((name for name in applied if name in known), default="")
    for file in missing:
        if file.name < newest:
            raise Fatal(
                f"sql/migrations/{file.name} is not applied, but the later {newest} is. "
                "Give the new migration a number after all applied ones."
            )
    if any(name not in known for name in applied if not name.startswith("definitions/")):
        return Plan(tuple(missing), ())  # the database is newer than this program: its definitions stay
    definitions = read_folder(sql_root() / "definitions")
    changed = any(applied.get(f"definitions/{file.name}") != file.sha256 for file in definitions)
    # Definitions build on each other, so that one change means all of them, in order.
    return Plan(tuple(missing), tuple(definitions) if missing or changed else ())


def _applied(connection: Connection) -> dict[str, str]:
    row = connection.execute("SELECT to_regclass('ingest.migrations')").fetchone()
    if row is None or row[0] is None:
        return {}
    return dict(connection.execute("SELECT name, sha256 FROM ingest.migrations").fetchall())


def _apply(connection: Connection, plan: Plan, report: Callable[[str], None]) -> None:
    if not plan:
        return
    connection.execute(query("create_ledger"))
    for file in plan.migrations:
        with connection.transaction():
            _execute(connection, file, f"sql/migrations/{file.name}")
            _record(connection, file.name, file)
        report(f"applied sql/migrations/{file.name}")
    with connection.transaction():
        for file in plan.definitions:
            _execute(connection, file, f"sql/definitions/{file.name}")
            _record(connection, f"definitions/{file.name}", file)
    if plan.definitions:
        report(f"applied sql/definitions ({len(plan.definitions)} files)")


def _execute(connection: Connection, file: SqlFile, name: str) -> None:
    try:
        connection.execute(file.text)
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        raise _explain(error, name) from error


def _record(connection: Connection, name: str, file: SqlFile) -> None:
    connection.execute(
        "INSERT INTO ingest.migrations (name, sha256) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
        [name, file.sha256],
    )


def _explain(error: psycopg.Error, name: str) -> Fatal:
    text = error.diag.message_primary or " ".join(str(error).split())
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    if isinstance(error, psycopg.errors.UndefinedFile | psycopg.errors.FeatureNotSupported) and "extension" in text:
        return Fatal(
            f"this PostgreSQL has no TimescaleDB ({text}). Install the extension, choose another server in "
            "[database] url, or leave it empty to use the embedded one."
        )
    return Fatal(f"{name} failed: {text}.{hint} Nothing of that file was applied.")
