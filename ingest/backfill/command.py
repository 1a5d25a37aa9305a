"""The commands' work: `ingest backfill run|all|status|cancel|retry`."""

import asyncio
from collections.abc import Sequence
from fnmatch import fnmatchcase

from rich.console import Console

from ingest.backfill import run as running
from ingest.backfill import show
from ingest.backfill.orders import BACKFILLED, Order
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit
from ingest.records import Channel
from ingest.store.backfill import Backfills, Standing
from ingest.terminal import print_json


def fetch(config: Config, url: str, orders: Sequence[Order], *, dry_run: bool, workers: int) -> Exit:
    """Progress goes to standard error, the table at the end to standard output."""
    console = Console()
    if dry_run:
        return asyncio.run(running.dry_run(config, url, orders, console))
    with show.Meter(Console(stderr=True)) as meter:
        return asyncio.run(running.run(config, url, orders, workers=workers, meter=meter.of, console=console))


def status(url: str, *, as_json: bool, console: Console) -> Exit:
    """FAILED when a window has failed."""
    found = asyncio.run(_standings(url))
    if as_json:
        print_json(found, console)
    else:
        show.standings(found, console)
    return Exit.FAILED if any(each.failed for each in found) else Exit.OK


def cancel(url: str, exchange: str | None, symbols: Sequence[str], channel: str | None, console: Console) -> Exit:
    async def work() -> int:
        async with Backfills(url) as store:
            return await store.cancel(_ids(await store.standings(), exchange, symbols), _channel(channel))

    console.print(f"{asyncio.run(work()):,} windows cancelled; what was fetched stays")
    return Exit.OK


def retry(url: str, exchange: str | None, symbols: Sequence[str], channel: str | None, console: Console) -> Exit:
    async def work() -> int:
        async with Backfills(url) as store:
            return await store.retry(_ids(await store.standings(), exchange, symbols), _channel(channel))

    count = asyncio.run(work())
    console.print(f"{count:,} windows are on the queue again: a running daemon or backfill of theirs takes them")
    return Exit.OK


async def _standings(url: str) -> list[Standing]:
    async with Backfills(url) as store:
        return await store.standings()


def _channel(name: str | None) -> Channel | None:
    for channel in BACKFILLED:
        if name == channel:
            return channel
    if name is None:
        return None
    raise ConfigError(f"--channel {name!r}: there are {' and '.join(BACKFILLED)}")


def _ids(found: Sequence[Standing], exchange: str | None, symbols: Sequence[str]) -> list[int]:
    chosen = {
        each.instrument_id
        for each in found
        if exchange in (None, each.exchange)
        and (not symbols or any(fnmatchcase(each.symbol, pattern) for pattern in symbols))
    }
    if not chosen:
        raise ConfigError("no backfill of that name was asked for: `ingest backfill status` lists them")
    return sorted(chosen)
