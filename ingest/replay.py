"""`ingest replay`: recorded traffic through the adapter and the feed, and if asked into the database.

Time is the recording's: books are sampled and batches are made as they would have been then.
"""

import asyncio
import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from ingest import clock, venues
from ingest.collect.feed import Feed, Wants
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit
from ingest.exchanges import adapter_of
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.markets import load_instruments
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Intake, Pipeline
from ingest.recording import read
from ingest.records import Instrument, Item, Stream
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry
from ingest.terminal import cell

_WORD = re.compile(r"[a-z0-9_/-]+(?::[a-z0-9_/-]+)?")  # a unified symbol may have its settlement behind a colon


class Result(Struct):
    """What a replay found: counts by kind of event, by reason for what was ignored or rejected, and by table."""

    frames: int
    kinds: Mapping[str, int]
    ignored: Mapping[str, int]
    rejected: Mapping[str, int]
    stored: int = 0
    duplicate: int = 0


class _Nowhere:
    """Takes rows and forgets them. See `ingest.pipeline.pipeline.Intake`."""

    full = False

    async def room(self) -> None:
        return

    def put(self, records: Iterable[Item]) -> None:
        for _ in records:
            pass


def replay(config: Config, files: Sequence[Path], *, exchange: str | None, url: str | None) -> Result:
    """Replay the files of one exchange; those that lie beside them (`NAME.0.gz`, `NAME.http…`) are taken along.

    With `url` the rows are stored in that database. Memory does not grow with the files.
    """
    paths = _with_siblings(files)
    name = exchange or _exchange_of(paths)
    try:
        adapter_of(name)
    except ConfigError as error:
        raise ConfigError(f"{files[0]}: name its exchange with --exchange: {error}") from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_replay(config, paths, name, url))


async def _replay(config: Config, paths: Sequence[Path], exchange: str, url: str | None) -> Result:
    adapter = venues.adapters(config, exchange)({})
    instruments = await _instruments(paths, exchange, adapter)
    if url is None:
        numbers = {instrument.symbol: number for number, instrument in enumerate(instruments, 1)}
        streams = _streams(adapter, instruments, numbers)
        feed = await _run(config, exchange, paths, streams, _Nowhere())
        return Result(feed.frames, feed.kinds, feed.ignored, feed.rejected)
    streams = await _registered(adapter, exchange, instruments, url)
    by_id = {stream.instrument_id: stream.instrument for stream in streams}
    pipeline = Pipeline([CopyWriter(url, role="replay", instruments=by_id)], Limits())
    async with asyncio.TaskGroup() as group:
        group.create_task(pipeline.deliver(0))
        try:
            feed = await _run(config, exchange, paths, streams, pipeline)
        finally:
            pipeline.close()
    counts = pipeline.counts
    return Result(feed.frames, feed.kinds, feed.ignored, feed.rejected, counts.stored, counts.duplicate)


async def _registered(adapter: Adapter, exchange: str, instruments: Sequence[Instrument], url: str) -> list[Stream]:
    """The recording's streams as the database knows them. Raises ConfigError where their ids are of another kind."""
    registry = Registry(url)
    try:
        ids = await registry.register_instruments(exchange, instruments)
        streams = _streams(adapter, instruments, ids)
        spaces = {stream.channel: adapter.id_space(stream.channel) for stream in streams}
        admitted = await registry.register_streams(streams, spaces, adapter.promises, starting=False)
    finally:
        await registry.close()
    for stream in streams:
        if stream not in admitted:
            raise ConfigError(
                f"{stream}: the database holds ids of another kind than {spaces[stream.channel]!r}, and kinds are "
                "never mixed. Choose the other --trade-stream, or another database."
            )
    return streams


async def _run(config: Config, exchange: str, paths: Sequence[Path], streams: Sequence[Stream], intake: Intake) -> Feed:
    new_adapter = venues.adapters(config, exchange)
    ids = {new_adapter({}).key(s.instrument): s.instrument_id for s in streams}
    cadence_ns = int(config.book.cadence_seconds * clock.SECOND)
    nothing = Wants(
        book=lambda _instrument_id: None,
        candles=lambda _instrument_id, _minutes: None,
        check=lambda _stream: None,
        renew=lambda _stream: None,
    )
    feed = Feed(exchange, intake.put, nothing, cadence_ns=cadence_ns, unchanged=config.book.unchanged)
    feed.follow(streams, config.book.depth, new_adapter(ids))
    connections = [zip(read(path), repeat(new_adapter(ids))) for path in paths]
    for entry, adapter in heapq.merge(*connections, key=lambda each: each[0].time_ns):
        if entry.kind == "received":
            feed.take(adapter, entry.payload, entry.time_ns)
        elif entry.kind == "reply":
            feed.take_reply(adapter, entry.url, entry.payload, entry.time_ns)
        else:
            adapter.recorded(entry.url if entry.kind == "opened" else entry.payload.decode(errors="replace"))
        if intake.full:
            await intake.room()
    return feed


async def _instruments(paths: Sequence[Path], exchange: str, adapter: Adapter) -> list[Instrument]:
    """The instruments that the recording is about, described as the venue described them then."""
    replies: dict[str, bytes] = {}
    named: set[str] = set()
    for path in paths:
        for entry in read(path):
            if entry.kind == "received":
                continue
            if entry.kind == "reply":
                parts = urlsplit(entry.url)
                replies.setdefault(parts.path, entry.payload)
                replies.setdefault(f"{parts.path}?{parts.query}", entry.payload)
            sent = entry.payload.decode() if entry.kind == "sent" else ""
            named.update(_WORD.findall(f"{entry.url} {sent}".lower()))
    listed = await load_instruments(exchange, replies=replies)
    return [one for one in listed if adapter.key(one).lower() in named and adapter.channels(one)]


def _streams(venue: Adapter, instruments: Sequence[Instrument], ids: Mapping[str, int]) -> list[Stream]:
    return [Stream(ids[i.symbol], i, channel) for i in instruments for channel in venue.channels(i)]


def _with_siblings(files: Sequence[Path]) -> list[Path]:
    paths = set(files)
    for file in files:
        if not file.exists():
            raise ConfigError(f"{file}: there is no such file")
        if file.is_dir():
            raise ConfigError(f"{file} is a directory: name the recorded connections in it: {file}/*.ws.*.gz")
        name = file.name.split(".")[0]
        paths.update(file.parent.glob(f"{name}.0.gz"))
        paths.update(file.parent.glob(f"{name}.http.*.gz"))
    return sorted(paths)


def _exchange_of(paths: Sequence[Path]) -> str:
    names = {path.name.split(".")[0].lower() for path in paths}
    if len(names) > 1:
        raise ConfigError(f"the files are of several exchanges ({', '.join(sorted(names))}): replay one at a time")
    return names.pop()


def show(result: Result, console: Console) -> None:
    """Print the counts as a table."""
    table = Table(title=f"{result.frames:,} frames", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for title, counts in (("", result.kinds), ("ignored: ", result.ignored), ("rejected: ", result.rejected)):
        for name, count in sorted(counts.items()):
            if name != "Ignored":
                table.add_row(cell(title + name), f"{count:,}")
    if result.stored or result.duplicate:
        table.add_row("rows stored", f"{result.stored:,}")
        table.add_row("rows known already", f"{result.duplicate:,}")
    console.print(table)


def exit_code(result: Result) -> Exit:
    return Exit.FAILED if result.rejected else Exit.OK
