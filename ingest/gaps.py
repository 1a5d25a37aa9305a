"""`ingest gaps`: what is missing, by the stored rows and by the ledger; `--fix` hands it to the daemon's repair."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct
from psycopg import Connection
from rich.console import Console
from rich.table import Table

from ingest.errors import ConfigError, Exit
from ingest.records import CHANNELS, Channel
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query
from ingest.terminal import cell, print_json

_HISTORY = ("trades", "candles")
"""Channels whose past a venue's REST can supply."""

_GIVEN_UP = ("unrecoverable", "awaiting_dump")
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_ROWS_SHOWN = 500


class _Stream(Struct, frozen=True):
    """A row of `gap_streams.sql`."""

    instrument_id: int
    exchange: str
    symbol: str
    channel: Channel
    state: str
    promise: str
    covered_from: datetime | None
    proved_to: datetime | None
    attested_to: datetime | None
    kept_from: datetime | None
    removed_before: datetime | None
    now: datetime

    @property
    def watermark(self) -> datetime | None:
        return _latest(self.proved_to, self.attested_to)


class Missing(Struct, frozen=True):
    """Something that a stream lacks between `from_time` (inclusive) and `to_time` (exclusive).

    `state` is that of the gap that names it, None where none does: a hole between the stored rows, or time that was
    not collected. `ids` counts missing trade ids where they tell. `fixable` is what `--fix` opens a gap for.
    """

    exchange: str
    symbol: str
    channel: Channel
    from_time: datetime
    to_time: datetime
    from_id: int | None
    to_id: int | None
    ids: int | None
    cause: str
    state: str | None
    fixable: bool
    gap_id: int | None
    instrument_id: int


class StreamReport(Struct, frozen=True):
    """What one stream lacks, and its coverage in percent of the range (None: it was never collected)."""

    exchange: str
    symbol: str
    channel: Channel
    from_time: datetime | None
    to_time: datetime | None
    proved_percent: float
    attested_percent: float
    gap_percent: float
    missing: list[Missing]


class Report(Struct, frozen=True):
    """`queued` counts the gaps that were opened, or opened again, for repair."""

    streams: list[StreamReport]
    queued: int


def show(
    url: str,
    *,
    exchange: str | None = None,
    symbols: Sequence[str] = (),
    channel: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    fix: bool = False,
    retry: bool = False,
    as_json: bool = False,
    console: Console,
) -> Exit:
    """Print what is missing; OK when nothing is, FAILED when something is.

    `symbols` may be globs. Without `since` a stream is looked at from where it began, or retention has left its rows;
    without `until` up to now, or to where it was told to stop. `fix` opens a gap for each hole that none names; `retry`
    does, too, and opens those again that repair had given up. Times without a zone are UTC. Raises ConfigError for a
    name that no stream has.
    """
    since, until = _in_utc(since), _in_utc(until)
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"--from {since} is not before --to {until}")
    with connect_sync(url, role="gaps") as connection:
        streams = [_Stream(*row) for row in connection.execute(query("gap_streams")).fetchall()]
        reports = [
            _examine(connection, stream, since, until) for stream in _choose(streams, exchange, symbols, channel)
        ]
        missing = [each for report in reports for each in report.missing]
        queued = _queue(connection, missing, retry=retry) if fix or retry else 0
    report = Report(reports, queued)
    if as_json:
        print_json(report, console)
    else:
        _print(report, console, fixing=fix or retry)
    return Exit.FAILED if missing else Exit.OK


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _choose(
    streams: Sequence[_Stream], exchange: str | None, symbols: Sequence[str], channel: str | None
) -> list[_Stream]:
    if channel is not None and channel not in CHANNELS:
        raise ConfigError(f"--channel {channel!r}: there is no such channel; there are: {', '.join(CHANNELS)}")
    of_exchange = [stream for stream in streams if exchange in (None, stream.exchange)]
    if exchange is not None and not of_exchange:
        raise ConfigError(_unknown("exchange", exchange, {stream.exchange for stream in streams}))
    for symbol in symbols:
        if not any(fnmatchcase(stream.symbol, symbol) for stream in of_exchange):
            raise ConfigError(_unknown("symbol", symbol, {stream.symbol for stream in of_exchange}))
    return [
        stream
        for stream in of_exchange
        if channel in (None, stream.channel)
        and (not symbols or any(fnmatchcase(stream.symbol, symbol) for symbol in symbols))
    ]


def _unknown(what: str, name: str, known: set[str]) -> str:
    nearest = get_close_matches(name.upper(), known, 1) or get_close_matches(name.lower(), known, 1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"no stream of {what} {name!r} was ever collected into this database{hint}"


def _examine(connection: Connection, stream: _Stream, since: datetime | None, until: datetime | None) -> StreamReport:
    starts = since or _latest(stream.covered_from, stream.removed_before)
    ends = min(until or (stream.watermark if stream.state == "stopped" else None) or stream.now, stream.now)
    if starts is None or starts >= ends:
        return StreamReport(stream.exchange, stream.symbol, stream.channel, None, None, 0.0, 0.0, 0.0, [])
    span = {
        "instrument_id": stream.instrument_id,
        "channel": stream.channel,
        "from_time": starts,
        "to_time": ends,
    }
    missing = [
        Missing(
            *(stream.exchange, stream.symbol, stream.channel, from_time, to_time, from_id, to_id, ids, cause, state),
            fixable=state is None and cause != "retention" and _was_before(stream, to_time),
            gap_id=gap_id,
            instrument_id=stream.instrument_id,
        )
        for gap_id, from_time, to_time, from_id, to_id, ids, cause, state in _rows(
            connection, "missing_intervals", span
        )
    ]
    missing += _holes(connection, stream, since, until)
    missing.sort(key=lambda each: (each.from_time, each.to_time, each.from_id or 0))
    proved, attested, gap = _rows(connection, "coverage_percent", span)[0]
    return StreamReport(stream.exchange, stream.symbol, stream.channel, starts, ends, proved, attested, gap, missing)


def _was_before(stream: _Stream, moment: datetime) -> bool:
    """Whether what ends then is history: from its watermark on a stream goes on by itself when the daemon runs."""
    return stream.channel in _HISTORY and (stream.covered_from is None or moment <= stream.covered_from)


def _holes(
    connection: Connection, stream: _Stream, since: datetime | None, until: datetime | None
) -> Iterator[Missing]:
    """What is missing between the stored rows and no gap names.

    Without `since`, where its rows are still kept; and never behind the watermark: what comes there is on its way, or
    the daemon fetches it when it starts.
    """
    starts = since or _latest(stream.covered_from, stream.kept_from)
    ends = min(moment for moment in (until, stream.proved_to, stream.now) if moment is not None)
    if starts is None or starts >= ends:
        return
    span: dict[str, Any] = {"instrument_id": stream.instrument_id, "from_time": starts, "to_time": ends}
    if stream.channel == "trades" and stream.promise == "ids":
        before, after = _rows(connection, "trades_around", span)[0]
        if since is not None and before is not None:
            span["from_time"] = before
        if until == ends and after is not None:
            span["to_time"] = after
        for from_id, to_id, from_time, to_time in _rows(connection, "find_trade_holes", span):
            yield _hole(stream, from_time, to_time + _MICROSECOND, from_id, to_id)
    elif stream.channel == "candles" and stream.promise == "grid":
        for from_time, to_time in _rows(connection, "find_candle_holes", span):
            yield _hole(stream, from_time, to_time + _MINUTE, None, None)


def _hole(stream: _Stream, from_time: datetime, to_time: datetime, from_id: int | None, to_id: int | None) -> Missing:
    ids = None if from_id is None or to_id is None else to_id - from_id + 1
    return Missing(
        *(stream.exchange, stream.symbol, stream.channel, from_time, to_time, from_id, to_id, ids),
        cause="hole found",
        state=None,
        fixable=True,
        gap_id=None,
        instrument_id=stream.instrument_id,
    )


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _rows(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Any]:
    return connection.execute(query(name), parameters).fetchall()


def _queue(connection: Connection, missing: Sequence[Missing], *, retry: bool) -> int:
    """Open gaps for what none names, and with `retry` those again that were given up; return how many."""
    fresh = [each for each in missing if each.fixable]
    given_up = [each.gap_id for each in missing if each.state in _GIVEN_UP and each.channel in _HISTORY]
    queued = 0
    with connection.transaction():
        if fresh:
            ends = [_ends(each) for each in fresh]
            cursor = connection.execute(
                query("add_gaps"),
                {
                    "instrument_ids": [each.instrument_id for each in fresh],
                    "channels": [each.channel for each in fresh],
                    "from_times": [from_time for from_time, _ in ends],
                    "to_times": [to_time for _, to_time in ends],
                    "from_ids": [each.from_id for each in fresh],
                    "to_ids": [each.to_id for each in fresh],
                    "causes": [each.cause for each in fresh],
                    "evidences": [_evidence(each) for each in fresh],
                },
            )
            queued += cursor.rowcount
        if retry and given_up:
            queued += connection.execute(query("reopen_gaps"), {"gap_ids": given_up}).rowcount
    return queued


def _ends(each: Missing) -> tuple[datetime, datetime]:
    """Both ends inclusive, as the ledger has them: of candles the opens of the first and the last minute."""
    last = each.to_time - _MICROSECOND
    if each.channel == "candles":
        return each.from_time.replace(second=0, microsecond=0), last.replace(second=0, microsecond=0)
    return each.from_time, last


def _evidence(each: Missing) -> str:
    if each.from_id is not None and each.to_id is not None:
        return f"ingest gaps: {each.from_id - 1} is followed by {each.to_id + 1}"
    return "ingest gaps"


# Printing


def _print(report: Report, console: Console, *, fixing: bool) -> None:
    missing = [each for stream in report.streams for each in stream.missing]
    if missing:
        console.print(_missing_table(missing[:_ROWS_SHOWN]))
        if len(missing) > _ROWS_SHOWN:
            console.print(f"… and {len(missing) - _ROWS_SHOWN:,} more: --json has them all\n")
    console.print(_coverage_table(report.streams))
    fixable = sum(each.fixable for each in missing)
    if fixing:
        console.print(f"{report.queued:,} queued: the daemon's repair takes them")
    elif fixable:
        console.print(f"{fixable:,} are named by no gap yet: --fix queues them for the daemon's repair")
    elif not missing:
        console.print("nothing is missing")


def _missing_table(missing: Sequence[Missing]) -> Table:
    shown = Table(title="missing", title_justify="left", box=None, header_style="bold")
    for name in ("stream", "from", "to"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("ids", justify="right")
    shown.add_column("cause", overflow="fold")
    shown.add_column("state")
    for each in missing:
        shown.add_row(
            cell(f"{each.exchange} {each.symbol} {each.channel}"),
            f"{each.from_time:%Y-%m-%d %H:%M:%S.%f}",
            f"{each.to_time:%Y-%m-%d %H:%M:%S.%f}",
            "-" if each.ids is None else f"{each.ids:,}",
            cell(each.cause),
            cell(each.state or "-"),
        )
    return shown


def _coverage_table(streams: Sequence[StreamReport]) -> Table:
    shown = Table(title="coverage", title_justify="left", box=None, header_style="bold")
    for name in ("stream", "from", "to"):
        shown.add_column(name, no_wrap=True)
    for name in ("proved", "attested", "gap"):
        shown.add_column(name, justify="right")
    for each in streams:
        title = cell(f"{each.exchange} {each.symbol} {each.channel}")
        if each.from_time is None or each.to_time is None:
            shown.add_row(title, "never collected", "-", "-", "-", "-")
            continue
        shown.add_row(
            title,
            f"{each.from_time:%Y-%m-%d %H:%M:%S}",
            f"{each.to_time:%Y-%m-%d %H:%M:%S}",
            *(f"{percent:.4f} %" for percent in (each.proved_percent, each.attested_percent, each.gap_percent)),
        )
    return shown
