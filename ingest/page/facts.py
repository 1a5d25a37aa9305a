"""What the daemon knows of itself without asking the database, for the top of the page."""

from typing import Protocol

from msgspec import Struct

from ingest import __version__, clock
from ingest.pipeline.pipeline import Counts


class Pipeline(Protocol):
    """What is asked of `ingest.pipeline.pipeline.Pipeline`."""

    held_rows: int
    counts: Counts


class Spool(Protocol):
    """What is asked of `ingest.pipeline.spool.Spool`: attributes alone, so that asking never touches the disk."""

    batches: int
    rows: int
    max_bytes: int

    @property
    def bytes(self) -> int: ...


class Facts(Struct, frozen=True):
    """Rows and batches are counts since the daemon's start, but for `held_rows` and `spool_…`: those wait now.

    `lag_ms` is receipt to commit of the latest batch's oldest row; `now_ms` is the daemon's clock.
    """

    version: str
    now_ms: int
    started_ms: int
    held_rows: int
    queue_max_rows: int
    stored: int
    duplicate: int
    rejected: int
    spooled: int
    lag_ms: int
    spool_batches: int
    spool_rows: int
    spool_bytes: int
    spool_max_bytes: int


class Teller:
    """Called, it tells the facts of now. Costs nothing but the building of a struct."""

    def __init__(
        self, pipeline: Pipeline, spool: Spool, *, queue_max_rows: int, now_ns: clock.Clock = clock.now_ns
    ) -> None:
        self._pipeline = pipeline
        self._spool = spool
        self._queue_max_rows = queue_max_rows
        self._now_ns = now_ns
        self._started_ms = now_ns() // clock.MILLISECOND

    def __call__(self) -> Facts:
        counts, spool = self._pipeline.counts, self._spool
        return Facts(
            __version__,
            self._now_ns() // clock.MILLISECOND,
            self._started_ms,
            self._pipeline.held_rows,
            self._queue_max_rows,
            counts.stored,
            counts.duplicate,
            counts.rejected,
            counts.spooled,
            counts.lag_ns // clock.MILLISECOND,
            spool.batches,
            spool.rows,
            spool.bytes,
            spool.max_bytes,
        )
