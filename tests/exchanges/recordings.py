"""A reader of recorded traffic for tests: written apart from `ingest/recording.py`, so that the two check each other.

A file holds one event a line (`../shared/recordings/README.md`), times being seconds since the epoch:

    URL <-> time           a connection was opened
    URL <- time: text      a frame was sent
    time: text             a frame was received
    URL -> time: body      a REST reply was received
"""

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"


class Line(NamedTuple):
    """`mark` is `<->`, `<-`, `->`, or "" for a frame received, whose `url` is ""."""

    url: str
    mark: str
    time_ns: int
    text: str


def lines(path: Path) -> Iterator[Line]:
    """Raises ValueError at a line of another form; blank lines and `configuration: …` are passed over."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for raw in file:
            line = raw.rstrip("\n")
            if not line or line.startswith("configuration: "):  # how the recorder was set up
                continue
            if line[0].isdigit():
                time, text = line.split(": ", 1)
                yield Line("", "", nanoseconds(time), text)
                continue
            url, mark, rest = line.split(" ", 2)
            if mark == "<->":
                yield Line(url, mark, nanoseconds(rest), "")
            elif mark in ("<-", "->"):
                time, text = rest.split(": ", 1)
                yield Line(url, mark, nanoseconds(time), text)
            else:
                raise ValueError(line[:80])


def nanoseconds(seconds: str) -> int:
    return int(Decimal(seconds) * 1_000_000_000)


def recording(name: str) -> Path:
    """The recording of this name; the test is skipped where the folder is absent."""
    return _present(FOLDER / "streams" / name)


def sample(name: str) -> bytes:
    """One of the single frames and replies; the test is skipped where the folder is absent."""
    return _present(FOLDER / "samples" / name).read_bytes()


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path
