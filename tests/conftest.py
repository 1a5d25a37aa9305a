"""A real TimescaleDB for tests, and a database of its own for each test that asks.

The server is the first that holds: TEST_DATABASE_URL or DATABASE_URL, whose role may create databases; a
container, where an engine answers; the embedded server, which is made for the session and goes with it. The schema
is migrated once, into a template, and every test gets a copy of it in some 20 to 60 ms.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, Protocol
from uuid import uuid4
from zlib import crc32

import psycopg
import pytest
from psycopg import sql

from ingest.embedded import Server, default_root, prepare
from ingest.errors import DatabaseUnavailable
from ingest.store.database import with_database
from ingest.store.migrate import migrate

COMMUNITY_IMAGE = "timescale/timescaledb:2.29.2-pg17"
_CONTAINER_SECONDS = 90
_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - the mount; a folder of our own is made below it
_MEMORY_BYTES = 2 * 1024**3


class Fetch(Protocol):
    """Every row of a statement, in a connection of its own that is in UTC."""

    def __call__(self, statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]: ...


class TestServer:
    """A server on which databases are made and dropped. `embedded` is set where it may be stopped and started."""

    __test__ = False

    def __init__(self, url: str, embedded: Server | None = None) -> None:
        self.url = url
        self.embedded = embedded
        self._template: str | None = None
        self._prefix = f"ingest_test_{uuid4().hex[:8]}"
        self._numbers = itertools.count(1)

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database with nothing in it, not even the extension."""
        with self._database("template0") as url:
            yield url

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a database with the schema of `sql/`."""
        if self._template is None:
            self._template = self._make_template()
        with self._database(self._template) as url:
            yield url

    def close(self) -> None:
        if self._template is not None:
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._template)
            self._template = None

    def _make_template(self) -> str:
        name = f"{self._prefix}_template"
        self._execute("CREATE DATABASE {} TEMPLATE template0", name)
        migrate(with_database(self.url, name))
        # TimescaleDB's scheduler connects to every database that it finds, and a template in use cannot be copied.
        self._execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        with psycopg.connect(self.url, autocommit=True) as connection:
            statement = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(statement, [name])
        return name

    @contextmanager
    def _database(self, template: str) -> Iterator[str]:
        name = f"{self._prefix}_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        try:
            yield with_database(self.url, name)
        finally:
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in an order without reason: the slow ones lie in few folders, and each worker is to have its share."""
    items.sort(key=lambda item: crc32(item.path.name.encode()))  # stable: a file's own tests stay in their order


@pytest.fixture(scope="session")
def database_server() -> Iterator[TestServer]:
    """The server of the session."""
    with _server() as server:
        yield server
        server.close()


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database for one test; for one that is marked `community`, and names no server, on Community."""
    named = {"community_server", "community_database_url"} & set(request.fixturenames)
    is_elsewhere = request.node.get_closest_marker("community") is not None and not named
    server: TestServer = request.getfixturevalue("community_server" if is_elsewhere else "database_server")
    with server.migrated() as url:
        yield url


@pytest.fixture
def empty_database_url(database_server: TestServer) -> Iterator[str]:
    """A database with nothing in it, for one test."""
    with database_server.empty() as url:
        yield url


@pytest.fixture(scope="session")
def community_server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server with TimescaleDB Community; skips where there is none, or fails where REQUIRE_COMMUNITY is set."""
    url = os.environ.get("TEST_COMMUNITY_DATABASE_URL")
    if url:
        server = TestServer(url)
        yield server
        server.close()
    elif _container_engine():
        with _container() as url:
            yield TestServer(url)
    else:
        missing = "no TimescaleDB Community: set TEST_COMMUNITY_DATABASE_URL or start a container engine"
        if os.environ.get("REQUIRE_COMMUNITY"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture
def community_database_url(community_server: TestServer) -> Iterator[str]:
    """A migrated database on TimescaleDB Community, for one test; mark the test `community`."""
    with community_server.migrated() as url:
        yield url


@pytest.fixture
def fetch(database_url: str) -> Fetch:
    """Look into `database_url`."""

    def fetch_all(statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC -c datestyle=ISO") as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    return fetch_all


@pytest.fixture
def restart_server(database_server: TestServer) -> Iterator[Callable[[], Awaitable[None]]]:
    """Stop the server and start it again; skips where it is not ours to stop."""
    embedded = database_server.embedded
    if embedded is None:
        pytest.skip("the server is not ours to stop: only the embedded one is")

    async def restart() -> None:
        await asyncio.to_thread(embedded.down)
        database_server.url = await asyncio.to_thread(embedded.up)

    yield restart
    database_server.url = embedded.up()


@contextmanager
def _server() -> Iterator[TestServer]:
    url = os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if url:
        yield TestServer(url)
    elif _container_engine():
        with _container() as url:
            yield TestServer(url)
    else:
        with _in_memory(), _embedded() as server:
            yield TestServer(server.dsn, server)


@contextmanager
def _embedded() -> Iterator[Server]:
    try:
        binaries = prepare(default_root(), print)
    except DatabaseUnavailable as error:
        pytest.fail(f"no database for tests: {error}", pytrace=False)
    with Server.temporary(binaries) as server:
        yield server


@contextmanager
def _in_memory() -> Iterator[None]:
    """Throw-away data needs no disk: copying a template's 300 files takes ten times as long on some."""
    before = tempfile.tempdir
    if _MEMORY_FOLDER.is_dir() and shutil.disk_usage(_MEMORY_FOLDER).free > _MEMORY_BYTES:
        tempfile.tempdir = str(_MEMORY_FOLDER)
    try:
        yield
    finally:
        tempfile.tempdir = before


@cache
def _container_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        probe = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=10)  # noqa: S607
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


@contextmanager
def _container() -> Iterator[str]:
    password = uuid4().hex
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # testcontainers' own, which pytest would make errors
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - slow, and seldom needed

        container = (
            DockerContainer(COMMUNITY_IMAGE)
            .with_env("POSTGRES_USER", "ingest")
            .with_env("POSTGRES_PASSWORD", password)
            .with_env("TIMESCALEDB_TELEMETRY", "off")
            .with_command("postgres -c fsync=off -c synchronous_commit=off -c timescaledb.max_background_workers=8")
            .with_exposed_ports(5432)
        )
        container.start()
        try:
            address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}"
            url = f"postgresql://ingest:{password}@{address}/ingest"
            _wait_until_ready(url)
            yield url
        finally:
            container.stop()


def _wait_until_ready(url: str) -> None:
    """The image starts a first server on a socket only, so that an answer by TCP comes from the real one."""
    deadline = time.monotonic() + _CONTAINER_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
