"""The parts of the page that are the same for everybody: streams, gaps, the database."""

import time
from collections import deque
from datetime import datetime

from msgspec import Struct, structs
from psycopg import AsyncConnection

from ingest.status import StreamStatus, VenueStatus
from ingest.store.sqlfiles import query

GAPS = 50
"""How many gaps are shown."""
_RATE_SECONDS = 60.0  # a candle a minute has a rate, too
_SAMPLE_SECONDS = 5.0


class Venue(Struct, frozen=True):
    """`state` is that of `market.exchange_status`, `unseen` where no daemon looks at it; `sentence` tells the rest."""

    exchange: str
    state: str
    sentence: str


class Streams(Struct, frozen=True):
    """Every stream, and how each venue is."""

    streams: list[StreamStatus]
    venues: list[Venue]


class Gap(Struct, frozen=True):
    """One row of `market.gaps`. `from_time` is None where only ids are known; `seconds` up to now while it lasts."""

    exchange: str
    symbol: str
    channel: str
    from_time: datetime | None
    to_time: datetime | None
    seconds: float | None
    missing_ids: int | None
    cause: str
    state: str
    detail: str | None
    opened_at: datetime
    closed_at: datetime | None
    attempts: int


class GapCounts(Struct, frozen=True):
    """Gaps by state; `oldest_seconds` is the age of the oldest that is to be repaired; windows are those of REST."""

    open: int
    repairing: int
    repaired: int
    awaiting_dump: int
    unrecoverable: int
    oldest_seconds: float | None
    windows_waiting: int
    windows_failed: int


class Gaps(Struct, frozen=True):
    """All counted, and `GAPS` of them: what is to be repaired first, then the latest."""

    counts: GapCounts
    latest: list[Gap]


class Server(Struct, frozen=True):
    """`migration` is the number of the last one that was applied."""

    database: str
    postgresql: str
    timescaledb: str | None
    edition: str
    bytes: int
    migration: str | None


class Table(Struct, frozen=True):
    """One row of `ingest.table_sizes`."""

    name: str
    kind: str
    chunks: int
    compressed_chunks: int
    rows_estimate: int
    bytes: int
    compression_ratio: float | None
    oldest: datetime | None
    newest: datetime | None


class Job(Struct, frozen=True):
    """One row of `ingest.policy_jobs`."""

    policy: str
    table: str
    run_by: str
    every_seconds: float | None
    scheduled: bool
    last_status: str | None
    last_error: str | None
    last_succeeded_at: datetime | None
    next_start_at: datetime | None
    failures: int


class Database(Struct, frozen=True):
    """The server, the tables that hold something, and what keeps them."""

    server: Server
    tables: list[Table]
    jobs: list[Job]


class Rates:
    """Rows a second of each stream over the last minute, or as long as somebody has looked."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[tuple[str, str, str], int]]] = deque()

    def applied(self, streams: list[StreamStatus], now_seconds: float) -> list[StreamStatus]:
        """The streams with their rates; None for one that is seen for the first time. `now_seconds` never goes back."""
        rows = {(stream.exchange, stream.symbol, stream.channel): stream.rows_stored for stream in streams}
        while len(self._samples) > 1 and self._samples[1][0] <= now_seconds - _RATE_SECONDS:
            self._samples.popleft()
        at, before = self._samples[0] if self._samples else (now_seconds, {})
        if not self._samples or now_seconds - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now_seconds, rows))
        span = now_seconds - at
        if span <= 0:
            return streams
        return [
            structs.replace(stream, rows_per_second=round((count - before[key]) / span, 3)) if key in before else stream
            for stream, (key, count) in zip(streams, rows.items(), strict=True)
        ]

    def clear(self) -> None:
        """Nobody looks any more: what comes next is no continuation."""
        self._samples.clear()


class Overview:
    """Reads each part. Raises psycopg's errors."""

    def __init__(self) -> None:
        self.rates = Rates()

    async def streams(self, connection: AsyncConnection) -> Streams:
        rows = await (await connection.execute(query("stream_status"))).fetchall()
        streams = self.rates.applied([StreamStatus(*row) for row in rows], time.monotonic())
        rows = await (await connection.execute(query("exchange_health"))).fetchall()
        return Streams(streams, [_venue(VenueStatus(*row)) for row in rows])

    async def gaps(self, connection: AsyncConnection) -> Gaps:
        counted = await (await connection.execute(query("page_gap_counts"))).fetchall()
        rows = await (await connection.execute(query("page_gaps"), {"limit": GAPS})).fetchall()
        return Gaps(GapCounts(*counted[0]), [Gap(*row) for row in rows])

    async def database(self, connection: AsyncConnection) -> Database:
        server = await (await connection.execute(query("page_server"))).fetchall()
        tables = await (await connection.execute(query("page_tables"))).fetchall()
        jobs = await (await connection.execute(query("page_jobs"))).fetchall()
        return Database(Server(*server[0]), [Table(*row) for row in tables], [Job(*row) for row in jobs])


def _venue(status: VenueStatus) -> Venue:
    state = status.state if status.seen or status.state == "stopped" else "unseen"
    return Venue(status.exchange, state, status.sentence)
