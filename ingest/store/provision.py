"""Which database: the configured one, else a container's, else the embedded one."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict

from ingest import embedded
from ingest.config.secret import redact_dsn
from ingest.errors import DatabaseUnavailable, IngestError
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query

_COMPOSE_FILE = Path(__file__).resolve().parent.parent.parent / "deploy" / "compose.yaml"
_START_SECONDS = 60

Report = Callable[[str], None]


class Database(Struct, frozen=True):
    """A database to use and where it comes from. `url` holds a password: never show it."""

    url: str
    origin: Literal["configured", "container", "embedded"]


def up(configured: str | None, report: Report) -> Database:
    """The first that holds: `configured`, a container engine, the embedded server; the last two are started.

    Raises DatabaseUnavailable, naming the three ways, when none does.
    """
    if configured:
        return Database(configured, "configured")
    if container_engine():
        return Database(_container_up(report), "container")
    return Database(embedded_server(report).up(), "embedded")


def locate(configured: str | None) -> str:
    """The DSN of the database that `up` would use, without starting anything."""
    if configured:
        return configured
    if container_engine():
        return _container_url()
    binaries = embedded.installed(embedded.default_root())
    if binaries is None:
        raise DatabaseUnavailable("There is no database yet: `ingest db up` makes one, or set DATABASE_URL.")
    return embedded.Server(binaries, embedded.default_data_dir()).dsn


def down(configured: str | None) -> str:
    """Stop what `up` would have started; return what was done, in words."""
    if configured:
        return "[database] url names a server of yours: nothing was stopped"
    if container_engine():
        _compose("stop", "database")
        return "the container was stopped; its volume keeps the data"
    if embedded.installed(embedded.default_root()) is None:
        return "there is no embedded server"
    embedded_server(lambda _line: None).down()
    return "the embedded server was stopped; its data is kept"


def embedded_server(report: Report) -> embedded.Server:
    """The embedded server, its programs fetched where they are missing; not started."""
    root = embedded.default_root()
    binaries = embedded.prepare(root, report)
    return embedded.Server(binaries, embedded.default_data_dir(), report=report)


def container_engine() -> bool:
    """True when a container engine with Compose answers, and the Compose file is at hand (a checkout has it)."""
    if shutil.which("docker") is None or not _COMPOSE_FILE.exists():
        return False
    try:
        probe = subprocess.run(
            ["docker", "compose", "ls"],  # noqa: S607 - the user's own docker; fails without engine or Compose
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def _container_url() -> str:
    """As `deploy/compose.yaml` publishes it."""
    password = quote(os.environ.get("INGEST_CONTAINER_PASSWORD", "ingest"), safe="")
    return f"postgresql://ingest:{password}@127.0.0.1:{os.environ.get('INGEST_CONTAINER_PORT', '5433')}/ingest"


def _container_up(report: Report) -> str:
    report("starting TimescaleDB in a container")
    _compose("up", "--detach", "database")
    url = _container_url()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"the container does not answer after {_START_SECONDS} s; see `docker compose logs database`"
                ) from error
            time.sleep(0.5)
        else:
            return url


def _compose(*arguments: str) -> None:
    result = subprocess.run(
        ["docker", "compose", "--file", str(_COMPOSE_FILE), *arguments],  # noqa: S607 - the user's own docker
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise DatabaseUnavailable(f"docker compose {' '.join(arguments)} failed: {result.stderr.strip()}")


def describe(configured: str | None) -> dict[str, str]:
    """What is known of the database, without starting it."""
    if configured:
        return _describe_server(configured, "configured")
    if container_engine():
        return _describe_server(_container_url(), "container")
    binaries = embedded.installed(embedded.default_root())
    if binaries is None:
        return {"origin": "embedded", "state": "not made yet: `ingest db up` makes it"}
    server = embedded.Server(binaries, embedded.default_data_dir())
    status = server.status()
    facts = {
        "origin": "embedded",
        "state": f"running, pid {status.pid}" if status.running else "stopped",
        "PostgreSQL": status.postgres_version,
        "TimescaleDB": f"{status.timescaledb_version}, Apache edition",
        "data": f"{status.data_dir} ({status.size_bytes / 1e6:,.0f} MB)",
    }
    return facts | ({"address": status.dsn} if status.dsn else {})


def _describe_server(url: str, origin: str) -> dict[str, str]:
    facts = {"origin": origin, "address": redact_dsn(url)}
    try:
        with connect_sync(url, role="db status") as connection:
            row = connection.execute(query("server_facts")).fetchone()
    except IngestError as error:
        return facts | {"state": f"not reachable: {error}"}
    if row is None:
        return facts
    postgres, timescale, edition, size = row
    return facts | {
        "state": "running",
        "PostgreSQL": postgres,
        "TimescaleDB": f"{timescale}, {edition} edition" if timescale else "not installed in this database",
        "data": size,
    }


def psql(
    configured: str | None, name: str | None, arguments: list[str], *, role: str | None = None
) -> embedded.ClientCommand:
    """The command that opens psql on database `name`, or on the usual one, as `role` (default: the login's own); the
    password is in its environment.
    """
    options = {"PGOPTIONS": "-c search_path=market,public" + (f" -c role={role}" if role else "")}
    if not configured and container_engine():
        inside = (
            "exec",
            "--env",
            f"PGOPTIONS={options['PGOPTIONS']}",
            "database",
            "psql",
            "--username",
            "ingest",
        )
        command = ("docker", "compose", "--file", str(_COMPOSE_FILE), *inside, "--dbname", name or "ingest", *arguments)
        return embedded.ClientCommand(command, dict(os.environ))
    if not configured:
        server = embedded_server(lambda _line: None)
        server.up()
        client = server.psql_command(name or "ingest", *arguments)
        return embedded.ClientCommand(client.argv, client.environment | options)
    if shutil.which("psql") is None:
        raise DatabaseUnavailable("psql is not on the PATH. Install postgresql-client, or use any client of yours.")
    parts = conninfo_to_dict(configured)
    variables = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "sslmode": "PGSSLMODE"}
    given = {variables[key]: str(value) for key, value in parts.items() if key in variables}
    dbname = name or str(parts.get("dbname") or "")
    return embedded.ClientCommand(("psql", "--dbname", dbname, *arguments), {**os.environ, **given, **options})


def in_container(program: str, *arguments: str) -> embedded.ClientCommand:
    """A program of the database container's own image; what it reads and writes goes through this one."""
    inside = ("exec", "--no-TTY", "database", program, *arguments)
    return embedded.ClientCommand(("docker", "compose", "--file", str(_COMPOSE_FILE), *inside), dict(os.environ))
