"""Running the programs that the embedded database is made of and made with."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from ingest.embedded.account import Account
from ingest.errors import DatabaseUnavailable

Report = Callable[[str], None]

WAYS = """A database can be had in three ways:
  1. a server of your own with TimescaleDB: set DATABASE_URL, or url under [database] in ingest.toml
  2. a container engine (docker or podman) that this user can reach
  3. embedded, on Debian 12 or newer (amd64 or arm64) with its package mirror in reach"""


def unavailable(reason: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"The embedded database cannot be had: {reason}\n{WAYS}")


def clean_environment() -> dict[str, str]:
    """The caller's environment, less what would bend the programs: libraries, servers, words, a manager."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "PG", "NOTIFY_SOCKET", "WATCHDOG_"))}
    return kept | {"LC_ALL": "C"}


def run(
    *argv: str | Path, cwd: Path, account: Account | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run to the end in `cwd`, with `text` as input and as `account` (None: the caller), whose HOME is then `cwd`.

    The answer's stdout holds stderr too; the exit code is the caller's to judge.
    """
    environment = clean_environment() | ({"HOME": str(cwd)} if account else {})
    return subprocess.run(
        [str(word) for word in argv],
        check=False,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


@contextmanager
def plainly(path: Path) -> Iterator[None]:
    """What the system refuses inside the block (rights, space) becomes DatabaseUnavailable, with the file's name."""
    try:
        yield
    except OSError as error:
        raise unavailable(f"{error.filename or path}: {error.strerror or error}.") from error


@contextmanager
def exclusively(lock: Path, report: Report) -> Iterator[None]:
    """Hold `lock` against every other process, waiting for it; the kernel lets go when the holder dies."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                report(f"waiting for another process that holds {lock}")
                flock(descriptor, LOCK_EX)
            if not _is_still(descriptor, lock):  # its last holder deleted the folder
                continue
            yield
        finally:
            os.close(descriptor)
        return


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
