"""The file of a backup: a zip whose manifest is its last part, so that a file that broke off is no zip at all."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

import msgspec
from msgspec import Struct

from ingest.errors import ConfigError, Fatal

FORMAT = 1
MANIFEST = "manifest.json"
BLOCK_BYTES = 1024 * 1024

Method = Literal["dump", "tables"]


class Part(Struct, frozen=True):
    """One file of the archive: for `tables` the COPY text of these columns of `table`, for `dump` pg_dump's output."""

    name: str
    sha256: str
    bytes: int
    table: str = ""
    columns: tuple[str, ...] = ()


class Manifest(Struct, frozen=True):
    """What a backup is of. `rows` counts each table's rows in the snapshot; `migrations` are the names applied."""

    format: int
    method: Method
    made_at: datetime
    ingest: str
    postgres: int
    timescaledb: str
    edition: str
    migrations: tuple[str, ...]
    rows: dict[str, int]
    parts: tuple[Part, ...]


class Writer:
    """Parts one after the other into a new archive, in constant memory."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.parts: list[Part] = []

    @contextmanager
    def part(
        self, name: str, *, table: str = "", columns: tuple[str, ...] = (), packed: bool = False
    ) -> Iterator["Sink"]:
        """Write one part; `packed` says that it is compressed already."""
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as file:
            sink = Sink(file)
            yield sink
        self.parts.append(Part(name, sink.digest.hexdigest(), sink.bytes, table, columns))

    def finish(self, manifest: Manifest) -> None:
        self._archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


class Sink:
    """Where a part's bytes go; counts them, and lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0
        self.lines = 0

    def write(self, block: bytes | bytearray | memoryview) -> None:
        data = bytes(block)
        self.digest.update(data)
        self.bytes += len(data)
        self.lines += data.count(b"\n")
        self._file.write(data)


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """A new archive, which is at `path` only once it is whole and on disk. Raises ConfigError where a file is there."""
    if path.exists():
        raise ConfigError(f"{path} is there already: name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with _private(partial) as file:
            with zipfile.ZipFile(file, "w", allowZip64=True, compresslevel=3) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise Fatal(f"{error.filename or partial}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        yield file


class Reader:
    """An archive whose every part was found as its manifest says."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def blocks(self, part: Part) -> Iterator[bytes]:
        with self._archive.open(part.name) as file:
            while block := file.read(BLOCK_BYTES):
                yield block


@contextmanager
def open_verified(path: Path) -> Iterator[Reader]:
    """Read the whole file once and compare each part with its SHA-256.

    Raises ConfigError for what is no whole backup.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            reader = Reader(archive, _manifest(archive, path))
            for part in reader.manifest.parts:
                if _digest(reader.blocks(part)) != part.sha256:
                    raise ConfigError(f"{path}: {part.name} is damaged (another SHA-256 than its manifest says)")
            yield reader
    except (zipfile.BadZipFile, KeyError) as error:
        raise ConfigError(f"{path} is no whole backup of ingest: {error}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}") from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    raw = archive.read(MANIFEST)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {MANIFEST} cannot be read: {error}") from error
    if manifest.format > FORMAT:
        raise ConfigError(f"{path} was written by a newer ingest ({manifest.ingest}): restore it with that one")
    return manifest


def _digest(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
