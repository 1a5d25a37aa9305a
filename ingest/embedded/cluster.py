"""The folder of one server: its data, sockets, password, port and log, and how it is first made.

Under root the folder itself is root's. The server's account owns only `pgdata`, `run` and `log` in it, and root
writes nothing there: that account must not be able to lead root's hand to another file by a link.
"""

import hashlib
import os
import secrets
import shutil
import socket
from pathlib import Path

import msgspec
from msgspec import Struct

from ingest.embedded import settings
from ingest.embedded.account import Account, barrier, ensure_folder, give, server_account
from ingest.embedded.binaries import MAJOR, Binaries
from ingest.embedded.command import Report, run, unavailable
from ingest.errors import ConfigError

ROLE = DATABASE = "ingest"
SOCKET_PATH_MAX_BYTES = 107
CONF = "ingest.conf"
PORTS = range(15432, 32768)  # below the ports that the kernel gives to outgoing connections
EDITION_NOTE = (
    "note: this is TimescaleDB's Apache edition: no compression, continuous aggregates or policies; "
    "ingest keeps rollups and retention itself"
)


class State(Struct, frozen=True):
    """What is kept from one start to the next. Its file marks the folder as ours."""

    port: int


def socket_folder(folder: Path) -> Path:
    """`folder`/run, or a short folder in /tmp where a socket's path would pass the kernel's 107 bytes."""
    own = folder / "run"
    if len(os.fsencode(own / ".s.PGSQL.65535")) <= SOCKET_PATH_MAX_BYTES:
        return own
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"ingest-{digest}"  # noqa: S108 # made 0700, and refused when someone else made it


class Cluster:
    """Paths and files below `folder`. The caller holds `lock` around whatever changes them."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.folder = folder.resolve()
        self.pgdata = self.folder / "pgdata"
        self.lock = self.folder / "lock"
        self.logs = self.folder / "log"
        self.sockets = socket_folder(self.folder)
        self._state = self.folder / "server.json"
        self._password = self.folder / "password"
        self._durable = durable

    @property
    def exists(self) -> bool:
        """Whether it was made; it may be stopped."""
        return (self.pgdata / "PG_VERSION").exists()

    @property
    def is_ours(self) -> bool:
        return self._state.exists()

    @property
    def account(self) -> Account | None:
        return server_account(self.pgdata)

    @property
    def port(self) -> int:
        """The port of the last start, or of the first one to come."""
        return msgspec.json.decode(self._state.read_bytes(), type=State).port

    @property
    def password(self) -> str:
        return self._password.read_text()

    @property
    def socket_file(self) -> Path:
        return self.sockets / f".s.PGSQL.{self.port}"

    def claim(self) -> None:
        """Make the folder, or see that it is ours or empty: someone else's folder never changes owner."""
        account = self.account
        if account and (closed := barrier(self.folder.parent, account)):
            raise unavailable(f"the server runs as {account.name}, who may not pass {closed}; choose another folder.")
        mode = 0o711 if account else 0o700
        ensure_folder(self.folder, mode)
        self.refuse_foreign()
        if not self.is_ours:
            os.chown(self.folder, os.geteuid(), -1)
            self.folder.chmod(mode)

    def refuse_foreign(self) -> None:
        """Raises ConfigError when the folder holds something else.

        Another process may be making or deleting the server meanwhile: its mark comes first and goes last.
        """
        if self._holds_something() and not self.is_ours and self._holds_something():
            raise ConfigError(f"{self.folder} is not a database of ingest: name an empty folder, or one that it made.")

    def initialise(self, binaries: Binaries, report: Report) -> None:
        """Make data, role, database and password. A kill in the middle leaves nothing that counts as made."""
        if self._durable:
            report(f"making a database in {self.folder}")
            report(EDITION_NOTE)
        account = self.account
        self.keep_port(free_port())  # first, for it marks the folder as ours
        new = self.folder / "pgdata.new"
        shutil.rmtree(new, ignore_errors=True)
        ensure_folder(new, 0o700, account)
        self._password.unlink(missing_ok=True)
        self._password.touch(0o600)
        self._password.write_text(secrets.token_urlsafe(24))
        give(self._password, account)
        made = run(
            *(binaries.initdb, "--pgdata", new, "--username", ROLE, "--pwfile", self._password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
            *("--data-checksums" if self._durable else "--no-sync", "--no-instructions"),
            cwd=new,
            account=account,
        )
        if made.returncode:
            raise unavailable(f"initdb failed in {self.folder}:\n{made.stdout}")
        made = run(
            *(binaries.postgres, "--single", "-D", new, "template1"),
            cwd=new,
            account=account,
            text=f"CREATE DATABASE {DATABASE};\n",
        )
        if made.returncode:
            raise unavailable(f"the database {DATABASE} cannot be made in {self.folder}:\n{made.stdout}")
        run("tee", "--append", "postgresql.conf", cwd=new, account=account, text=f"\ninclude = '../{CONF}'\n")
        new.rename(self.pgdata)

    def configure(self, port: int) -> None:
        """Settle everything that a start at `port` reads."""
        major = (self.pgdata / "PG_VERSION").read_text().strip()
        if major != str(MAJOR):
            raise unavailable(
                f"{self.pgdata} was made by PostgreSQL {major}, and these programs are {MAJOR}: "
                "dump it with the old ones and restore it into a new folder."
            )
        account = self.account
        ensure_folder(self.logs, 0o700, account)
        ensure_folder(self.sockets, 0o700, account)
        self._refuse_foreign_sockets(account)
        self.keep_port(port)
        text = settings.configuration(
            memory=settings.memory_for(settings.machine_bytes()),
            port=port,
            sockets=self.sockets,
            durable=self._durable,
            time_zone=settings.time_zone(),
            dynamic_shared_memory=settings.dynamic_shared_memory(own_account=account is not None),
        )
        conf = self.folder / CONF
        conf.write_text(text)
        conf.chmod(0o644)

    def keep_port(self, port: int) -> None:
        new = self._state.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(State(port)))
        new.replace(self._state)

    def delete(self) -> None:
        """Delete the folder and all that it holds; the server must be stopped."""
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry not in (self._state, self.lock):
                entry.unlink()
        shutil.rmtree(self.folder)
        if not self.sockets.is_relative_to(self.folder):
            shutil.rmtree(self.sockets, ignore_errors=True)

    def size_bytes(self) -> int:
        """The disk that the data takes; files that vanish meanwhile count for nothing."""
        total = 0
        for folder, _, names in os.walk(self.pgdata):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 # thousands of files
                except FileNotFoundError:
                    continue
        return total

    def _holds_something(self) -> bool:
        own = (self.lock, self._state.with_suffix(".new"))
        try:
            return any(entry not in own for entry in self.folder.iterdir())
        except FileNotFoundError:
            return False

    def _refuse_foreign_sockets(self, account: Account | None) -> None:
        entry = self.sockets.lstat()
        owner = account.uid if account else os.geteuid()
        if entry.st_uid != owner or entry.st_mode & 0o077 or self.sockets.is_symlink():
            raise unavailable(f"{self.sockets} belongs to someone else or is open to others: delete it.")


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    for _ in range(1000):
        if is_free(port := secrets.choice(PORTS)):
            return port
    raise unavailable("127.0.0.1 has no free port.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
