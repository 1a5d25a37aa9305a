"""A planted password is nowhere to be read: not in logs, commands' output, tracebacks or the arguments of processes.

The DSN comes by each way that it may come; the server is away, or there and refuses it.
"""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg
import pytest

from ingest.errors import Exit

FRAGMENTS = ("pl4nted", "s3cret")
PASSWORD = "pl4nted%40s3cret"  # pl4nted@s3cret, as an address has it
WAYS = ("environment", "own environment", "secret file", "credential", "toml")
CONFIG = (
    '[[collect]]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\n'
    '[http]\nport = 0\n[log]\nlevel = "debug"\nformat = "json"\n'
)
START_SECONDS = 60.0

CRASH_IN_DAEMON = """
from ingest.daemon import Daemon
async def run(self):
    raise RuntimeError(f"boom {self._registry._url}")
Daemon.run = run
"""
CRASH_IN_COLLECTOR = """
import os, signal
from ingest.collect.collector import Collector
async def run(self):
    os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError(f"boom {os.environ['DATABASE_URL']}")
Collector.run = run
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The test's own, without what would lead to another database."""
    foreign = ("INGEST_", "DATABASE_URL", "PG", "CREDENTIALS_DIRECTORY")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    return kept | {"INGEST_DATA_DIR": str(tmp_path / "data"), "INGEST_CONFIG": str(tmp_path / "ingest.toml")}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ingest.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def closed() -> str:
    """A DSN with the planted password of a server that is away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"postgresql://ingest:{PASSWORD}@127.0.0.1:{port}/ingest"


@pytest.fixture
def refused(database_url: str) -> str:
    """A DSN with the planted password of a server that is there and refuses it."""
    parts = urlsplit(database_url)
    address = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=f"{parts.username}:{PASSWORD}@{address}").geturl()
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return url
    pytest.skip("this server asks for no password")


def plant(url: str, way: str, config: Path, environ: dict[str, str]) -> None:
    """Give `url` to the program by one of WAYS."""
    folder = config.parent / "credentials"
    folder.mkdir(exist_ok=True)
    (folder / "database_url").write_text(url)
    match way:
        case "environment":
            environ["DATABASE_URL"] = url
        case "own environment":
            environ["INGEST_DATABASE__URL"] = url
        case "secret file":
            environ["DATABASE_URL_FILE"] = str(folder / "database_url")
        case "credential":
            environ["CREDENTIALS_DIRECTORY"] = str(folder)
        case "toml":
            config.write_text(f'[database]\nurl = "{url}"\n{CONFIG}')


def ingest(*arguments: str, environ: dict[str, str], before: str = "") -> tuple[int, str]:
    """Run a command to its end, `before` first in its process: the exit code and all that it wrote."""
    code = f"{before}\nfrom ingest.cli import main\nmain()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stdout


def assert_hidden(text: str) -> None:
    assert [line for line in text.splitlines() if any(fragment in line for fragment in FRAGMENTS)] == []


@pytest.mark.parametrize("way", [WAYS[0], *(pytest.param(way, marks=pytest.mark.long) for way in WAYS[1:])])
def test_commands_when_the_server_is_away(way: str, closed: str, config: Path, environ: dict[str, str]) -> None:
    plant(closed, way, config, environ)
    code, shown = ingest("check-config", environ=environ | {"COLUMNS": "200"})
    assert code == Exit.OK, shown
    assert "postgresql://ingest:***@127.0.0.1" in shown
    code, described = ingest("db", "status", environ=environ)
    assert code == Exit.OK, described
    assert "not reachable" in described
    code, log = ingest("run", environ=environ)
    assert code == Exit.UNAVAILABLE, log
    assert_hidden(shown + described + log)


@pytest.mark.parametrize("way", [*(pytest.param(way, marks=pytest.mark.long) for way in WAYS[:-1]), WAYS[-1]])
def test_commands_when_the_server_refuses_the_password(
    way: str, refused: str, config: Path, environ: dict[str, str]
) -> None:
    plant(refused, way, config, environ)
    code, described = ingest("db", "status", environ=environ)
    assert code == Exit.OK, described
    code, log = ingest("run", environ=environ)
    assert code not in (Exit.OK, Exit.USAGE), log
    assert "password authentication failed" in log
    assert_hidden(described + log)
    for command in (["migrate"], ["status", "--check"], ["db", "up"]):
        code, said = ingest(*command, environ=environ)
        assert code not in (Exit.OK, Exit.USAGE), said
        assert_hidden(said)


def test_a_crash(database_url: str, config: Path, environ: dict[str, str]) -> None:
    """The exception's own text holds the address: what it says must come without the password."""
    planted = f"{database_url}?sslpassword={PASSWORD}"  # an address that works and holds the planted one
    code, log = ingest("run", environ=environ | {"DATABASE_URL": planted}, before=CRASH_IN_DAEMON)
    assert code == Exit.FAILED, log
    assert "Traceback" in log
    assert "RuntimeError: boom postgresql://" in log
    assert_hidden(log)
    assert_own_password_hidden(log, database_url)

    code, log = ingest("run", environ=environ | {"DATABASE_URL": planted}, before=CRASH_IN_COLLECTOR)
    assert code == Exit.OK, log
    assert "exchange.crashed" in log
    assert "RuntimeError: boom postgresql://" in log
    assert_hidden(log)
    assert_own_password_hidden(log, database_url)


def assert_own_password_hidden(text: str, url: str) -> None:
    password = urlsplit(url).password
    if password and password != urlsplit(url).username:
        assert password not in text


# The password of a proxy


class Proxy(http.server.BaseHTTPRequestHandler):
    """Forwards GET and refuses to open tunnels, so that REST works and websockets do not; or refuses both."""

    refuse: ClassVar[bool] = True

    def do_GET(self) -> None:
        if self.refuse:
            self.send_error(407)
            return
        with urllib.request.urlopen(self.path, timeout=10) as answer:  # noqa: S310 - the test's own simulator
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.send_error(407)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class ForwardingProxy(Proxy):
    refuse = False


@pytest.fixture(
    params=[pytest.param(Proxy, marks=pytest.mark.long), ForwardingProxy, pytest.param(None, marks=pytest.mark.long)],
    ids=["refuses", "refuses websockets", "away"],
)
def proxy(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a proxy, with the planted password."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param or Proxy)
    address = f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    if request.param is None:
        server.server_close()
    else:
        thread.start()
    yield address
    if request.param is not None:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def simulator() -> Iterator[str]:
    """The address of a simulated venue."""
    command = [sys.executable, "-m", "ingest.simulator", "--symbols", "BTC/USDT"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.kill()


def test_a_proxy(proxy: str, simulator: str, database_url: str, config: Path, environ: dict[str, str]) -> None:
    addresses = {name: value for name, value in json.loads(simulator).items() if name.endswith("url")}
    config.write_text(
        f'{CONFIG}[exchanges.binance]\nproxy = "{proxy}"\n'
        f'rest_url = "{addresses["url"]}"\nws_url = "{addresses["ws_url"]}"\n'
    )
    environ["DATABASE_URL"] = database_url
    code, shown = ingest("check-config", environ=environ | {"COLUMNS": "200"})
    assert code == Exit.OK
    assert "http://user:***@127.0.0.1" in shown
    log_file = config.parent / "daemon.log"
    with log_file.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "ingest", "run"], env=environ, stderr=output)
    try:
        wait_until(lambda: any(event in log_file.read_text() for event in ("exchange.", "session.lost")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == Exit.OK
    finally:
        process.kill()
        process.wait()
    code, streams = ingest("status", "--json", environ=environ)
    assert_hidden(shown + log_file.read_text() + streams)


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Arguments of processes, which every user of the machine may read


def test_psql_gets_the_password_in_its_environment(
    closed: str, config: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    programs = program(tmp_path, "psql", 'echo "arguments: $0 $@"; echo "password: ${PGPASSWORD%@*}"')
    environ |= {"DATABASE_URL": closed, "PATH": f"{programs}:{environ['PATH']}"}
    code, said = ingest("db", "psql", "--", "--command", "SELECT 1", environ=environ)
    arguments, password = said.splitlines()
    assert code == Exit.OK
    assert arguments.endswith("--dbname ingest --command SELECT 1")
    assert_hidden(arguments)
    assert password == "password: pl4nted"


def test_a_container_engine_gets_the_password_in_its_environment(
    closed: str, config: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    record = tmp_path / "docker.log"
    programs = program(tmp_path, "docker", f'echo "$@" >> "{record}"; [ "$1" = info ] || {{ echo no >&2; exit 1; }}')
    environ |= {
        "PATH": f"{programs}:{environ['PATH']}",
        "INGEST_CONTAINER_PASSWORD": "pl4nted@s3cret",
        "INGEST_CONTAINER_PORT": str(urlsplit(closed).port),
    }
    code, started = ingest("db", "up", environ=environ)
    assert code == Exit.UNAVAILABLE, started
    code, described = ingest("db", "status", environ=environ)
    assert code == Exit.OK, described
    assert "compose" in record.read_text()
    assert_hidden(started + described + record.read_text())


def program(folder: Path, name: str, script: str) -> Path:
    """A folder that holds `name`, a shell script."""
    folder = folder / "bin"
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.mark.long
def test_no_process_of_a_demo_has_the_password_in_its_arguments(database_url: str, environ: dict[str, str]) -> None:
    password = urlsplit(database_url).password
    if not password or len(password) < 8:
        pytest.skip("the server's password is not one that can be searched for")
    del environ["INGEST_CONFIG"]
    seen: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-m", "ingest", "demo", "--seconds", "1"],
        env=environ | {"DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            seen.update(descendants(process.pid))
            time.sleep(0.05)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == Exit.OK, said
    assert any("simulator" in arguments for arguments in seen)
    assert any(" run " in arguments for arguments in seen)
    assert [arguments for arguments in (*seen, said) if password in arguments] == []


def descendants(pid: int) -> Sequence[str]:
    """The command lines of a process and of all below it."""
    try:
        own = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        tasks = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [own, *(line for children in tasks for child in children for line in descendants(int(child)))]
