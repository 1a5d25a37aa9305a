"""What any process may ask of a spool, also while a daemon has it open: what waits, and all of it as text."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from ingest.errors import ConfigError, Retryable
from ingest.pipeline import parcel, spool_index
from ingest.pipeline.batch import Batch
from ingest.pipeline.parcel import DamagedError, LaterFormatError
from ingest.pipeline.spool_files import ASIDE, Segment, is_damage, segment_path
from ingest.pipeline.spool_index import Index, Line
from ingest.records import Channel

CAUSE = "spool file damaged"


class StreamTotal(Struct, frozen=True):
    rows: int
    from_ns: int
    to_ns: int


class Status(Struct, frozen=True):
    """What waits; `rows` and `streams` without what is lost. `oldest_ns` is when the oldest batch was spooled.

    `damaged_files` are those that were set aside, kept for a person to look at and delete.
    """

    batches: int
    rows: int
    bytes: int
    max_bytes: int
    oldest_ns: int | None
    streams: dict[tuple[int, Channel], StreamTotal]
    damaged_files: list[str]


def inspect(folder: Path) -> Status:
    """What waits in a folder; nothing, where there is no spool.

    Raises ConfigError when it is no folder, Retryable when it cannot be read.
    """
    _check(folder)
    if not (folder / spool_index.NAME).exists():
        return Status(0, 0, 0, 0, None, {}, _damaged_files(folder))
    with _readable(folder), closing(Index.open(folder, readonly=True)) as index:
        return status_of(folder, index)


def status_of(folder: Path, index: Index) -> Status:
    batches = rows = 0
    oldest_ns: int | None = None
    streams: dict[tuple[int, Channel], StreamTotal] = {}
    for line in index.lines():
        head = line.head
        batches += 1
        oldest_ns = head.spooled_ns if oldest_ns is None else oldest_ns
        if line.lost:
            continue
        rows += head.rows
        if (channel := head.channel) is None:
            continue
        for span in head.spans:
            key = (span.instrument_id, channel)
            known = streams.get(key, StreamTotal(0, span.from_ns, span.to_ns))
            from_ns, to_ns = min(known.from_ns, span.from_ns), max(known.to_ns, span.to_ns)
            streams[key] = StreamTotal(known.rows + span.rows, from_ns, to_ns)
    used = sum(index.sizes().values()) + index.used_bytes
    return Status(batches, rows, used, index.max_bytes, oldest_ns, streams, _damaged_files(folder))


def export(folder: Path, out: Path) -> int:
    """Write what waits to a new file, as NDJSON: `{"table": …, "record": {…}}` a line; return the number of lines.

    In order, a batch's gaps (`"table": "gaps"`) after its rows. Nothing is changed; what a daemon delivers meanwhile
    may be missing. Raises ConfigError when `folder` is no folder or `out` exists or cannot be made, Retryable when the
    spool cannot be read.
    """
    _check(folder)
    try:
        file = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise ConfigError(f"cannot make {out}: {error.strerror}; name a new file in a folder that is there") from error
    lines = 0
    encode = msgspec.json.Encoder().encode
    with file, _readable(folder):
        for batch in _batches(folder):
            table = parcel.NAME_OF[batch.table]
            for name, records in ((table, batch.records), ("gaps", batch.gaps)):
                for record in records:
                    file.write(encode({"table": name, "record": record}) + b"\n")
                    lines += 1
    return lines


def in_place_of(folder: Path, line: Line) -> Batch:
    """What is delivered for a batch whose rows are lost."""
    path = segment_path(folder, line.segment)
    return parcel.lost(line.head, CAUSE, str(path) if path.exists() else f"{path} is missing")


def _batches(folder: Path) -> Iterator[Batch]:
    if not (folder / spool_index.NAME).exists():
        return
    with closing(Index.open(folder, readonly=True)) as index:
        sequence = 0
        while (line := index.after(sequence)) is not None:
            sequence = line.head.sequence
            try:
                with closing(Segment.open(segment_path(folder, line.segment))) as segment:
                    yield segment.read(line.head)
            except (sqlite3.Error, OSError, DamagedError) as error:
                if not is_damage(error):
                    raise
                if index.holds(sequence):  # else the daemon has delivered it meanwhile
                    yield in_place_of(folder, line)


def _check(folder: Path) -> None:
    """Where no folder is, nothing waits. Where a file is, somebody meant another place: that would be no answer."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"the spool {folder} is a file: set [spool] folder to a folder")


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DamagedError, LaterFormatError) as error:
        reason = "a later version of ingest wrote it" if isinstance(error, LaterFormatError) else str(error)
        raise Retryable(f"the spool {folder} cannot be read: {reason}; a daemon that starts on it mends it") from error


def _damaged_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{ASIDE}*") if not path.name.endswith(("-wal", "-shm")))
