"""Batches that the database could not take, on disk, in order, until it can: bounded by bytes, safe to replay.

A folder of segment files (`00000001.spool`), an index of what they hold (`index.sqlite`) and a `lock`. What `append`
was given is on the disk when it returns: rows in a segment first, then a line in the index, so that a crash between
leaves rows that the next start finds. A batch leaves the index once it is committed, a segment goes with its last
batch. A crash anywhere gives a batch twice, never not at all; their keys make that harmless.

Nothing here starts a thread or waits for another; the caller gives one call at a time, from whatever thread.
`bytes` counts the files, without what SQLite's journals need beside them: 8 MB, or twice one append where that is more.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import structlog
from msgspec import Struct

from ingest import clock
from ingest.errors import ConfigError
from ingest.pipeline import parcel
from ingest.pipeline.batch import Batch
from ingest.pipeline.parcel import DamagedError, Head, LaterFormatError, Parcel
from ingest.pipeline.spool_files import (
    ASIDE,
    SUFFIX,
    Segment,
    SpoolError,
    SpoolFull,
    aside_path,
    is_damage,
    leave_room,
    running_pid,
    segment_numbers,
    segment_path,
    set_aside,
    take_lock,
    trouble,
    unlink,
    unreadable,
)
from ingest.pipeline.spool_index import Line, open_or_make
from ingest.pipeline.spool_view import Status, export, in_place_of, inspect, status_of

__all__ = ["Entry", "Spool", "SpoolError", "SpoolFull", "Status", "export", "inspect", "running_pid"]

log = structlog.get_logger()

_MIN_SEGMENT_BYTES = 65_536
_MARGIN_BYTES = 8 * parcel.PAGE_BYTES  # an empty segment, and the index's inner pages
_OPEN_SEGMENTS = 4
_SHRINK_BYTES = 4_000_000


class Entry(Struct, frozen=True):
    """A spooled batch. `damaged`: its rows are lost, and its gaps name them."""

    sequence: int
    segment: int
    batch: Batch
    damaged: bool = False


class Spool:
    """Open one with `Spool.open`; `batches`, `rows` (those that are not lost) and `bytes` say what waits."""

    def __init__(self, folder: Path, max_bytes: int, writers: int, segment_bytes: int, now_ns: clock.Clock) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.batches = 0
        self.rows = 0
        self._writers = writers
        self._segment_bytes = max(_MIN_SEGMENT_BYTES, min(segment_bytes, max_bytes // 8))
        self._now_ns = now_ns
        self._next_sequence = self._next_segment = self._first = 1
        self._last_foreign = 0  # up to here all goes through lane 0: see `blocked`
        self._active: int | None = None  # the segment that takes more
        self._segments: dict[int, Segment] = {}  # those that are open
        self._sizes: dict[int, int] = {}
        self._waiting: Counter[int] = Counter()  # batches by segment
        self._index_bytes = 0
        self._lock = take_lock(folder)
        try:
            self._index = open_or_make(folder, now_ns)
            try:
                self._recover()
            except BaseException:
                self._index.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    @classmethod
    def open(
        cls,
        folder: Path,
        max_bytes: int,
        *,
        writers: int,
        segment_bytes: int = 64_000_000,
        now_ns: clock.Clock = clock.now_ns,
    ) -> Self:
        """Open the folder, made where it is missing, and put in order what a crash left.

        Raises ConfigError where another process has it open, where it cannot be written, or where a later version
        of the program wrote what is in it.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(folder, max_bytes, writers, segment_bytes, now_ns)
        except LaterFormatError as error:
            raise ConfigError(
                f"a later version of ingest wrote what is in {folder}; let that version deliver it (ingest spool "
                "drain), or set another spool.folder"
            ) from error
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the spool folder {folder} cannot be used: {error}; make it writable for this user, or set "
                "spool.folder"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        for number in list(self._segments):
            self._close_segment(number)
        self._index.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def bytes(self) -> int:
        return self._index_bytes + sum(self._sizes.values())

    def append(self, batches: Sequence[Batch]) -> None:
        """Take them all, behind what is here; they are on the disk when this returns.

        Raises SpoolFull or SpoolError, and has then taken none.
        """
        if not batches:
            return
        parcels = self._pack(batches)
        need = sum(each.disk_bytes for each in parcels) + _MARGIN_BYTES
        if self.bytes + need > self.max_bytes:
            raise SpoolFull(
                f"the spool {self.folder} is full: it holds {self.bytes:,} of {self.max_bytes:,} bytes and {need:,} "
                "more are needed; bring the database back, or raise spool.max_bytes"
            )
        leave_room(self.folder, need)
        placed: list[tuple[int, list[Parcel]]] = []
        try:
            self._place(parcels, placed)
            self._enter(placed)
        except BaseException as error:
            self._take_back(placed)
            if isinstance(error, sqlite3.Error | OSError):
                raise trouble(self.folder, error) from error
            raise

    def oldest(self, lane: int) -> Entry | None:
        """The oldest batch of a lane; None when it has none, or is blocked.

        Raises SpoolError where the disk fails. A damaged file is no error here: it is set aside, and a batch that it
        lost comes without rows and with a gap for each of its streams.
        """
        with self._disk():
            foreign = self._index.any_up_to(self._last_foreign)
            if foreign and lane:
                return None
            line = self._index.oldest(None if foreign else lane)
            if line is not None and not line.lost:
                try:
                    return Entry(line.head.sequence, line.segment, self._segment(line.segment).read(line.head))
                except (sqlite3.Error, OSError, DamagedError) as error:
                    if not is_damage(error):
                        raise
                    self._condemn(line.segment, error)
                return self.oldest(lane)
            if line is None:
                return None
            return Entry(line.head.sequence, line.segment, in_place_of(self.folder, line), damaged=True)

    def blocked(self, lane: int) -> bool:
        """Whether the lane must wait for lane 0 to deliver what was spooled for another number of writers.

        Streams were shared out differently then. For their order, everything up to the last such batch is lane 0's.
        """
        with self._disk():
            return lane != 0 and self._index.any_up_to(self._last_foreign)

    def remove(self, entry: Entry) -> None:
        """Forget a batch, after its commit. To do it again is no error."""
        number = entry.segment
        with self._disk():
            last = number if self._waiting[number] == 1 else None
            lost = self._index.remove(entry.sequence, last_of_segment=last)
            if lost is not None:
                self.batches -= 1
                self.rows -= 0 if lost else len(entry.batch.records)
                self._waiting[number] -= 1
                if last is not None:
                    self._drop(number)
            self._index_bytes = self._index.used_bytes
            if not self.batches and self._index_bytes > _SHRINK_BYTES:
                self._index.shrink()

    def inherited(self) -> list[Head]:
        """Heads of the batches that wait since before this opening, in order."""
        with self._disk():
            return [line.head for line in self._index.lines() if line.head.sequence < self._first]

    def status(self) -> Status:
        with self._disk():
            return status_of(self.folder, self._index)

    inspect = staticmethod(inspect)

    # Writing

    def _pack(self, batches: Sequence[Batch]) -> list[Parcel]:
        parcels: list[Parcel] = []
        for batch in batches:
            try:
                parcels.append(self._pack_one(batch))
            except (ValueError, OverflowError):
                parcels += map(self._pack_one, parcel.encodable(batch))
        return parcels

    def _pack_one(self, batch: Batch) -> Parcel:
        packed = parcel.pack(batch, sequence=self._next_sequence, writers=self._writers, spooled_ns=self._now_ns())
        self._next_sequence += 1  # never used again, whatever becomes of it
        return packed

    def _place(self, parcels: list[Parcel], placed: list[tuple[int, list[Parcel]]]) -> None:
        """Into the active segment, and on into new ones; what is begun stands in `placed`."""
        room = 0
        if self._active is not None:
            room = self._segments[self._active].room
            placed.append((self._active, []))
        for each in parcels:
            if each.disk_bytes > room:
                self._fill(placed)
                placed.append((self._new_segment(each.disk_bytes), []))
                room = self._segments[placed[-1][0]].room
            placed[-1][1].append(each)
            room -= each.disk_bytes
        self._fill(placed)

    def _fill(self, placed: list[tuple[int, list[Parcel]]]) -> None:
        if placed and placed[-1][1]:
            number, group = placed[-1]
            self._segments[number].add(group)

    def _new_segment(self, least_bytes: int) -> int:
        number, self._next_segment = self._next_segment, self._next_segment + 1
        limit = max(self._segment_bytes, least_bytes + _MARGIN_BYTES)
        self._keep_open(number, Segment.create(segment_path(self.folder, number), limit))
        self._active = number
        return number

    def _enter(self, placed: list[tuple[int, list[Parcel]]]) -> None:
        sizes = {number: self._segment(number).size_bytes for number, _ in placed}
        lines = [Line(number, each.head, each.packed) for number, group in placed for each in group]
        self._index.enter(lines, sizes, self._next_sequence, self._next_segment)
        self._count(lines)
        self._sizes |= sizes
        self._index_bytes = self._index.used_bytes

    def _count(self, lines: Sequence[Line]) -> None:
        self.batches += len(lines)
        self.rows += sum(line.head.rows for line in lines if not line.lost)
        self._waiting.update(line.segment for line in lines)

    def _take_back(self, placed: list[tuple[int, list[Parcel]]]) -> None:
        """What cannot be deleted now is never read: only a crash before the next append would give it (again)."""
        for number, group in placed:
            self._close_segment(number)
            if not self._waiting[number]:
                self._drop(number)
                continue
            with (
                suppress(sqlite3.Error, OSError),
                closing(Segment.reopen(segment_path(self.folder, number))) as segment,
            ):
                segment.discard(each.head.sequence for each in group)

    # Files

    def _segment(self, number: int) -> Segment:
        if number not in self._segments:
            self._keep_open(number, Segment.open(segment_path(self.folder, number)))
        return self._segments[number]

    def _keep_open(self, number: int, segment: Segment) -> None:
        others = [other for other in self._segments if other != self._active]
        for other in others[: max(0, len(others) + 1 - _OPEN_SEGMENTS)]:
            self._segments.pop(other).close()
        self._segments[number] = segment

    def _close_segment(self, number: int) -> None:
        if self._active == number:
            self._active = None
        if (segment := self._segments.pop(number, None)) is not None:
            segment.close()

    def _drop(self, number: int) -> None:
        """Delete a segment; what cannot be deleted now is deleted by the next start."""
        self._close_segment(number)
        self._sizes.pop(number, None)
        self._waiting.pop(number, None)
        with suppress(OSError):
            unlink(self.folder / f"{number:08}{SUFFIX}")

    def _condemn(self, number: int, error: Exception) -> None:
        """Set a damaged file aside and mark the batches that cannot be read from it. It may be done again."""
        self._close_segment(number)
        set_aside(self.folder / f"{number:08}{SUFFIX}", aside_path(self.folder, number))
        kept = [line.head for line in self._index.lines(number) if not line.lost]
        gone = unreadable(segment_path(self.folder, number), kept)
        self._index.mark_lost(head.sequence for head in gone)
        rows = sum(head.rows for head in gone)
        self.rows -= rows
        log.error(
            "spool.damaged",
            file=str(segment_path(self.folder, number)),
            error=str(error),
            batches=len(gone),
            rows=rows,
            remedy="the rest is delivered, what was lost is in market.gaps; the file is kept for you to look at",
        )

    # Opening

    def _recover(self) -> None:
        """Take in what a crash left between segment and index, or what an index made anew does not know."""
        first, new = self._index.next_sequence, list[Line]()
        sizes: dict[int, int] = {}
        suspect: dict[int, Exception] = {}
        files = segment_numbers(self.folder)
        for number, names in files.items():
            if SUFFIX not in names and (first > 1 or SUFFIX + ASIDE not in names):
                continue
            path = segment_path(self.folder, number)
            try:
                if not path.stat().st_size:
                    raise DamagedError("it is empty")  # noqa: TRY301 - one place tells what damage is
                with closing(Segment.open(path)) as segment:
                    sizes[number] = segment.size_bytes
                    new.extend(Line(number, head, packed) for head, packed in segment.heads_from(first))
            except (sqlite3.Error, OSError, DamagedError) as error:
                if not is_damage(error):
                    raise
                suspect[number] = error
        self._next_sequence = max([first, *(line.head.sequence + 1 for line in [*new, *self._index.lines()])])
        self._first = self._next_sequence
        self._next_segment = max([self._index.next_segment, *(number + 1 for number in files)])
        sizes = {line.segment: sizes.get(line.segment, 0) for line in new}
        self._index.enter(new, sizes, self._next_sequence, self._next_segment)
        self._index.max_bytes = self.max_bytes
        if new:
            log.warning("spool.recovered", batches=len(new), rows=sum(line.head.rows for line in new))
        self._count(list(self._index.lines()))
        self._sizes, self._index_bytes = self._index.sizes(), self._index.used_bytes
        self._last_foreign = self._index.last_of_other_writers(self._writers)
        self._tidy(files, suspect)

    def _tidy(self, files: dict[int, list[str]], suspect: dict[int, Exception]) -> None:
        """Each segment has batches that wait, or is no more."""
        for number in list(self._waiting):
            path = segment_path(self.folder, number)
            if number in suspect or not path.exists():
                self._condemn(number, suspect.get(number, FileNotFoundError(f"{path.name} is missing")))
        for number in files.keys() - self._waiting.keys():
            path = self.folder / f"{number:08}{SUFFIX}"
            if number in suspect and path.exists() and path.stat().st_size:
                set_aside(path, aside_path(self.folder, number))
                log.error("spool.damaged", file=str(path) + ASIDE, error=str(suspect[number]), batches=0, rows=0)
            else:
                unlink(path)

    # Errors

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, DamagedError) as error:
            raise trouble(self.folder, error) from error
