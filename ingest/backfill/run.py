"""A backfill from order to table: plan, work until nothing is left, follow up, say what came of it.

Everything that must outlive the process is on the queue: whoever is killed, the next run of the same command goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from rich.console import Console

from ingest import retry
from ingest.backfill import rollups, show
from ingest.backfill.cuts import cut_of
from ingest.backfill.estimates import estimate
from ingest.backfill.orders import Order
from ingest.backfill.targets import Target, Venue, opened, targets
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit, IngestError
from ingest.exchanges.adapter import Adapter
from ingest.repair.repair import Repair
from ingest.store.backfill import Backfills, Progress, worker_name
from ingest.store.copy_writer import CopyWriter
from ingest.store.queue import Queue
from ingest.store.registry import Registry
from ingest.store.window import Range

Result = TypeVar("Result")

_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 0.5


class Meter(Protocol):
    """Shows how far the targets are."""

    def update(self, progress: Sequence[Progress]) -> None: ...


async def dry_run(config: Config, url: str, orders: Sequence[Order], console: Console) -> Exit:
    """Say what a backfill would ask for; nothing is queued."""
    async with Backfills(url) as store, opened(config, [order.exchange for order in orders], url) as venues:
        chosen = await targets(config, orders, venues, store, None)
        _all_refused(chosen)
        found = [None if each.refused else await estimate(each, venues[each.exchange], store) for each in chosen]
    show.estimates(chosen, found, console)
    return Exit.OK if all(target.is_whole for target in chosen) else Exit.FAILED


async def run(
    config: Config, url: str, orders: Sequence[Order], *, workers: int, meter: Callable[[Sequence[Target]], Meter],
    console: Console,
) -> Exit:  # fmt: skip
    """Fetch what is missing; OK when no window has failed and no part was refused."""
    async with Backfills(url) as store, opened(config, [order.exchange for order in orders], url) as venues:
        registry = Registry(url)
        try:
            chosen = await targets(config, orders, venues, store, registry)
        finally:
            await registry.close()
        _all_refused(chosen)
        wanted = [target for target in chosen if target.refused is None]
        since = (await store.kept("trades")).now
        await store.release_dead()
        for target in wanted:
            adapter = venues[target.exchange].adapter
            page, by_id = paging(adapter, target.asked)
            await store.queue(target.asked, cut_of(target.asked, page, by_id=by_id), page=page, by_id=by_id)
        progress = await _work(url, venues, wanted, store, since, workers, meter(wanted))
        ranges = [target.asked for target in wanted]
        closed = await store.close_gaps(ranges)
        remarks = [await rollups.refresh(url, store, wanted)]
        if any(each.stored for each in progress):
            try:
                await rollups.compress(url, wanted)
            except IngestError as error:
                remarks.append(f"compression is left to the server's own job: {error}")
        failed = await store.failed(ranges)
    show.result(chosen, progress, failed, closed, [text for text in remarks if text], console)
    return Exit.OK if not failed and all(target.is_whole for target in chosen) else Exit.FAILED


def paging(adapter: Adapter, asked: Range) -> tuple[int, bool]:
    """Rows of a page, and whether history is asked by id."""
    if asked.channel == "candles":
        return adapter.limits.candles_page, False
    return adapter.limits.trades_page, adapter.history.by == "id"


def _all_refused(chosen: Sequence[Target]) -> None:
    if all(target.refused for target in chosen):
        raise ConfigError("\n".join(["nothing of it can be fetched:", *(f"{t.name}: {t.refused}" for t in chosen)]))


async def _work(
    url: str,
    venues: dict[str, Venue],
    wanted: Sequence[Target],
    store: Backfills,
    since: datetime,
    workers: int,
    meter: Meter,
) -> list[Progress]:
    """Work on the queue until nothing of these ranges is left on it, by whomever it was done."""
    ranges = [target.asked for target in wanted]
    tasks: list[asyncio.Task[None]] = []
    try:
        for exchange, venue in venues.items():
            own = [target.asked for target in wanted if target.exchange == exchange]
            if own:
                tasks.append(asyncio.create_task(venue.callers.follow(venue.rest.limiter)))
                tasks += [
                    asyncio.create_task(_worker(url, exchange, venue, own, len(tasks) + n)) for n in range(workers)
                ]
        while True:
            progress = await _until_answered(lambda: store.progress(ranges, since))
            meter.update(progress)
            if not any(each.waiting for each in progress):
                return progress
            await asyncio.wait(tasks, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # it ends by a fault of the program alone
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _worker(url: str, exchange: str, venue: Venue, ranges: Sequence[Range], number: int) -> None:
    """One window after the other, for ever."""
    name = worker_name(number)
    queue = Queue(url, role=f"backfill queue {number}")
    writer = CopyWriter(url, role=f"backfill writer {number}", instruments=venue.instruments)
    repair = Repair(
        exchange, venue.rest, venue.adapter, venue.instruments, queue, writer, worker_name=name, ranges=ranges
    )
    try:
        while True:
            if not await repair.step():
                await asyncio.sleep(_IDLE_SECONDS)
    finally:
        await queue.close()
        await writer.close()


async def _until_answered(call: Callable[[], Awaitable[Result]]) -> Result:
    """The workers wait for the database, too."""
    async for attempt in retry.database(lambda _: None):
        with attempt:
            return await call()
    raise AssertionError("unreachable: it is tried until it answers")
