"""What happens in the daemon, as typed events: one call gives the log line and the metric.

Who notices something calls the `Emit` that it was given. By itself that is `say`, the log line alone; the daemon gives
one that counts, too (`operate.metrics`). What comes often is one event a batch or a connection, never one a row.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import structlog
from msgspec import Struct, structs

from ingest.clock import MILLISECOND
from ingest.records import Channel, Record

log = structlog.get_logger()

Level = Literal["debug", "info", "warning", "error"]


class Event(Struct, frozen=True):
    """`name` and `level` are the log line's; its fields are the event's."""

    name: ClassVar[str]
    level: ClassVar[Level] = "warning"

    def fields(self) -> dict[str, Any]:
        """What the log line says beside the name."""
        return structs.asdict(self)


Emit = Callable[[Event], None]


def say(event: Event) -> None:
    """The log line."""
    getattr(log, event.level)(event.name, **event.fields())


class BatchCommitted(Event, frozen=True):
    """`channel` is `rejected` for a batch of inputs that could not be used; `seconds` is what the database took."""

    name: ClassVar[str] = "batch.committed"
    level: ClassVar[Level] = "debug"

    channel: Channel | Literal["rejected"]
    records: Sequence[Record]
    stored: int
    duplicate: int
    rejected: int
    opened_ns: int
    committed_ns: int
    seconds: float

    def fields(self) -> dict[str, Any]:
        return {
            "channel": self.channel,
            "rows": len(self.records),
            "stored": self.stored,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "lag_ms": (self.committed_ns - self.opened_ns) // MILLISECOND,
            "copy_ms": round(self.seconds * 1000, 1),
        }


class HistoryCommitted(Event, frozen=True):
    """What repair, or a backfill within the daemon, fetched and stored."""

    name: ClassVar[str] = "history.committed"
    level: ClassVar[Level] = "debug"

    exchange: str
    channel: Channel
    stored: int
    duplicate: int
    rejected: int


class RowsRejected(Event, frozen=True):
    name: ClassVar[str] = "rows.rejected"

    channel: Channel | Literal["rejected"]
    rows: int
    see: str = "ingest.rejected"


class DatabaseAway(Event, frozen=True):
    """A batch was not taken, and is given again."""

    name: ClassVar[str] = "database.retry"

    error: str
    held_rows: int


class DatabaseRefuses(DatabaseAway, frozen=True):
    """The same, for a reason that waiting will not mend."""

    level: ClassVar[Level] = "error"


class PipelineFull(Event, frozen=True):
    name: ClassVar[str] = "pipeline.full"

    held_rows: int
    remedy: str = "neither the database nor the spool keeps up"


class SpoolFilling(Event, frozen=True):
    name: ClassVar[str] = "spool.filling"

    held_rows: int
    reason: str = "the database is away or too slow"


class SpoolDrained(Event, frozen=True):
    name: ClassVar[str] = "spool.drained"
    level: ClassVar[Level] = "info"

    spooled_rows: int


class SpoolRefuses(Event, frozen=True):
    """It is full, or its disk is."""

    name: ClassVar[str] = "spool.refuses"
    level: ClassVar[Level] = "error"

    error: str
    held_rows: int


class SpoolFailed(Event, frozen=True):
    """What waits in it cannot be read."""

    name: ClassVar[str] = "spool.failed"
    level: ClassVar[Level] = "error"

    error: str


class SessionLost(Event, frozen=True):
    """A connection ended that should not have, and is made anew."""

    name: ClassVar[str] = "session.lost"

    exchange: str
    error: str
    streams: int
    retry_seconds: float


class StreamSilent(Event, frozen=True):
    name: ClassVar[str] = "stream.silent"

    exchange: str
    channel: Channel
    stream: str
    evidence: str


class BookOutOfSync(Event, frozen=True):
    name: ClassVar[str] = "book.out_of_sync"

    exchange: str
    stream: str
    cause: str


class GapOpened(Event, frozen=True):
    name: ClassVar[str] = "gap.opened"
    level: ClassVar[Level] = "debug"  # what it is about has a line of its own; the database keeps each

    exchange: str
    channel: Channel
    stream: str
    cause: str


class FrameRejected(Event, frozen=True):
    """A message, or a row of a REST answer, that could not be read."""

    name: ClassVar[str] = "frame.rejected"

    exchange: str
    reason: str
    bytes: int
