"""A backup by the server's own pg_dump, and back by its pg_restore with the steps that TimescaleDB requires.

https://docs.tigerdata.com/self-hosted/latest/backup-and-restore/logical-backup/
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from psycopg import Connection, sql

from ingest.backup import facts
from ingest.backup.archive import BLOCK_BYTES, Manifest, Reader, Writer
from ingest.backup.facts import Facts
from ingest.embedded import ClientCommand
from ingest.errors import ConfigError, Fatal
from ingest.store import roles

PART = "database.dump"

Report = Callable[[str], None]
Client = Callable[..., ClientCommand]
"""Makes the command for a program and its arguments."""


def write(writer: Writer, client: Client, snapshot: str, report: Report) -> None:
    """pg_dump's custom format as one part, of the exported snapshot."""
    command = client("pg_dump", "--format=custom", f"--snapshot={snapshot}")
    with tempfile.TemporaryFile() as said, writer.part(PART, packed=True) as sink:
        with subprocess.Popen(command.argv, env=command.environment, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            while block := process.stdout.read(BLOCK_BYTES):
                sink.write(block)
        if process.returncode:
            raise Fatal(f"pg_dump failed: {_last(said)}")
    report(f"{PART}: {sink.bytes:,} bytes")


def refuse(manifest: Manifest, known: Facts) -> None:
    """Raises ConfigError where this server cannot take the dump; says what can."""
    other = "make a backup with --method tables, which any edition and version takes"
    if not known.is_superuser:
        raise ConfigError(f"this backup is a dump, which only a superuser can restore; else {other}")
    if known.postgres < manifest.postgres:
        raise ConfigError(f"the dump is of PostgreSQL {manifest.postgres}, this server is {known.postgres}; {other}")
    if not known.available:
        raise ConfigError("this server has no TimescaleDB: install the extension first")
    if known.edition not in (manifest.edition, "unknown"):
        raise ConfigError(f"the dump is of the {manifest.edition} edition, this server is {known.edition}; {other}")
    if known.timescaledb and known.timescaledb != manifest.timescaledb:
        raise ConfigError(
            f"the dump is of TimescaleDB {manifest.timescaledb}, and this database has {known.timescaledb}. Make an "
            f"empty database (a dump is restored with the version that it was made with), or {other}"
        )


def read(connection: Connection, reader: Reader, client: Client, known: Facts, report: Report) -> dict[str, int]:
    """Restore into an empty database, and count its rows. What failed halfway is to be dropped."""
    manifest = reader.manifest
    if not known.timescaledb:
        version = sql.Literal(manifest.timescaledb)
        connection.execute(sql.SQL("CREATE EXTENSION timescaledb SCHEMA public VERSION {}").format(version))
    roles.prepare(connection)  # the dump names them
    connection.execute("SELECT timescaledb_pre_restore()")
    try:
        _restore(reader, client("pg_restore", "--exit-on-error"))
    finally:
        connection.execute("SELECT timescaledb_post_restore()")
    # Policies would change what is to be counted.
    connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
    try:
        counted = facts.count(connection, facts.tables(connection))
        connection.execute("ANALYZE")
    finally:
        connection.execute("SELECT _timescaledb_functions.start_background_workers()")
    report(f"{PART}: restored")
    return counted


def _restore(reader: Reader, command: ClientCommand) -> None:
    (part,) = reader.manifest.parts
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            command.argv, env=command.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            with _until_it_ends():
                for block in reader.blocks(part):
                    process.stdin.write(block)
            with _until_it_ends():
                process.stdin.close()
        if process.returncode:
            raise Fatal(f"pg_restore failed: {_last(said)} Drop this database and restore into a new one.")


@contextmanager
def _until_it_ends() -> Iterator[None]:
    """A program that ends early has said why: its exit code tells, not the broken pipe."""
    try:
        yield
    except BrokenPipeError:
        return


def _last(said: IO[bytes]) -> str:
    """The last lines that a program said, without what it warns of on every TimescaleDB."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    return " ".join([line for line in lines if "error" in line.lower() or "FATAL" in line][-3:] or lines[-3:])
