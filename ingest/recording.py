"""Raw traffic in files, as it was: one line an event, gzipped, in the format of cryptofeed's recordings.

    wss://host/path <-> 1633998511.159679           a connection was opened
    wss://host/path <- 1633998511.2: {"method":…}   a frame was sent
    1633998512.0633569: {"stream":…}                a frame was received
    https://host/path -> 1633998512.32: {"bids":…}  a REST reply was received

Times are seconds since the epoch. `NAME.ws.N.0.gz` holds one connection, `NAME.http.N.0.gz` REST replies, and
`NAME.0.gz` the venue's list of instruments.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal, Self

from msgspec import Struct

from ingest import clock
from ingest.errors import ConfigError

Kind = Literal["opened", "sent", "received", "reply"]

_OPENED = re.compile(rb"(\S+) <-> (\d+(?:\.\d+)?)")
_LINE = re.compile(rb"(?:(\S+) (<-|->) )?(\d+(?:\.\d+)?): (.*)", re.DOTALL)
_KIND: dict[bytes | None, Kind] = {None: "received", b"<-": "sent", b"->": "reply"}


class Entry(Struct, frozen=True):
    """One event. `url` is "" for a frame received."""

    kind: Kind
    url: str
    time_ns: int
    payload: bytes


class Recorder:
    """Writes one recording, named after the exchange, into a folder. Use as a context manager.

    Raises ConfigError where the folder holds one already, cannot be made, or takes no file.
    """

    def __init__(self, folder: Path, exchange: str) -> None:
        if any(folder.glob(f"{exchange.upper()}.*gz")):
            raise ConfigError(f"{folder} holds a recording of {exchange} already: choose another --output, or move it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()  # before a venue is asked for anything
        except OSError as error:
            what = "is a file" if folder.is_file() else f"cannot be used: {error.strerror}"
            raise ConfigError(f"--output {folder} {what}; name a folder that this user may write to") from error
        self._folder = folder
        self._name = exchange.upper()
        self._files: dict[str, gzip.GzipFile] = {}
        self._connections = 0
        self.events = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    @property
    def paths(self) -> list[Path]:
        return [self._folder / name for name in self._files]

    def session(self) -> "SessionRecorder":
        """A tap for one more connection."""
        self._connections += 1
        return SessionRecorder(self, f"{self._name}.ws.{self._connections}.0.gz")

    def reply(self, url: str, received_ns: int, body: bytes) -> None:
        self.write(f"{self._name}.http.0.0.gz", f"{url} -> {_seconds(received_ns)}: ".encode() + _one_line(body))

    def instruments(self, url: str, received_ns: int, body: bytes) -> None:
        self.write(f"{self._name}.0.gz", f"{url} -> {_seconds(received_ns)}: ".encode() + _one_line(body))

    def write(self, name: str, line: bytes) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = gzip.open(self._folder / name, "wb")  # noqa: SIM115 - closed by __exit__
        file.write(line + b"\n")
        self.events += 1


class SessionRecorder:
    """See `ingest.collect.session.Tap`."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder = recorder
        self._name = name
        self._url = ""

    def opened(self, url: str) -> None:
        self._url = url
        self._recorder.write(self._name, f"{url} <-> {_seconds(clock.now_ns())}".encode())

    def sent(self, frame: str) -> None:
        self._recorder.write(
            self._name, f"{self._url} <- {_seconds(clock.now_ns())}: ".encode() + _one_line(frame.encode())
        )

    def received(self, frame: bytes, received_ns: int) -> None:
        self._recorder.write(self._name, f"{_seconds(received_ns)}: ".encode() + _one_line(frame))


def read(path: Path) -> Iterator[Entry]:
    """The events of one file, in its order; a first line `configuration: …` is passed over.

    Raises ConfigError, naming file and line, for what is not in the format; a file that was cut off in the
    middle (the recorder was killed) yields what is whole.
    """
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.startswith(b"configuration: ") or not line.strip():
                    continue
                if not line.endswith(b"\n"):
                    return
                yield _parse(line.rstrip(b"\n"), path, number)
    except EOFError:
        return
    except (OSError, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _parse(line: bytes, path: Path, number: int) -> Entry:
    if opened := _OPENED.fullmatch(line):
        return Entry("opened", opened[1].decode(), _nanoseconds(opened[2]), b"")
    if match := _LINE.fullmatch(line):
        return Entry(_KIND[match[2]], (match[1] or b"").decode(), _nanoseconds(match[3]), match[4])
    raise ConfigError(f"{path}:{number}: not a line of a recording: {line[:80]!r}")


def _seconds(time_ns: int) -> str:
    return f"{time_ns // clock.SECOND}.{time_ns % clock.SECOND:09d}"


def _nanoseconds(text: bytes) -> int:
    whole, _, fraction = text.partition(b".")
    return int(whole) * clock.SECOND + int((fraction + b"000000000")[:9])


def _one_line(payload: bytes) -> bytes:
    """A line break in JSON is white space, so a blank means the same."""
    return payload.replace(b"\r", b" ").replace(b"\n", b" ")
