"""`ingest import` as a person sees it: a bar a file, a table at the end, an exit code."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ingest import maintain, venues
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit, Fatal, IngestError, Retryable
from ingest.exchanges import ADAPTERS
from ingest.importing.job import Job, Request
from ingest.importing.ledger import Ledger
from ingest.importing.load import Importer, Outcome, files_of
from ingest.records import Instrument
from ingest.store.copy_writer import Written
from ingest.store.recompress import Place, compress
from ingest.store.registry import Registry
from ingest.terminal import cell


def run(config: Config, url: str, files: Sequence[Path], request: Request, *, workers: int, console: Console) -> Exit:
    """Import the files, refresh the rollups over them, and say what became of each. FAILED where one was
    refused, or rows of it.
    """
    paths = files_of(files)
    if not paths:
        raise ConfigError("there is no file among these: checksums are read beside their files.")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_all(config, url, paths, request, workers, console))
    _print(results, console)
    whole = all(isinstance(result, Outcome) and result.old is None for _, result in results)
    return Exit.OK if whole else Exit.FAILED


Result = Outcome | IngestError


async def _all(
    config: Config, url: str, paths: Sequence[Path], request: Request, workers: int, console: Console
) -> list[tuple[Path, Result]]:
    importer = Importer(url, Locator(config, url).find, workers=workers)
    results: dict[Path, Result] = {}
    free = asyncio.Semaphore(workers)

    async def one(path: Path) -> None:
        async with free:
            task = bars.add_task(path.name, total=None, rows=0)
            try:
                results[path] = await importer.file(path, request, lambda written: advance(task, written))
            except IngestError as error:
                results[path] = error
            bars.remove_task(task)

    def advance(task: TaskID, written: Written) -> None:
        bars.advance(task, written.stored + written.duplicate + written.rejected)

    try:
        with _bars(console) as bars:
            async with asyncio.TaskGroup() as group:
                for path in paths:
                    group.create_task(one(path))
        places = [each.place for each in results.values() if isinstance(each, Outcome) and each.place is not None]
        if places:
            await _refresh(url, console)
            await _compress(url, places, console)
    finally:
        await importer.close()
    return [(path, results[path]) for path in paths]


async def _refresh(url: str, console: Console) -> None:
    """Roll up what came. A daemon that runs, or cron, does it where this login may not."""
    maintenance = maintain.Maintenance(url)
    try:
        done = await maintenance.once()
        if done is None:
            console.print("rollups: another process maintains this database, and takes them over")
        for error in done.errors if done is not None else ():
            console.print(cell(f"rollups: {error}", "red"))
    except maintain.Forbidden:
        console.print("rollups: this login may not refresh them: the daemon's maintenance, or `ingest maintain`, will")
    except Retryable as error:
        console.print(cell(f"rollups: {error}; `ingest maintain` does it", "red"))
    finally:
        await maintenance.close()


async def _compress(url: str, places: Sequence[Place], console: Console) -> None:
    try:
        await compress(url, places)
    except IngestError as error:
        console.print(cell(f"compression is left to the server's own job: {error}", "red"))


class Locator:
    """Finds instruments: in the database, else in the venue's listing, which makes them known."""

    def __init__(self, config: Config, url: str) -> None:
        self._config = config
        self._url = url
        self._asking = asyncio.Lock()

    async def find(self, request: Request, job: Job) -> tuple[int, Instrument, str]:
        """Raises ConfigError where there is no such instrument, or more than one."""
        async with self._asking:
            ledger = Ledger(self._url)
            try:
                found = await ledger.find(request.exchange, job.symbol, job.layout.kinds)
                if not found and request.exchange in ADAPTERS:
                    await self._ask(request.exchange, job.symbol)
                    found = await ledger.find(request.exchange, job.symbol, job.layout.kinds)
                if not found:
                    raise ConfigError(f"{request.exchange} has no instrument {job.symbol!r}: say --symbol.")
                symbols = sorted({instrument.symbol for _, instrument in found})
                if len(symbols) > 1:
                    raise ConfigError(f"{job.symbol} is {' or '.join(symbols)} at {request.exchange}: say --symbol.")
                instrument_id, instrument = found[0]
                stored = await ledger.stored_ids(instrument_id, job.layout.channel)
            finally:
                await ledger.close()
        return instrument_id, instrument, stored or self._counted(request.exchange, job)

    def _counted(self, exchange: str, job: Job) -> str:
        """What the exchange's own stream counts."""
        if exchange not in ADAPTERS:
            return "trade"
        return venues.adapters(self._config, exchange)({}).id_space(job.layout.channel)

    async def _ask(self, exchange: str, symbol: str) -> None:
        try:
            listed = await venues.listing(self._config, exchange)()
        except (Retryable, Fatal) as error:
            raise ConfigError(
                f"{symbol} is not known in this database, and {exchange} cannot be asked for it: {error}"
            ) from error
        wanted = [instrument for instrument in listed if symbol in (instrument.symbol, instrument.native)]
        if wanted:
            registry = Registry(self._url)
            try:
                await registry.register_instruments(exchange, wanted)
            finally:
                await registry.close()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.speed or 0.0
        return Text(f"{task.completed:,.0f} rows, {rate:,.0f}/s")


def _bars(console: Console) -> Progress:
    parts = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        _Rate(),
        TimeElapsedColumn(),
    )
    return Progress(*parts, console=console, transient=True)


def _print(results: Sequence[tuple[Path, Result]], console: Console) -> None:
    shown = Table(box=None, header_style="bold")
    shown.add_column("file", overflow="fold")
    shown.add_column("symbol")
    for name in ("new", "known", "rejected", "rows/s"):
        shown.add_column(name, justify="right")
    shown.add_column("")
    for path, result in results:
        if not isinstance(result, Outcome):
            continue
        written = result.written
        rows = written.stored + written.duplicate + written.rejected
        rate = "-" if not result.seconds else f"{rows / result.seconds:,.0f}"
        said = ["imported before" if result.known_file else "", "checksum right" if result.verified else ""]
        said.append(f"{result.repaired:,} gaps repaired" if result.repaired else "")
        figures = (f"{written.stored:,}", f"{written.duplicate:,}", f"{written.rejected:,}", rate)
        shown.add_row(cell(path.name), cell(result.symbol), *figures, ", ".join(filter(None, said)))
    if shown.row_count:
        console.print(shown)
    if any(isinstance(result, Outcome) and result.written.rejected for _, result in results):
        console.print("`ingest rejected list` shows the bad lines, each with its file and line")
    for path, result in results:
        if isinstance(result, Outcome) and result.old is not None:
            console.print(cell(f"{path.name}: refused: {result.old}", "red"))
        elif not isinstance(result, Outcome):
            console.print(cell(f"{path.name}: refused: {str(result).removeprefix(f'{path.name}: ')}", "red"))
