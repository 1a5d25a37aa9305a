"""`ingest spool`: what waits on disk for the database: look at it, deliver it without a daemon, write it as text."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest import clock
from ingest.config.model import Config
from ingest.embedded import default_data_dir
from ingest.errors import ConfigError, Exit
from ingest.pipeline import spool_view
from ingest.pipeline.spool import Spool
from ingest.records import Instrument
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query
from ingest.terminal import cell, plain

_OWNER = "database"
"""In the spool's folder: the installation that its rows are for."""


def folder(config: Config) -> Path:
    """Where the configured daemon spools."""
    return Path(config.spool.folder).expanduser() if config.spool.folder else default_data_dir("spool")


def open_for(url: str, where: Path, max_bytes: int, *, writers: int) -> Spool:
    """Open the spool for this database.

    Raises ConfigError as `Spool.open` does, and when rows for another database wait in it: their instruments are
    numbers that mean something else here.
    """
    with connect_sync(url, role="spool") as connection:
        (here,) = connection.execute(query("installation")).fetchone() or ("",)
    spool = Spool.open(where, max_bytes, writers=writers)
    owner = where / _OWNER
    if spool.batches and owner.exists() and owner.read_text() != here:
        batches = spool.batches
        spool.close()
        raise ConfigError(
            f"the spool {where} holds {batches:,} batches for another database. Deliver them there "
            "(`ingest spool drain` with its DATABASE_URL), or set another spool.folder."
        )
    owner.write_text(here)
    return spool


def show(where: Path, console: Console) -> Exit:
    """Print what waits; 1 when a damaged file wants a person's eye."""
    status = spool_view.inspect(where)
    if status.batches:
        table = Table("instrument", "channel", "rows", "from", "to", box=None)
        for (instrument_id, channel), total in sorted(status.streams.items()):
            table.add_row(str(instrument_id), channel, f"{total.rows:,}", _moment(total.from_ns), _moment(total.to_ns))
        console.print(table)
        since = f", the oldest since {_moment(status.oldest_ns)}" if status.oldest_ns else ""
        console.out(plain(f"{where}: {status.rows:,} rows in {status.batches:,} batches{since}"), highlight=False)
        console.print(f"{status.bytes:,} of {status.max_bytes:,} bytes")
    else:
        console.out(plain(f"{where}: nothing waits"), highlight=False)
    for name in status.damaged_files:
        advice = "what it held is in market.gaps; delete it when you have seen it"
        console.print(cell("damaged:", "red").append_text(cell(f" {name} ({advice})", "not red")))
    return Exit.FAILED if status.damaged_files else Exit.OK


def drain(where: Path, max_bytes: int, url: str, console: Console) -> Exit:
    """Deliver all of it. Raises ConfigError while a daemon has it open, Retryable when the database is away."""
    if not where.exists():
        console.out(plain(f"{where}: nothing waits"), highlight=False)
        return Exit.OK
    with open_for(url, where, max_bytes, writers=1) as spool:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("batches", total=spool.batches)
            written = asyncio.run(_deliver(spool, url, lambda: progress.advance(task)))
    console.print(f"stored {written.stored:,}, known already {written.duplicate:,}, rejected {written.rejected:,}")
    return Exit.OK


async def _deliver(spool: Spool, url: str, tell: Callable[[], None]) -> Written:
    instruments: dict[int, Instrument] = {}
    writer = CopyWriter(url, role="spool drain", instruments=instruments)
    total = Written(0, 0, 0)
    try:
        while (entry := spool.oldest(0)) is not None:
            batch = entry.batch
            total += await writer.write(batch.records, gaps=batch.gaps, marks=list(batch.marks.values()))
            spool.remove(entry)
            tell()
    finally:
        await writer.close()
    return total


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / clock.SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
