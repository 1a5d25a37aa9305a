"""A file's lines, in blocks of whole lines, whatever it is packed in; its digest, and the checksum beside it."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from msgspec import Struct

from ingest.errors import ConfigError

BLOCK_BYTES = 4 * 1024**2
"""Of lines: some 50,000 trades of Binance."""
_LINE_MAX = 1024**2
_FIRST_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"


class Lines(Struct, frozen=True):
    """Whole lines, each ended by a line feed. `first` is the number of the first one, from 1."""

    text: bytes
    first: int
    count: int

    def halves(self) -> "tuple[Lines, Lines]":
        """Both with at least one line; it has two or more."""
        middle = self.text.find(b"\n", len(self.text) // 2) + 1
        if not 0 < middle < len(self.text):
            middle = self.text.rfind(b"\n", 0, len(self.text) - 1) + 1
        left, right = self.text[:middle], self.text[middle:]
        count = left.count(b"\n")
        return Lines(left, self.first, count), Lines(right, self.first + count, self.count - count)


def digest(path: Path) -> str:
    """SHA-256 of the file in hex."""
    found = hashlib.sha256()
    with _opened(path) as file:
        while read := file.read(_LINE_MAX):
            found.update(read)
    return found.hexdigest()


def verify(path: Path, sha256: str) -> bool:
    """Compare with `NAME.CHECKSUM` beside the file, if it is there: whether it was.

    Raises ConfigError where it says something else, or says nothing of this file.
    """
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if not beside.is_file():
        return False
    text = beside.read_text(errors="replace")
    for line in text.splitlines():
        said, _, name = line.strip().partition(" ")
        if name.strip(" *") in ("", path.name) and len(said) == len(sha256):
            if said.lower() != sha256:
                raise ConfigError(
                    f"{path.name}: its SHA-256 is {sha256}, but {beside.name} says {said.lower()}: "
                    "the file is damaged, or not the one that it was. Fetch both again."
                )
            return True
    raise ConfigError(f"{beside.name}: it holds no SHA-256 of {path.name}. Fetch it again, or remove it.")


def first_lines(path: Path) -> list[bytes]:
    """The first one, and the second one where there is one. Raises ConfigError where the file is empty."""
    for found in lines(path, block_bytes=_FIRST_BYTES):
        return found.text.split(b"\n", 2)[: min(found.count, 2)]
    raise ConfigError(f"{path.name}: it is empty.")


def lines(path: Path, *, skip: int = 0, block_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
    """The file's lines from behind the first `skip` ones on. Raises ConfigError where it cannot be unpacked."""
    number, rest = 1, b""
    try:
        with _unpacked(path) as file:
            while read := file.read(block_bytes):
                if number == 1 and not rest:
                    read = read.removeprefix(_BOM)
                text, rest = _whole(rest + read if rest else read, path)
                number, found = _numbered(text, number, skip)
                if found is not None:
                    yield found
            if rest:
                number, found = _numbered(rest.rstrip(b"\r") + b"\n", number, skip)
                if found is not None:
                    yield found
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ConfigError(f"{path.name}: it cannot be unpacked behind line {number - 1:,}: {error}") from error


def _whole(text: bytes, path: Path) -> tuple[bytes, bytes]:
    """The whole lines, and what follows them."""
    end = text.rfind(b"\n") + 1
    if len(text) - end > _LINE_MAX:
        raise ConfigError(f"{path.name}: a line is longer than {_LINE_MAX:,} bytes: it is no text of lines.")
    whole, rest = text[:end], text[end:]
    return whole.replace(b"\r\n", b"\n") if b"\r" in whole else whole, rest


def _numbered(text: bytes, number: int, skip: int) -> tuple[int, Lines | None]:
    count = text.count(b"\n")
    after = number + count
    if not count or after - 1 <= skip:
        return after, None
    passing = skip - number + 1
    if passing > 0:  # lines of this block are stored already
        start = 0
        for _ in range(passing):
            start = text.index(b"\n", start) + 1
        return after, Lines(text[start:], skip + 1, count - passing)
    return after, Lines(text, number, count)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with _opened(path) as packed:
        if path.suffix == ".zip":
            with zipfile.ZipFile(packed) as archive:
                members = [each for each in archive.infolist() if not each.is_dir()]
                if len(members) != 1:
                    raise ConfigError(f"{path.name}: it holds {len(members)} files, not one: unpack it first.")
                with archive.open(members[0]) as file:
                    yield cast("BinaryIO", file)
        elif path.suffix == ".gz":
            with gzip.open(packed) as file:
                yield cast("BinaryIO", file)
        else:
            yield packed


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
