"""Which database: the configured one, else a container's, else the embedded one."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psycopg
from msgspec import Struct

from ingest import embedded
from ingest.errors import DatabaseUnavailable

_COMPOSE_FILE = Path(__file__).resolve().parent.parent.parent / "deploy" / "compose.yaml"
_CONTAINER_URL = "postgresql://ingest:{password}@127.0.0.1:{port}/ingest"
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
    return embedded.Server(binaries, embedded.default_data_dir(root), report=report)


def container_engine() -> bool:
    """True when a container engine answers and the Compose file is at hand (a checkout has it)."""
    if shutil.which("docker") is None or not _COMPOSE_FILE.exists():
        return False
    try:
        probe = subprocess.run(
            ["docker", "info"],  # noqa: S607 - the user's own docker
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def _container_up(report: Report) -> str:
    report("starting TimescaleDB in a container")
    _compose("up", "--detach", "database")
    url = _CONTAINER_URL.format(
        password=os.environ.get("INGEST_CONTAINER_PASSWORD", "ingest"),
        port=os.environ.get("INGEST_CONTAINER_PORT", "5433"),
    )
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
