"""The two commands: what is chosen, checked and printed around the two methods."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast, get_args

import psycopg
from psycopg import Connection

from ingest.backup import dump, facts, tables
from ingest.backup.archive import FORMAT, Manifest, Method, Writer, create, open_verified
from ingest.backup.dump import Client
from ingest.backup.facts import Facts, Source
from ingest.embedded import ClientCommand
from ingest.errors import ConfigError, DatabaseUnavailable, Exit, Fatal
from ingest.store import database, programs
from ingest.store.migrate import migrate
from ingest.store.sqlfiles import read_folder, sql_root

Choice = Literal["auto", "dump", "tables"]
Report = Callable[[str], None]


def chosen(word: str) -> Choice:
    """A method's name as a person wrote it. Raises ConfigError for another word."""
    for choice in get_args(Choice):
        if choice == word:
            return cast("Choice", choice)
    raise ConfigError(f"--method {word}: there are {', '.join(get_args(Choice))}")


def backup(url: str, path: Path, *, method: Choice, in_container: bool, report: Report) -> Manifest:
    """Write the database of `url` to `path`, as it is at this moment; the daemon may go on.

    `auto` is `dump` for a superuser with pg_dump of the server's version at hand, else `tables`.
    """
    with database.connect_sync(url, role="backup") as connection:
        known = facts.look(connection)
        if not known.is_migrated:
            raise ConfigError("there is nothing to back up: the database is not migrated")
        client = _client(url, known.postgres, in_container=in_container)
        chosen = _choose(method, known, client, report)
        with _translated(), create(path) as writer:
            manifest = _write(connection, writer, chosen, known, client, report)
            writer.finish(manifest)
    report(f"{path}: {sum(manifest.rows.values()):,} rows in {len(manifest.rows)} tables, by {chosen}")
    return manifest


def restore(url: str, path: Path, *, in_container: bool, report: Report) -> Exit:
    """Bring what `path` holds into the empty database of `url`; FAILED when a table then has another number of rows."""
    with open_verified(path) as reader:
        manifest = reader.manifest
        _refuse_newer(manifest, path)
        known = _refuse_full(url, manifest)
        if manifest.method == "tables":
            migrate(url, report=report)
        with database.connect_sync(url, role="restore") as connection, _translated():
            if manifest.method == "tables":
                counted = tables.read(connection, reader, report)
                _forget_policies(connection)
            else:
                client = _client(url, known.postgres, in_container=in_container)
                counted = dump.read(connection, reader, client, known, report)
        if manifest.method == "tables":
            migrate(url, report=report)  # by the figures that came with the rows
    return _compare(manifest, counted, report)


def _forget_policies(connection: Connection) -> None:
    """Those that were applied were made by other figures than the backup's."""
    connection.execute("DELETE FROM ingest.migrations WHERE starts_with(name, 'policies/')")


def _refuse_full(url: str, manifest: Manifest) -> Facts:
    with database.connect_sync(url, role="restore") as connection, _translated():
        known = facts.look(connection)
        if known.is_migrated and (manifest.method == "dump" or facts.holds_data(connection)):
            raise ConfigError(
                "this database is not empty, and a restore never mixes: make an empty one (CREATE DATABASE …) and name "
                "it in [database] url or DATABASE_URL"
            )
    if manifest.method == "dump":
        dump.refuse(manifest, known)
    return known


def _write(
    connection: Connection, writer: Writer, method: Method, known: Facts, client: Client, report: Report
) -> Manifest:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        sources: list[Source] = facts.tables(connection)
        if method == "tables":
            rows = tables.write(connection, writer, sources, report)
        else:
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None  # noqa: S101 - a SELECT without FROM
            dump.write(writer, client, row[0], report)
            rows = facts.count(connection, sources)
        return Manifest(
            FORMAT,
            method,
            datetime.now(UTC),
            version("ingest"),
            known.postgres,
            known.timescaledb,
            known.edition,
            facts.migrations(connection),
            rows,
            tuple(writer.parts),
        )


def _choose(method: Choice, known: Facts, client: Client, report: Report) -> Method:
    if method != "auto":
        return method
    if not known.is_superuser:
        report("by tables: only a superuser could restore a dump")
        return "tables"
    try:
        client("pg_dump")
    except DatabaseUnavailable:
        report(f"by tables: there is no pg_dump of PostgreSQL {known.postgres} at hand")
        return "tables"
    return "dump"


def _client(url: str, major: int, *, in_container: bool) -> Client:
    def command(program: str, *arguments: str) -> ClientCommand:
        return programs.client(url, program, major, *arguments, in_container=in_container)

    return command


def _refuse_newer(manifest: Manifest, path: Path) -> None:
    known = {file.name for file in read_folder(sql_root() / "migrations")}
    unknown = [name for name in manifest.migrations if name not in known]
    if unknown:
        raise ConfigError(
            f"{path} was made by ingest {manifest.ingest}, whose schema has {', '.join(unknown)}: restore it with that "
            "version or a later one"
        )


def _compare(manifest: Manifest, counted: dict[str, int], report: Report) -> Exit:
    differing = [name for name, rows in manifest.rows.items() if counted.get(name) != rows]
    for name in differing:
        report(f"{name}: {counted.get(name, 0):,} rows, and the backup says {manifest.rows[name]:,}")
    if differing:
        return Exit.FAILED
    report(f"{sum(manifest.rows.values()):,} rows in {len(manifest.rows)} tables, as in the backup")
    if manifest.method == "dump":
        report("`ingest migrate` brings it to this version's schema, if it is of an older one")
    return Exit.OK


@contextmanager
def _translated() -> Iterator[None]:
    """PostgreSQL's errors become ours."""
    try:
        yield
    except (psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation) as error:
        raise Fatal(f"the backup does not fit this schema: {error.diag.message_primary}") from error
    except psycopg.Error as error:
        raise database.translate(error) from error
