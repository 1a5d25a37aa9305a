"""The embedded database: how its packages are found and chosen, and that the real one starts, stops and moves."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import ingest
from ingest.embedded import (
    Binaries,
    Server,
    account,
    apt,
    cluster,
    command,
    default_root,
    installed,
    packages,
    prepare,
    settings,
)
from ingest.embedded.account import Account
from ingest.errors import ConfigError, DatabaseUnavailable

pytestmark = pytest.mark.timeout(300)  # the first run of all downloads 41 MB

GIB = 1024**3


# What the machine's apt configuration says


ONE_LINE = """\
# deb http://commented.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://one.test/debian bookworm main contrib
deb-src http://source.test/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb http://vendor.test/apt stable main
"""
DEB822 = """\
Types: deb
URIs: http://two.test/pub/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://two.test/pub/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def debian() -> None:
    try:
        apt.architecture()
    except DatabaseUnavailable as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    (folder / "sources.list.d").mkdir(parents=True)
    (tmp_path / "status").touch()
    return folder


@pytest.mark.usefixtures("debian")
def test_both_source_formats_are_read(etc: Path, tmp_path: Path) -> None:
    (etc / "sources.list").write_text(ONE_LINE)
    (etc / "sources.list.d" / "debian.sources").write_text(DEB822)
    assert packages.mirrors(apt.configured_targets(tmp_path, etc)) == (
        packages.Mirror("http://two.test/pub/debian/", "http://two.test/pub/debian-security/"),
        packages.Mirror("http://one.test/debian/", "http://two.test/pub/debian-security/"),
        packages.Mirror("http://vendor.test/apt/", "http://two.test/pub/debian-security/"),
    )


@pytest.mark.usefixtures("debian")
def test_no_sources_are_no_mirrors(etc: Path, tmp_path: Path) -> None:
    assert packages.mirrors(apt.configured_targets(tmp_path, etc)) == ()


def test_a_mirror_without_a_security_archive() -> None:
    assert packages.mirrors("Packages|http://one.test/debian/|stable|main\nnonsense\n") == (
        packages.Mirror("http://one.test/debian/", None),
    )


def test_sources_are_always_verified_by_debians_key() -> None:
    mirror = packages.Mirror("http://one.test/debian/", "http://one.test/debian-security/")
    with_updates = packages.sources(mirror, "arm64", updates=True)
    assert "URIs: http://one.test/debian/\nSuites: trixie trixie-updates\n" in with_updates
    assert "URIs: http://one.test/debian-security/\nSuites: trixie-security\n" in with_updates
    without = packages.sources(mirror, "arm64", updates=False)
    assert "Suites: trixie\n" in without
    assert "security" not in without
    for text in (with_updates, without):
        assert text.count(f"Signed-By: {packages.KEYRING}") == text.count("Types: deb")
        assert "trusted" not in text.lower()


# Which packages are taken


def stanza(name: str, section: str = "libs", depends: str = "", version: str = "1") -> str:
    lines = (
        f"Package: {name}\nArchitecture: amd64\nVersion: {version}\nSection: {section}\nSize: 10\nSHA256: ab\n",
        f"Depends: {depends}\n" if depends else "",
        "Description: one line\n and another: with a colon\n",
    )
    return "".join(lines)


def test_libraries_are_followed_and_scripts_and_llvm_are_not() -> None:
    text = "\n".join(
        (
            stanza("server", "database", "client (>= 1), perl, libssl3:any (>= 3) | libssl4, libllvm19, libc6"),
            stanza("client", "database", "libreadline8, sensible-utils"),
            stanza("libreadline8", depends="libtinfo6, readline-common"),
            stanza("libtinfo6"),
            stanza("readline-common", "utils"),
            stanza("libssl3", version="1:3.5"),
            stanza("libllvm19", depends="libz3-4"),
            stanza("libz3-4"),
            stanza("libc6") + "Pre-Depends: libgcc\n",
            stanza("libgcc"),
            stanza("perl", "perl", "libperl"),
            stanza("libperl"),
        )
    )
    chosen = packages.needed(packages.stanzas(text), ("server", "client", "absent"))
    names = ["client", "libc6", "libgcc", "libreadline8", "libssl3", "libtinfo6", "server"]
    assert [package.name for package in chosen] == names
    assert chosen[4] == packages.Package("libssl3", "1:3.5", "amd64", "libs", (), 10, "ab")
    assert chosen[4].file_name == "libssl3_1%3a3.5_amd64.deb"


# Where it is put and how it is set


@pytest.mark.parametrize(
    ("machine_bytes", "memory"),
    [
        (256 * 1024**2, settings.Memory(64, 128, 4, 32, 512)),
        (4 * GIB, settings.Memory(512, 2048, 16, 128, 1024)),
        (256 * GIB, settings.Memory(2048, 131072, 64, 512, 4096)),
    ],
)
def test_memory_suits_the_machine(machine_bytes: int, memory: settings.Memory) -> None:
    assert settings.memory_for(machine_bytes) == memory


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    assert settings.machine_bytes(limit) == 1048576
    limit.write_text("max\n")
    assert settings.machine_bytes(limit) == settings.machine_bytes(tmp_path / "absent") > 1048576


def test_only_a_throw_away_server_skips_fsync() -> None:
    def text(*, durable: bool) -> str:
        memory = settings.memory_for(GIB)
        return settings.configuration(
            memory=memory,
            port=1,
            sockets=Path("/it's"),
            durable=durable,
            time_zone="UTC",
            dynamic_shared_memory="posix",
        )

    assert "fsync" not in text(durable=True)
    assert "fsync = off" in text(durable=False)
    assert "unix_socket_directories = '/it''s'" in text(durable=True)


def test_without_time_zone_data_utc_is_had_by_its_built_in_name(tmp_path: Path) -> None:
    assert settings.time_zone(tmp_path) == "GMT"


def test_posix_shared_memory_only_where_it_can_be_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert settings.dynamic_shared_memory(own_account=True, shm=tmp_path) == "mmap"
    assert settings.dynamic_shared_memory(own_account=True, shm=tmp_path / "absent") == "mmap"
    tmp_path.chmod(0o1777)
    assert settings.dynamic_shared_memory(own_account=True, shm=tmp_path) == "posix"
    assert settings.dynamic_shared_memory(own_account=False, shm=tmp_path) == "mmap"


def test_a_socket_path_never_passes_107_bytes() -> None:
    assert cluster.socket_folder(Path("/var/x")) == Path("/var/x/run")
    deep = Path("/" + "é" * 60)
    assert len(os.fsencode(cluster.socket_folder(deep))) < 60
    assert cluster.socket_folder(deep) != cluster.socket_folder(deep / "other")


def test_a_closed_folder_on_the_way_is_named(tmp_path: Path) -> None:
    nobody = Account("nobody", 65534, 65534)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "nobody" and not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    assert account.barrier(closed / "below", nobody) == closed
    assert account.barrier(closed / "below", None) is None
    closed.chmod(0o711)
    assert account.barrier(closed / "below" / "that", nobody) is None


def test_roots_own_cache_is_never_below_a_closed_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("INGEST_CACHE_DIR", raising=False)
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(account, "_account", lambda _entry: Account("nobody", 65534, 65534))
    assert default_root() == Path("/var/cache/ingest")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_root() == closed / "ingest"
    monkeypatch.setenv("INGEST_CACHE_DIR", str(tmp_path / "named"))
    assert default_root() == tmp_path / "named"


def test_where_this_way_is_closed_the_three_ways_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    lines: list[str] = []
    with pytest.raises(DatabaseUnavailable) as caught:
        apt.fetch(tmp_path, lines.append)
    assert "no apt-get" in str(caught.value)
    for way in ("DATABASE_URL", "container engine", "Debian 12"):
        assert way in str(caught.value)
    assert lines == []


def test_apts_complaints_are_told_without_passwords() -> None:
    network = apt._why("Reading\nErr:1 http://me:secret@mirror.test trixie InRelease\n  Could not resolve\n")
    assert "is the network up?" in network
    assert "http://mirror.test" in network
    assert "secret" not in network
    key = apt._why("E: The repository is not signed.\n")
    assert "install debian-archive-keyring" in key


# The real server


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    try:
        apt.architecture()
    except DatabaseUnavailable as error:
        pytest.skip(str(error).splitlines()[0])
    return prepare(default_root(), print)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach, as pytest's own cannot be under root."""
    path = Path(tempfile.mkdtemp(prefix="ingest-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    if found := installed(default_root()):
        Server(found, path / "data").destroy()
    shutil.rmtree(path)


@pytest.fixture
def server(binaries: Binaries, folder: Path) -> Iterator[Server]:
    made = Server(binaries, folder / "data", durable=False)
    yield made
    made.destroy()


def one(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie, which has no command line any more, does not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def output(argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    return result.stdout


def test_up_down_up_destroy(binaries: Binaries, folder: Path) -> None:
    said: list[str] = []
    server = Server(binaries, folder / "data", report=said.append)
    assert not server.status().running
    first = server.up()
    assert sum("no compression" in line for line in said) == 1
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION timescaledb")
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    assert one(first, "SHOW timescaledb.license") == "apache"
    assert one(first, "SHOW fsync") == "on"
    assert one(first, "SHOW timezone") == settings.time_zone()
    assert one(first, "SHOW server_encoding") == "UTF8"
    assert one(first, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert (
        one(first, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'") == binaries.timescaledb_version
    )
    assert server.up() == first
    status = server.status()
    assert status.running
    assert status.pid is not None
    assert status.size_bytes > 10_000_000
    assert status.dsn == f"postgresql://ingest@127.0.0.1:{urlsplit(first).port}/ingest"
    server.down()
    server.down()
    assert not alive(status.pid)
    assert not server.status().running
    assert server.up() == first
    assert one(first, "SELECT n FROM kept") == 42
    assert sum("no compression" in line for line in said) == 1
    server.destroy()
    server.destroy()
    assert not (folder / "data").exists()


def test_a_password_is_asked_for_everywhere(server: Server) -> None:
    dsn = server.up()
    status = server.status()
    assert status.dsn
    for way in (status.dsn, f"postgresql://ingest@/ingest?host={status.socket_dir}&port={status.port}"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(way)
    assert one(dsn, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0
    assert one(dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert status.socket_dir.stat().st_mode & 0o077 == 0
    assert (status.data_dir / "password").stat().st_mode & 0o077 == 0
    assert (status.data_dir / "pgdata").stat().st_mode & 0o077 == 0


def test_every_library_comes_from_the_tree(server: Server, binaries: Binaries) -> None:
    with psycopg.connect(server.up(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION timescaledb")
        maps = Path(f"/proc/{connection.info.backend_pid}/maps")
        loaded = {line.split()[-1] for line in maps.read_text().splitlines() if ".so" in line}
    assert len(loaded) > 20
    assert [name for name in loaded if not Path(name).is_relative_to(binaries.tree)] == []
    loader = next(binaries.tree.glob("usr/lib/*/ld-linux-*.so.*"))
    for program in (binaries.initdb, binaries.pg_ctl, binaries.psql, binaries.pg_dump, binaries.pg_restore):
        listed = output([loader, "--list", program])
        found = [line.split("=>")[1].split()[0] for line in listed.splitlines() if "=>" in line]
        assert found
        assert [name for name in found if not Path(name).resolve().is_relative_to(binaries.tree)] == []


def test_the_clients_connect(server: Server) -> None:
    server.up()
    query = server.psql_command("ingest", "-XAtc", "SELECT 6 * 7")
    assert output(query.argv, query.environment) == "42\n"
    dump = server.psql_command("postgres", "--schema-only", program="pg_dump")
    assert "PostgreSQL database dump complete" in output(dump.argv, dump.environment)
    assert not any(server.dsn.split(":")[2].split("@")[0] in word for word in query.argv + dump.argv)


@pytest.mark.long
def test_a_moved_tree_is_patched_again(binaries: Binaries, folder: Path) -> None:
    old, new = folder / "old", folder / "new"
    shutil.copytree(binaries.tree.parent / "server", old / "server", symlinks=True)
    said: list[str] = []
    first = prepare(old, said.append)
    assert first.tree == old / "server"
    old.rename(new)
    assert installed(new) is None
    moved = prepare(new, said.append)
    assert [line for line in said if "moved" in line] == said
    assert len(said) == 2
    assert installed(new) == moved
    with Server.temporary(moved) as server:
        assert one(server.dsn, "SELECT 1") == 1
        assert str(new / "server") in Path(f"/proc/{server.status().pid}/cmdline").read_text()


@pytest.mark.long
def test_many_at_once_get_one_server(binaries: Binaries, folder: Path) -> None:
    servers = [Server(binaries, folder / "data", durable=False) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(Server.up, servers))) == 1
    servers[0].destroy()


def test_a_taken_port_is_left_to_its_owner(server: Server) -> None:
    before = urlsplit(server.up()).port
    server.down()
    with socket.create_server(("127.0.0.1", before or 0)):
        after = urlsplit(dsn := server.up()).port
        assert after != before
        assert one(dsn, "SHOW port") == str(after)


@pytest.mark.long
def test_a_pid_that_became_anothers_is_neither_trusted_nor_killed(server: Server) -> None:
    server.up()
    pgdata = server.status().data_dir / "pgdata"
    lines = (pgdata / "postmaster.pid").read_text().splitlines()
    server.down()
    stale = "\n".join([str(os.getpid()), *lines[1:]])
    (pgdata / "postmaster.pid").write_text(stale)
    (server.status().socket_dir / f".s.PGSQL.{server.status().port}.lock").write_text(stale)
    assert not server.status().running
    server.down()
    assert one(server.up(), "SELECT 1") == 1


def test_someone_elses_folder_is_left_alone(binaries: Binaries, folder: Path) -> None:
    (folder / "letter").write_text("dear")
    server = Server(binaries, folder)
    for act in (server.up, server.destroy):
        with pytest.raises(ConfigError, match="not a database of ingest"):
            act()
    assert [entry.name for entry in folder.iterdir()] == ["letter"]


def test_a_killed_server_recovers_what_was_committed(binaries: Binaries, folder: Path) -> None:
    server = Server(binaries, folder / "data")
    dsn = server.up()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.001)
        assert server.up() == dsn  # at once, while this connection's process may still be ending
    assert one(dsn, "SELECT n FROM kept") == 42
    server.destroy()


@pytest.mark.long
def test_a_kill_while_making_leaves_nothing_half_done(server: Server) -> None:
    server.up()
    made = server.status().data_dir / "pgdata"
    server.down()
    made.rename(made.with_name("pgdata.new"))  # as it stands just before the end
    assert not server.status().running
    assert one(server.up(), "SELECT 1") == 1


@pytest.mark.long
def test_what_does_not_start_says_why(server: Server) -> None:
    server.up()
    server.down()
    with (server.status().data_dir / "pgdata" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(DatabaseUnavailable, match="no_such_setting"):
        server.up()


CHILD = """
import sys, time
from pathlib import Path
from ingest.embedded import Server, default_root, installed
with Server.temporary(installed(default_root())) as server:
    print(server.status().data_dir, server.status().pid, flush=True)
    time.sleep(100)
"""


@pytest.mark.usefixtures("binaries")
def test_a_temporary_server_dies_with_a_killed_process() -> None:
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(ingest.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        data, pid = child.stdout.readline().split()
        assert alive(int(pid))
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (alive(int(pid)) or Path(data).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(pid))
    assert not Path(data).exists()


def test_the_lock_survives_the_deletion_of_its_folder(tmp_path: Path) -> None:
    lock = tmp_path / "data" / "lock"
    lock.parent.mkdir()
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool, command.exclusively(lock, said.append):
        waiting = pool.submit(_take, lock, said)
        while not said:
            time.sleep(0.001)
        shutil.rmtree(lock.parent)
        assert not waiting.done()
    waiting.result(timeout=5)
    assert "waiting for another process" in said[0]


def _take(lock: Path, said: list[str]) -> None:
    with command.exclusively(lock, said.append):
        assert lock.exists()
