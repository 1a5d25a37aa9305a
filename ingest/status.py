"""`ingest status`: what is collected and how it goes, read from the database; no daemon is asked."""

import time
from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec import Struct
from psycopg import Connection
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ingest.errors import Exit
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query

_SAMPLE_SECONDS = 1.0
_FRESH_SECONDS = 300.0
_STYLE = {"live": "green", "starting": "yellow", "reconnecting": "yellow", "blocked": "red", "stopped": "dim"}


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


def show(url: str, *, watch: bool, as_json: bool, console: Console) -> Exit:
    """Print the streams once (a look takes a second, to measure rates), or go on until Ctrl-C."""
    with connect_sync(url, role="status") as connection:
        look = _looks(connection)
        look()
        time.sleep(_SAMPLE_SECONDS)
        if not watch:
            streams = look()
            console.print(msgspec.json.encode(streams).decode(), soft_wrap=True) if as_json else console.print(
                table(streams)
            )
            return Exit.OK
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(table(look()), refresh=True)
                time.sleep(_SAMPLE_SECONDS)


def check(url: str, console: Console) -> Exit:
    """For health checks: OK when there are streams and all are healthy; else name those that are not."""
    with connect_sync(url, role="status") as connection:
        streams = _looks(connection)()
    ill = [stream for stream in streams if not stream.healthy]
    for stream in ill:
        console.print(f"{stream.exchange} {stream.symbol} {stream.channel}: {stream.state} {stream.detail or ''}")
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


def table(streams: list[StreamStatus]) -> Table:
    """The streams as a table for a terminal."""
    shown = Table(title=f"{len(streams)} streams", title_justify="left", box=None, header_style="bold")
    for name in ("exchange", "symbol", "channel", "state"):
        shown.add_column(name)
    for name in ("committed", "lag", "rows/s", "rows"):
        shown.add_column(name, justify="right")
    shown.add_column("detail", overflow="fold")
    for stream in streams:
        style = _STYLE.get(stream.state, "")
        shown.add_row(
            stream.exchange,
            stream.symbol,
            stream.channel,
            f"[{style}]{stream.state}",
            "-" if stream.committed_seconds is None else f"{_span(stream.committed_seconds)} ago",
            "-" if stream.lag_seconds is None else f"{1000 * stream.lag_seconds:,.0f} ms",
            "-" if stream.rows_per_second is None else f"{stream.rows_per_second:,.1f}",
            f"{stream.rows_stored:,}",
            stream.detail or "",
        )
    return shown


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.1f} s"
