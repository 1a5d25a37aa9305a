"""Bring a database to the schema of `sql/`: migrations once and in order, policies whenever they or their figures
change, definitions whenever they change.

One migration is one transaction together with its row in `ingest.migrations`, and an advisory lock keeps two
programs from migrating at once. An applied migration is frozen: its file may not change any more.

Two steps: what a release makes superfluous, a later one takes away, so that the program before it works with the new
schema. A migration that the program before it cannot work with says so in its first line (`BREAKS`); that program
then refuses the database.
"""

import re
from collections.abc import Callable

import psycopg
from msgspec import Struct, structs
from psycopg import Connection

from ingest.config.model import Config
from ingest.errors import ConfigError, Fatal
from ingest.store import database, policies, roles
from ingest.store.sqlfiles import SqlFile, query, read_folder, sql_root

BREAKS = "-- Earlier programs cannot work with this."
_LOCK = 0x1A6E57  # any number that is ours
_VIEW = r"CREATE\s+(?:OR\s+REPLACE\s+)?VIEW\s+\"?ingest\"?\s*\.\s*\"?({})\"?[\s(]"


class Plan(Struct, frozen=True):
    """What `migrate` would do. `figures` says in words which of `ingest.policies` change; of a database that has none
    yet it says nothing.
    """

    migrations: tuple[SqlFile, ...]
    definitions: tuple[SqlFile, ...]
    policies: tuple[SqlFile, ...] = ()
    figures: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.figures)

    @property
    def breaking(self) -> tuple[SqlFile, ...]:
        """Those with which earlier programs cannot work: behind them the way back is a backup."""
        return tuple(file for file in self.migrations if file.text.startswith(BREAKS))

    @property
    def files(self) -> tuple[SqlFile, ...]:
        """In the order in which they are applied."""
        return (*self.migrations, *self.policies, *self.definitions)


def migrate(
    url: str,
    config: Config | None = None,
    *,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Apply what is missing; return what was (or, in a dry run, would be) applied. Idempotent.

    The figures that `config` states are put in force; without it those of the database stay. Raises `Fatal` when an
    applied migration was edited, or one would be applied out of order, or SQL fails; in each case the failing file
    changed nothing. Raises `ConfigError` for figures that would lose rows, before any of them is changed, and for a
    later version's schema that this program cannot work with.
    """
    with database.connect_sync(url, role="migrate") as connection:
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            plan = _plan(connection, config)
            if not dry_run:
                roles.prepare(connection)
                plan = _apply(connection, plan, config, report)
                roles.settle(connection)  # last: it covers whatever was made
        except psycopg.Error as error:
            raise database.translate(error) from error
        return plan


def pending(url: str, config: Config | None = None) -> Plan:
    """What the database lacks of this program's schema, and which figures of `config` are not in force. A newer
    database lacks nothing.
    """
    return migrate(url, config, dry_run=True)


def _plan(connection: Connection, config: Config | None) -> Plan:
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
    if foreign := [name for name in _breaking(connection) if name not in known]:
        raise ConfigError(
            f"the database has the schema of a later version ({', '.join(foreign)}), with which this one cannot work. "
            "Install the later version again, or restore the backup that was made before it migrated."
        )
    newest = max((name for name in applied if name in known), default="")
    for file in missing:
        if file.name < newest:
            raise Fatal(
                f"sql/migrations/{file.name} is not applied, but the later {newest} is. "
                "Give the new migration a number after all applied ones."
            )
    if any(name not in known for name in applied if "/" not in name):
        return Plan(tuple(missing), ())  # the database is newer than this program: its policies and definitions stay
    figures, due = _policies(connection, config, applied)
    definitions = read_folder(sql_root() / "definitions")
    changed = any(applied.get(f"definitions/{file.name}") != file.sha256 for file in definitions)
    # Definitions build on each other, so that one change means all of them, in order.
    return Plan(tuple(missing), tuple(definitions) if missing or changed else (), due[1:], figures)


def _policies(
    connection: Connection, config: Config | None, applied: dict[str, str], *, put: bool = False
) -> tuple[tuple[str, ...], tuple[SqlFile, ...]]:
    """The figures that change, and the files that are then due; `put` makes them so.

    Where the migration that makes the table is still missing, all of them are due.
    """
    which = policies.edition(connection)
    if not _there(connection, "ingest.policies"):
        return (), tuple(policies.files(sql_root() / "policies", which, applied, {}))
    before = policies.read(connection)
    wanted = policies.override(before, config) if config else before
    policies.check(wanted)
    said = policies.apply(connection, before, wanted) if put else policies.changes(before, wanted)
    return tuple(said), tuple(policies.files(sql_root() / "policies", which, applied, wanted))


def _applied(connection: Connection) -> dict[str, str]:
    if not _there(connection, "ingest.migrations"):
        return {}
    return dict(connection.execute("SELECT name, sha256 FROM ingest.migrations").fetchall())


def _breaking(connection: Connection) -> list[str]:
    if not _there(connection, "ingest.migrations"):
        return []
    return [name for (name,) in connection.execute(query("breaking_migrations")).fetchall()]


def _there(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    return row is not None and row[0] is not None


def _apply(connection: Connection, plan: Plan, config: Config | None, report: Callable[[str], None]) -> Plan:
    if not plan:
        return plan
    for file in plan.definitions:
        _refuse_rollups(file)
    connection.execute(query("create_ledger"))
    for file in plan.migrations:
        with connection.transaction():
            _execute(connection, file, f"sql/migrations/{file.name}")
            _record(connection, file.name, file)
        report(f"applied sql/migrations/{file.name}")
    plan = _apply_policies(connection, plan, config, report)
    with connection.transaction():
        for file in plan.definitions:
            _execute(connection, file, f"sql/definitions/{file.name}")
            _record(connection, f"definitions/{file.name}", file)
    if plan.definitions:
        report(f"applied sql/definitions ({len(plan.definitions)} files)")
    return plan


def _apply_policies(connection: Connection, plan: Plan, config: Config | None, report: Callable[[str], None]) -> Plan:
    """The figures, then a transaction for each table: what is done stays, and what failed is due again."""
    if not (plan.migrations or plan.policies or plan.figures):
        return plan
    with connection.transaction():
        figures, due = _policies(connection, config, _applied(connection), put=True)
    which = policies.edition(connection)
    for line in figures:
        report(f"policy of {line}")
    for file in due:
        with connection.transaction():
            _execute(connection, file, f"sql/policies/{which}/{file.name}")
            if file is not due[0]:  # the steps are no policy
                _record(connection, f"policies/{which}/{file.name}", file)
    if due:
        report(f"applied sql/policies/{which} ({len(due) - 1} table{'' if len(due) == 2 else 's'})")
    return structs.replace(plan, policies=due[1:], figures=figures)


def _refuse_rollups(file: SqlFile) -> None:
    """A view in an aggregate's place is made in silence, and may crash the server later."""
    names = policies.tables(sql_root() / "policies")
    found = re.search(_VIEW.format("|".join(names)), file.text, re.IGNORECASE) if names else None
    if found is not None:
        raise Fatal(
            f"sql/definitions/{file.name} makes a view named ingest.{found[1]}, which is a rollup. Give the view "
            "another name; a rollup is defined in sql/policies/."
        )


def _execute(connection: Connection, file: SqlFile, name: str) -> None:
    try:
        connection.execute(file.text)
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        raise _explain(error, name) from error


def _record(connection: Connection, name: str, file: SqlFile) -> None:
    connection.execute(
        "INSERT INTO ingest.migrations (name, sha256, compatible) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
        [name, file.sha256, not file.text.startswith(BREAKS)],
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
