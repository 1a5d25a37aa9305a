"""The files of a spool: its lock, and SQLite in WAL mode, every commit on the disk when it returns."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ingest.errors import ConfigError, Retryable
from ingest.pipeline.batch import Batch
from ingest.pipeline.parcel import PAGE_BYTES, DamagedError, Head, Parcel, read_head, unpack

SUFFIX, ASIDE, LOCK = ".spool", ".damaged", "lock"
RESERVE_BYTES = 16_000_000
_LOCK_ATTEMPTS = 5  # who asks for the pid holds the lock for a moment

_DAMAGE_CODES = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,  # a table that must be there is not
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_IOERR_READ,  # a bad sector
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, also when the commit itself fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def connect(path: Path, *, readonly: bool = False, immutable: bool = False, create: bool = False) -> sqlite3.Connection:
    """Every commit is on the disk when it returns. Raises sqlite3.Error; what it created is removed again."""
    if create:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite's own files take after it
    uri = f"file:{quote(os.fspath(path))}?mode={'ro' if readonly else 'rw'}{'&immutable=1' if immutable else ''}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        if readonly:
            connection.execute("PRAGMA writable_schema=ON")  # lets it read what is left of a file that was cut off
        else:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA journal_size_limit=4194304")
            except BaseException:
                connection.close()
                raise
    except BaseException:
        if create:
            unlink(path)
        raise
    return connection


def sync_folder(folder: Path) -> None:
    """Make the names of new files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def companions(path: Path) -> tuple[Path, Path]:
    """What SQLite keeps beside a file: changes not yet in it, and their map."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def unlink(path: Path) -> None:
    for file in (path, *companions(path)):
        file.unlink(missing_ok=True)


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment is: under its own name, or set aside, or, when it is neither, under its own name."""
    path = folder / f"{number:08}{SUFFIX}"
    aside = aside_path(folder, number)
    return aside if aside.exists() and not path.exists() else path


def aside_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08}{SUFFIX}{ASIDE}"


def segment_numbers(folder: Path) -> dict[int, list[str]]:
    """Every number that a file bears, with what follows it in the names."""
    numbers: dict[int, list[str]] = {}
    for path in folder.glob(f"*{SUFFIX}*"):
        number, _, rest = path.name.partition(".")
        if number.isdecimal():
            numbers.setdefault(int(number), []).append(f".{rest}")
    return dict(sorted(numbers.items()))


def set_aside(path: Path, target: Path) -> None:
    """Rename a file and its changes, which go first: interrupted, it can be done again. None of them need exist."""
    (wal, shm), (target_wal, _) = companions(path), companions(target)
    if wal.exists():
        if target_wal.exists():  # it was interrupted here, and someone has opened the file since
            wal.unlink()
        else:
            wal.rename(target_wal)
    if path.exists():
        path.rename(target)
    shm.unlink(missing_ok=True)


class SpoolError(Retryable):
    """The spool's disk failed. An `append` that raises it took nothing."""


class SpoolFull(SpoolError):
    """The bound or the disk would be passed. Nothing was taken; there is room again after some `remove`."""


def trouble(folder: Path, error: Exception) -> SpoolError:
    """What the user is told of an error of SQLite or of the system."""
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    if full or (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}):
        return SpoolFull(f"the disk of the spool {folder} is full: {error}; free some space on it")
    return SpoolError(f"the spool {folder} failed: {error}; look at the disk, or restart to have it checked")


def leave_room(folder: Path, need_bytes: int) -> None:
    """Raises SpoolFull where the disk would be filled: to forget a batch takes a little space too."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < 2 * need_bytes + RESERVE_BYTES:
        raise SpoolFull(
            f"the disk of the spool {folder} is full but for {free:,} bytes, and {RESERVE_BYTES:,} must stay free; "
            "free some space on it"
        )


def is_damage(error: Exception) -> bool:
    """Whether the file itself is at fault, and not the moment: a full disk, too many open files, a busy lock."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) in _DAMAGE_CODES
    return isinstance(error, DamagedError | FileNotFoundError)


class Segment:
    """A file of parcels by sequence. Methods raise sqlite3.Error, or OSError where the file is not there."""

    def __init__(self, path: Path, connection: sqlite3.Connection, max_bytes: int = 0) -> None:
        self.path = path
        self._connection = connection
        self._max_bytes = max_bytes

    @classmethod
    def create(cls, path: Path, max_bytes: int) -> "Segment":
        """SQLite itself holds it to `max_bytes`: it answers SQLITE_FULL."""
        connection = connect(path, create=True)
        try:
            connection.execute(f"PRAGMA max_page_count={max_bytes // PAGE_BYTES}")
            connection.execute("CREATE TABLE parcels (sequence INTEGER PRIMARY KEY, head BLOB, payload BLOB)")
            sync_folder(path.parent)
        except BaseException:
            connection.close()
            unlink(path)
            raise
        return cls(path, connection, max_bytes)

    @classmethod
    def open(cls, path: Path) -> "Segment":
        """To read. Nothing is written beside it, so that a full disk can be emptied, unless a crash left changes."""
        path.stat()
        wal, _ = companions(path)
        return cls(path, connect(path, readonly=True, immutable=not wal.exists() or not wal.stat().st_size))

    @classmethod
    def reopen(cls, path: Path) -> "Segment":
        """To write; nobody may have it open to read."""
        return cls(path, connect(path))

    @property
    def size_bytes(self) -> int:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        return int(pages) * PAGE_BYTES

    @property
    def room(self) -> int:
        """Parcels of this many `disk_bytes` surely fit."""
        return self._max_bytes - self.size_bytes

    def add(self, parcels: Sequence[Parcel]) -> None:
        rows = [(parcel.head.sequence, parcel.packed, parcel.payload) for parcel in parcels]
        with transaction(self._connection):
            self._connection.executemany("INSERT INTO parcels VALUES (?, ?, ?)", rows)

    def discard(self, sequences: Iterable[int]) -> None:
        with transaction(self._connection):
            self._connection.executemany("DELETE FROM parcels WHERE sequence = ?", [(each,) for each in sequences])

    def read(self, head: Head) -> Batch:
        """Raises DamagedError also when it is not there."""
        found = self._connection.execute("SELECT payload FROM parcels WHERE sequence = ?", (head.sequence,)).fetchone()
        if found is None:
            raise DamagedError("a batch is missing")
        return unpack(head, found[0])

    def heads_from(self, sequence: int) -> Iterator[tuple[Head, bytes]]:
        """The heads that can be read, each also as its bytes, in order."""
        if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return  # a crash as it was made
        statement = "SELECT head FROM parcels WHERE sequence >= ? ORDER BY sequence"
        for (packed,) in self._connection.execute(statement, (sequence,)):
            with suppress(DamagedError):
                yield read_head(packed), packed

    def close(self) -> None:
        self._connection.close()


def unreadable(path: Path, heads: Sequence[Head]) -> list[Head]:
    """Those whose batch a segment does not give back. Raises what is no damage."""
    try:
        segment = Segment.open(path)
    except (sqlite3.Error, OSError) as error:
        if not is_damage(error):
            raise
        return list(heads)
    gone = []
    with closing(segment):
        for head in heads:
            try:
                segment.read(head)
            except (sqlite3.Error, DamagedError) as error:
                if not is_damage(error):
                    raise
                gone.append(head)
    return gone


def take_lock(folder: Path) -> int:
    """Held until the descriptor is closed, also by the process's end."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < _LOCK_ATTEMPTS:
                time.sleep(0.02)
                continue
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ConfigError(
                f"the spool folder {folder} is in use by process {pid or 'unknown'}; stop that one, or give this one "
                "another spool.folder"
            ) from None
        break
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def running_pid(folder: Path) -> int | None:
    """The process that has the spool open; None when none has."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)  # and with it, the lock
    return None
