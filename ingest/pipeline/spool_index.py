"""The spool's index: what waits, in which segment, and of what streams; outside the segments, so that it outlives them.

A line a batch. Nothing here knows of lanes or of segment files.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog
from msgspec import Struct

from ingest import clock
from ingest.pipeline.parcel import PAGE_BYTES, DamagedError, Head, read_head
from ingest.pipeline.spool_files import (
    ASIDE,
    connect,
    is_damage,
    segment_numbers,
    set_aside,
    sync_folder,
    transaction,
    unlink,
)

log = structlog.get_logger()

NAME = "index.sqlite"

_TABLES = (
    "CREATE TABLE meta (next_sequence INT, next_segment INT, max_bytes INT)",
    "CREATE TABLE segments (number INTEGER PRIMARY KEY, bytes INT)",
    "CREATE TABLE batches (sequence INTEGER PRIMARY KEY, segment INT, writer INT, writers INT, lost INT, head BLOB)",
    "CREATE INDEX lanes ON batches (writer, sequence)",
    "CREATE INDEX parts ON batches (segment)",
)
_LINES = "SELECT segment, lost, head FROM batches"
_ENTER = "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?, ?)"


class Line(Struct, frozen=True):
    """What is known of a batch; `packed` is its head's bytes, `lost` that its rows cannot be read any more."""

    segment: int
    head: Head
    packed: bytes
    lost: bool = False


class Index:
    """Methods raise sqlite3.Error, or DamagedError where a line is not what was written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False) -> "Index":
        return cls(connect(folder / NAME, readonly=readonly))

    @classmethod
    def checked(cls, folder: Path) -> "Index":
        """The index, after all of it was read. Raises LaterFormatError where a later version wrote a line."""
        index = cls.open(folder)
        try:
            index.check()
        except BaseException:
            index.close()
            raise
        return index

    @staticmethod
    def make(folder: Path, lines: Iterable[Line], *, aside: str) -> None:
        """A new index with these lines. When it is whole it takes the old one's place, which is renamed to `aside`."""
        path, new = folder / NAME, folder / f"{NAME}.new"
        unlink(new)
        connection = connect(new, create=True)
        try:
            with transaction(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES (1, 1, 0)")
                connection.executemany(_ENTER, map(_values, lines))
        finally:
            connection.close()
        set_aside(path, folder / aside)
        new.rename(path)
        sync_folder(folder)

    @classmethod
    def finish_make(cls, folder: Path) -> bool:
        """Where a crash came between the two renames: do the second. True when there was a whole new index."""
        new = folder / f"{NAME}.new"
        try:
            with closing(connect(new)) as connection:
                cls(connection).check()
        except (sqlite3.Error, DamagedError):
            return False
        unlink(folder / NAME)  # there may be changes of the old one
        new.rename(folder / NAME)
        return True

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        answers = self._connection.execute("PRAGMA integrity_check(1)").fetchall()
        if answers != [("ok",)]:
            raise DamagedError(str(answers[0][0]))
        if self._connection.execute("SELECT count(*) FROM meta").fetchone() != (1,):
            raise DamagedError("it is empty")
        for _ in self.lines():
            pass

    @property
    def next_sequence(self) -> int:
        return int(self._connection.execute("SELECT next_sequence FROM meta").fetchone()[0])

    @property
    def next_segment(self) -> int:
        return int(self._connection.execute("SELECT next_segment FROM meta").fetchone()[0])

    @property
    def max_bytes(self) -> int:
        return int(self._connection.execute("SELECT max_bytes FROM meta").fetchone()[0])

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._connection.execute("UPDATE meta SET max_bytes = ?", (max_bytes,))

    @property
    def used_bytes(self) -> int:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE_BYTES

    def shrink(self) -> None:
        self._connection.execute("VACUUM")

    def sizes(self) -> dict[int, int]:
        """Bytes of each segment that has batches."""
        return dict(self._connection.execute("SELECT number, bytes FROM segments"))

    def waiting(self) -> dict[int, int]:
        """Batches in each segment."""
        return dict(self._connection.execute("SELECT segment, count(*) FROM batches GROUP BY segment"))

    def enter(self, lines: Iterable[Line], sizes: Mapping[int, int], next_sequence: int, next_segment: int) -> None:
        """Add lines, all or none; those that are there stay."""
        with transaction(self._connection):
            self._connection.executemany(_ENTER, map(_values, lines))
            self._connection.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?)", sizes.items())
            counters = (next_sequence, next_segment)
            self._connection.execute("UPDATE meta SET next_sequence = ?, next_segment = ?", counters)

    def remove(self, sequence: int, *, last_of_segment: int | None) -> bool | None:
        """Whether it was lost; None when it was not there. On a full disk it makes do with the space that it has."""
        try:
            return self._remove(sequence, last_of_segment)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")  # the journal is written from its start again
        return self._remove(sequence, last_of_segment)

    def _remove(self, sequence: int, last_of_segment: int | None) -> bool | None:
        statement = "DELETE FROM batches WHERE sequence = ? RETURNING lost"
        with transaction(self._connection):
            found = self._connection.execute(statement, (sequence,)).fetchall()
            if found and last_of_segment is not None:
                self._connection.execute("DELETE FROM segments WHERE number = ?", (last_of_segment,))
        return bool(found[0][0]) if found else None

    def mark_lost(self, sequences: Iterable[int]) -> None:
        with transaction(self._connection):
            keys = [(sequence,) for sequence in sequences]
            self._connection.executemany("UPDATE batches SET lost = 1 WHERE sequence = ?", keys)

    def oldest(self, writer: int | None) -> Line | None:
        """The oldest of a writer; of all, if None."""
        where = "" if writer is None else "WHERE writer = ?"
        found = self._connection.execute(f"{_LINES} {where} ORDER BY sequence LIMIT 1", (writer,) if where else ())
        return next(map(_line, found), None)

    def after(self, sequence: int) -> Line | None:
        """The next in order."""
        statement = f"{_LINES} WHERE sequence > ? ORDER BY sequence LIMIT 1"
        return next(map(_line, self._connection.execute(statement, (sequence,))), None)

    def any_up_to(self, sequence: int) -> bool:
        found = self._connection.execute("SELECT EXISTS (SELECT 1 FROM batches WHERE sequence <= ?)", (sequence,))
        return bool(found.fetchone()[0])

    def holds(self, sequence: int) -> bool:
        return self._connection.execute("SELECT 1 FROM batches WHERE sequence = ?", (sequence,)).fetchone() is not None

    def last_of_other_writers(self, writers: int) -> int:
        """The last batch that was spooled for another number of writers; 0 if there is none."""
        found = self._connection.execute("SELECT max(sequence) FROM batches WHERE writers <> ?", (writers,)).fetchone()
        return int(found[0] or 0)

    def lines(self, segment: int | None = None) -> Iterator[Line]:
        """In order; of one segment, or of all."""
        where = "" if segment is None else "WHERE segment = ?"
        rows = self._connection.execute(f"{_LINES} {where} ORDER BY sequence", (segment,) if where else ())
        return map(_line, rows)


def open_or_make(folder: Path, now_ns: clock.Clock) -> Index:
    """The index as it is; where it is damaged or missing, a new one with what could be saved of it.

    The new one does not know what else the segments hold. Raises LaterFormatError.
    """
    lines: list[Line] = []
    trouble = ""
    if (folder / NAME).exists() or Index.finish_make(folder):
        try:
            return Index.checked(folder)
        except (sqlite3.Error, DamagedError) as error:
            if not is_damage(error):
                raise
            trouble = str(error)
        lines = _salvage(folder)
    elif segment_numbers(folder):
        trouble = "it is missing"
    at = datetime.fromtimestamp(now_ns() // clock.SECOND, UTC)
    aside = f"{NAME}{ASIDE}-{at:%Y%m%dT%H%M%SZ}"
    Index.make(folder, lines, aside=aside)
    if trouble:
        remedy = "it is made anew from the segments; what was delivered from them already is delivered again"
        log.error("spool.index_damaged", file=str(folder / aside), error=trouble, saved=len(lines), remedy=remedy)
    return Index.open(folder)


def _salvage(folder: Path) -> list[Line]:
    """What can still be read of a damaged index, from both ends."""
    lines: dict[int, Line] = {}
    for direction in ("ASC", "DESC"):
        try:
            connection = connect(folder / NAME, readonly=True)
        except sqlite3.Error:
            break
        try:
            for row in connection.execute(f"{_LINES} ORDER BY sequence {direction}"):
                with suppress(DamagedError):
                    line = _line(row)
                    lines.setdefault(line.head.sequence, line)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        finally:
            connection.close()
    return [lines[sequence] for sequence in sorted(lines)]


def _line(row: Sequence[object]) -> Line:
    segment, lost, packed = row
    head = read_head(packed)
    if not isinstance(segment, int) or not isinstance(packed, bytes):
        raise DamagedError("a line names no segment")
    return Line(segment, head, packed, bool(lost))


def _values(line: Line) -> tuple[int, int, int, int, bool, bytes]:
    head = line.head
    return (head.sequence, line.segment, head.writer, head.writers, line.lost, line.packed)
