"""`ingest status`: what is collected and how it goes, read from the database; no daemon is asked."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from psycopg import Connection
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from ingest.errors import Exit
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query
from ingest.terminal import cell, plain, print_json

_SAMPLE_SECONDS = 1.0
_FRESH_SECONDS = 300.0
_UNSEEN_SECONDS = 60.0
_STYLE = {"live": "green", "starting": "yellow", "reconnecting": "yellow", "blocked": "red", "stopped": "dim"}
_VENUE_STYLE = {"online": "green", "degraded": "yellow", "maintenance": "yellow", "blocked": "red", "offline": "red"}


class StreamStatus(Struct, frozen=True):
    """One stream. Ages are in seconds by the database's clock; `lag_seconds` is receipt to commit of its last batch.

    `rows_per_second` is measured between two looks; None after the first.
    """

    exchange: str
    symbol: str
    channel: str
    state: str
    detail: str | None
    state_seconds: float
    last_time: datetime | None
    committed_seconds: float | None
    lag_seconds: float | None
    rows_stored: int
    rows_duplicate: int
    only_imported: bool = False
    rows_per_second: float | None = None

    @property
    def healthy(self) -> bool:
        """Live, or something was committed within five minutes; or it is of files alone, and nobody collects it."""
        if self.state == "live" or self.only_imported:
            return True
        return self.committed_seconds is not None and self.committed_seconds < _FRESH_SECONDS


class VenueStatus(Struct, frozen=True):
    """How a venue is. `checked_seconds` ago it was found so; `free` is the share of its request limit that was."""

    exchange: str
    state: str
    detail: str | None
    since: datetime
    since_seconds: float
    checked_seconds: float
    latency_ms: int | None
    free: float | None

    @property
    def seen(self) -> bool:
        """Whether a daemon looks at it."""
        return self.state != "stopped" and self.checked_seconds < _UNSEEN_SECONDS

    @property
    def sentence(self) -> str:
        """The state in one line."""
        if self.state == "stopped":
            return f"stopped {_span(self.since_seconds)} ago"
        if not self.seen:
            return f"{self.state} when it was last seen, {_span(self.checked_seconds)} ago"
        told = [f"{self.state} for {_span(self.since_seconds)}"]
        if self.latency_ms is not None:
            told.append(f"REST {self.latency_ms:,} ms")
        if self.free is not None:
            told.append(f"{100 * self.free:.0f} % of the limit free")
        return ", ".join(told) + (f": {self.detail}" if self.detail else "")


def style_of(venue: VenueStatus) -> str:
    """For a terminal."""
    return _VENUE_STYLE.get(venue.state, "") if venue.seen else "dim"


def health(connection: Connection) -> list[VenueStatus]:
    """How each venue is that was ever collected, by name."""
    return [VenueStatus(*row) for row in connection.execute(query("exchange_health")).fetchall()]


def show(url: str, *, watch: bool, as_json: bool, console: Console) -> Exit:
    """Print the streams once (a look takes a second, to measure rates), or go on until Ctrl-C."""
    with connect_sync(url, role="status") as connection:
        look = _looks(connection)
        look()
        time.sleep(_SAMPLE_SECONDS)
        if not watch:
            streams = look()
            if as_json:
                print_json(streams, console)
            else:
                console.print(overview(health(connection), streams))
            return Exit.OK
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(overview(health(connection), look()), refresh=True)
                time.sleep(_SAMPLE_SECONDS)


def check(url: str, console: Console) -> Exit:
    """For health checks: OK when there are streams and all are healthy; else name those that are not."""
    with connect_sync(url, role="status") as connection:
        streams = _looks(connection)()
    ill = [stream for stream in streams if not stream.healthy]
    for stream in ill:
        said = f"{stream.exchange} {stream.symbol} {stream.channel}: {stream.state} {stream.detail or ''}"
        console.out(plain(said.rstrip()), highlight=False)
    if not streams:
        console.print("no stream was ever collected into this database")
    return Exit.OK if streams and not ill else Exit.FAILED


def _looks(connection: Connection) -> Callable[[], list[StreamStatus]]:
    """Makes a function that reads all streams; from its second call on with rates."""
    before: dict[tuple[str, str, str], tuple[int, float]] = {}

    def look() -> list[StreamStatus]:
        now = time.monotonic()
        streams = []
        for row in connection.execute(query("stream_status")).fetchall():
            stream = StreamStatus(*row)
            key = (stream.exchange, stream.symbol, stream.channel)
            if key in before:
                rows, at = before[key]
                rate = (stream.rows_stored - rows) / max(now - at, 1e-3)
                stream = msgspec.structs.replace(stream, rows_per_second=round(rate, 1))
            before[key] = (stream.rows_stored, now)
            streams.append(stream)
        return streams

    return look


def overview(venues: Sequence[VenueStatus], streams: Sequence[StreamStatus]) -> RenderableType:
    """For a terminal: each venue's state above its streams."""
    states = {venue.exchange: venue for venue in venues}
    parts: list[RenderableType] = []
    for exchange in sorted(states.keys() | {stream.exchange for stream in streams}):
        venue, own = states.get(exchange), [stream for stream in streams if stream.exchange == exchange]
        parts.append(cell(f"{exchange}: {len(own):,} streams", "bold"))
        if venue is not None:
            parts[-1] = cell(f"{exchange}: ", "bold").append_text(cell(venue.sentence, f"not bold {style_of(venue)}"))
        parts.append(_table(own))
    return Group(*parts) if parts else "no stream was ever collected into this database"


def _table(streams: Sequence[StreamStatus]) -> Table:
    shown = Table(box=None, header_style="bold")
    for name in ("symbol", "channel", "state"):
        shown.add_column(name)
    for name in ("committed", "lag", "rows/s", "rows"):
        shown.add_column(name, justify="right")
    shown.add_column("detail", overflow="fold")
    for stream in streams:
        style = _STYLE.get(stream.state, "")
        shown.add_row(
            cell(stream.symbol),
            cell(stream.channel),
            cell(stream.state, style),
            "-" if stream.committed_seconds is None else f"{_span(stream.committed_seconds)} ago",
            "-" if stream.lag_seconds is None else f"{1000 * stream.lag_seconds:,.0f} ms",
            "-" if stream.rows_per_second is None else f"{stream.rows_per_second:,.1f}",
            f"{stream.rows_stored:,}",
            cell(stream.detail or ""),
        )
    return shown


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.1f} s"
