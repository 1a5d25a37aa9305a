"""One PostgreSQL server with TimescaleDB, in a folder of its own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from ingest.embedded import postmaster
from ingest.embedded.account import barrier, server_account
from ingest.embedded.binaries import Binaries
from ingest.embedded.cluster import DATABASE, ROLE, Cluster
from ingest.embedded.command import Report, clean_environment, exclusively, plainly
from ingest.embedded.watchdog import watchdog
from ingest.errors import DatabaseUnavailable

ROOT_DATA = Path("/var/lib/ingest")


class Status(Struct, frozen=True):
    """`dsn` has no password; `pid` is None when the server does not run, `port` and `dsn` before it is first made."""

    running: bool
    postgres_version: str
    timescaledb_version: str
    data_dir: Path
    socket_dir: Path
    size_bytes: int
    port: int | None
    pid: int | None
    dsn: str | None


class ClientCommand(Struct, frozen=True):
    """A client program for `os.execve`; the password is in the environment, not among the words."""

    argv: tuple[str, ...]
    environment: dict[str, str]


def default_data_dir(name: str = "default") -> Path:
    """Where the data of the server `name` lives, apart from the cache, which a person may delete at any time.

    INGEST_DATA_DIR, else XDG_DATA_HOME/ingest, else ~/.local/share/ingest; for root, whose home is closed to the
    server's account, /var/lib/ingest unless INGEST_DATA_DIR says otherwise.
    """
    if named := os.environ.get("INGEST_DATA_DIR"):
        return Path(named).expanduser().resolve() / name
    if server_account() is not None:
        return ROOT_DATA / name
    xdg = os.environ.get("XDG_DATA_HOME")
    return (Path(xdg) if xdg else Path.home() / ".local" / "share").resolve() / "ingest" / name


class Server:
    """A server whose data, sockets, password and logs all live in `data_dir`.

    It outlives the process that starts it. It listens on a socket in a folder of mode 0700 and on 127.0.0.1, on
    both with a generated password only. `durable=False` is for tests: even a server that is killed alone then forgets
    its last commits, and a machine that crashes may break it.
    Every method may be called again, and by several processes at once. Every method raises DatabaseUnavailable
    where the system refuses, and ConfigError where `data_dir` holds something that ingest did not make.
    """

    def __init__(
        self, binaries: Binaries, data_dir: Path, *, durable: bool = True, report: Report = lambda _line: None
    ) -> None:
        self._binaries = binaries
        self._cluster = Cluster(data_dir, durable=durable)
        self._report = report

    def up(self) -> str:
        """Start it, make it first where there is none, and return its DSN once it accepts connections.

        The DSN names the superuser and database `ingest`, and 127.0.0.1 with the port, which stays the same from
        start to start unless another program has taken it. What does not start raises with the log's last lines.
        """
        cluster = self._cluster
        with plainly(cluster.folder):
            cluster.claim()
            with exclusively(cluster.lock, self._report):
                cluster.claim()  # again: its last holder may have deleted the folder
                if not cluster.exists:
                    cluster.initialise(self._binaries, self._report)
                if not postmaster.wait_until_ready(cluster):
                    postmaster.start(self._binaries, cluster)
            return self.dsn

    def down(self) -> None:
        """Stop it and wait until it has stopped; open transactions are rolled back."""
        with plainly(self._cluster.folder):
            if not self._cluster.is_ours:
                return
            with exclusively(self._cluster.lock, self._report):
                postmaster.stop(self._binaries, self._cluster)

    def destroy(self) -> None:
        """Stop it and delete its data for ever."""
        with plainly(self._cluster.folder):
            if not self._cluster.folder.exists():
                return
            self._cluster.refuse_foreign()
            with exclusively(self._cluster.lock, self._report):
                postmaster.stop(self._binaries, self._cluster, at_once=True)
                self._cluster.delete()

    def status(self) -> Status:
        cluster = self._cluster
        with plainly(cluster.folder):
            port = cluster.port if cluster.exists else None
            pid = postmaster.pid_of(cluster.pgdata)
            return Status(
                running=pid is not None,
                postgres_version=self._binaries.postgres_version,
                timescaledb_version=self._binaries.timescaledb_version,
                data_dir=cluster.folder,
                socket_dir=cluster.sockets,
                size_bytes=cluster.size_bytes(),
                port=port,
                pid=pid,
                dsn=None if port is None else f"postgresql://{ROLE}@127.0.0.1:{port}/{DATABASE}",
            )

    @property
    def dsn(self) -> str:
        """The DSN with its password; DatabaseUnavailable before the first `up`."""
        cluster = self._made()
        return f"postgresql://{ROLE}:{cluster.password}@127.0.0.1:{cluster.port}/{DATABASE}"

    def psql_command(self, dbname: str = DATABASE, *arguments: str, program: str = "psql") -> ClientCommand:
        """psql, or another client of its version (`pg_dump`, `pg_restore`), connected to `dbname` by the socket."""
        cluster = self._made()
        environment = clean_environment()
        del environment["LC_ALL"]
        if "LC_ALL" in os.environ:
            environment["LC_ALL"] = os.environ["LC_ALL"]
        environment |= {
            "PGHOST": str(cluster.sockets),
            "PGPORT": str(cluster.port),
            "PGUSER": ROLE,
            "PGPASSWORD": cluster.password,
        }
        return ClientCommand((str(self._binaries.folder / program), "--dbname", dbname, *arguments), environment)

    @classmethod
    @contextmanager
    def temporary(cls, binaries: Binaries, *, durable: bool = False) -> Iterator["Server"]:
        """A running server in a folder of its own; both go when the block ends or this process dies in any way."""
        account = server_account()
        places = (Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 # mkdtemp below
        place = next((place for place in places if barrier(place, account) is None), places[0])
        folder = Path(tempfile.mkdtemp(prefix="ingest-", dir=place))
        server = cls(binaries, folder, durable=durable)
        with watchdog(binaries.tree, folder):
            server.up()
            yield server

    def _made(self) -> Cluster:
        with plainly(self._cluster.folder):
            if not self._cluster.exists:
                raise DatabaseUnavailable(f"There is no server in {self._cluster.folder} yet: `ingest db up` makes it.")
        return self._cluster
