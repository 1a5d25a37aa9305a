"""The daemon: collectors, the pipeline and its writers, in one TaskGroup, until a signal says stop.

Shutdown runs in the data's order: intake ends and what was received is taken, batches are sealed, writers deliver
within the deadline, and what is left goes to the spool. A second signal ends the process at once. SIGHUP reads the
configuration again.
"""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
import uvloop
from aiohttp import web
from msgspec import structs

from ingest import clock, page, spooled, venues
from ingest.collect.collector import Collector
from ingest.collect.selection import Settings
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit, Fatal, IngestError
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.rest import Rest
from ingest.maintain import Maintenance
from ingest.operate import health, systemd
from ingest.operate.figures import Figures
from ingest.operate.gauges import Gauges
from ingest.operate.http import HttpServer
from ingest.operate.journal import Journal
from ingest.operate.metrics import Metrics
from ingest.operate.states import States
from ingest.pipeline.batcher import Limits
from ingest.pipeline.inherited import ahead
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.spool import Spool
from ingest.records import Instrument, Progress, Stream
from ingest.repair.repair import Repair
from ingest.retry import Backoff
from ingest.store.callers import Callers
from ingest.store.copy_writer import CopyWriter
from ingest.store.queue import Queue
from ingest.store.registry import Registry

log = structlog.get_logger()

_ANNOUNCEMENT_SECONDS = 300.0
_PROGRESS_SECONDS = 60.0
_CLOSE_SECONDS = 15.0  # after the deadline: the last states, the connections


class Daemon:
    """`run` collects until `stop` (or SIGTERM, SIGINT) and returns the process's exit code.

    `load` reads the configuration again and raises ConfigError for one that is not valid; `spool` is closed at the end.
    """

    def __init__(self, config: Config, url: str, spool: Spool, load: Callable[[], Config]) -> None:
        self._config = config
        self._url = url
        self._spool = spool
        self._load = load
        self._instruments: dict[int, Instrument] = {}
        self._registry = Registry(url, shard=config.shard.name)
        self._refused: str | None = None  # why the configuration that was read again is not in force
        self._collectors: dict[str, Collector] = {}
        self._states = States(self._registry, self._collectors)
        self._metrics = Metrics(self._instruments, shard=config.shard.name)
        settings = config.pipeline
        self._pipeline = Pipeline(
            [CopyWriter(url, role=f"writer {i}", instruments=self._instruments) for i in range(settings.writers)],
            Limits(
                settings.batch_max_rows,
                settings.batch_max_bytes,
                int(settings.batch_max_age_seconds * clock.SECOND),
            ),
            queue_max_rows=settings.queue_max_rows,
            queue_max_bytes=settings.queue_max_bytes,
            spool=spool,
            emit=self._metrics.emit,
        )
        self._page = page.Feed(url, page.Teller(self._pipeline, spool, queue_max_rows=settings.queue_max_rows))
        self._figures = Figures(url, spool.folder)
        gauges = Gauges(self._collectors, self._pipeline, spool, queue_max_rows=settings.queue_max_rows)
        for figures in (gauges, self._figures):
            self._metrics.registry.register(figures)
        self._wanted = {settings.exchange: settings for settings in venues.settings(config)}
        self._intakes: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._manager = systemd.Notifier.from_environment()

    def stop(self) -> None:
        """End intake; `run` then takes and delivers what was received, within the deadline."""
        if not self._stopping.is_set():
            within = self._config.shutdown.deadline_seconds + _CLOSE_SECONDS
            self._manager.stopping(f"delivering {self._pipeline.held_rows} rows", within_seconds=within)
        self._stopping.set()
        self._pipeline.take_the_rest()
        for collector in self._collectors.values():
            collector.stop()

    async def run(self) -> Exit:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        if not self._wanted:
            raise ConfigError("nothing to collect: add a [[collect]] block to the configuration")
        exchanges = ", ".join(sorted(self._wanted))
        log.info("daemon.started", exchanges=exchanges, pid=os.getpid())
        server, journal = HttpServer(self._config.http, self._routes()), Journal(self._url, self._config.log)
        async with server.running(), journal.listening(), asyncio.TaskGroup() as group:
            beating = group.create_task(systemd.watchdog(self._manager))
            deliveries = [
                group.create_task(self._pipeline.deliver(index)) for index in range(self._config.pipeline.writers)
            ]
            helpers = [
                group.create_task(self._pipeline.seal_by_age()),
                group.create_task(self._pipeline.spill_over()),
                group.create_task(self._states.save()),
                group.create_task(self._states.save_health()),
                group.create_task(self._figures.run()),
                group.create_task(self._metrics.watch_loop()),
                group.create_task(journal.run()),
                group.create_task(self._ask_for_announcements()),
                group.create_task(self._say_progress()),
                group.create_task(Maintenance(self._url).run()),
                group.create_task(self._page.run()),
            ]
            self._intakes = {exchange: group.create_task(self._collect(exchange)) for exchange in self._wanted}
            loop.add_signal_handler(signal.SIGHUP, self._reload, group)
            # The command has asked the database for its schema, and the collectors go on trying by themselves.
            self._manager.ready(f"collecting from {exchanges}")
            await self._stopping.wait()
            deadline = loop.time() + self._config.shutdown.deadline_seconds
            lost = await self._finish(deliveries, deadline)
            for helper in [*helpers, *self._intakes.values()]:
                helper.cancel()
            beating.cancel()
        waiting = self._spool.rows
        self._spool.close()
        counts = self._pipeline.counts
        log.info(
            "daemon.stopped",
            stored=counts.stored,
            duplicate=counts.duplicate,
            rejected=counts.rejected,
            spooled=counts.spooled,
            waiting=waiting,
            lost=lost,
        )
        if waiting:
            log.warning("spool.waiting", rows=waiting, remedy="the next start delivers them, or `ingest spool drain`")
        return Exit.FAILED if lost else Exit.OK

    def _routes(self) -> list[web.RouteDef]:
        """What the HTTP server answers. Whoever shows something adds its routes here."""
        return [*page.routes(self._page), *health.routes(self._parts), self._metrics.route()]

    def _parts(self) -> health.Parts:
        """What `/ready` tells."""
        streams = Counter(state for state, _ in self._states.current().values())
        return {
            "configuration": health.Part(self._refused is None, self._refused or "in force"),
            **self._figures.parts(),
            "streams": health.streams_part(streams),
        }

    async def _finish(self, deliveries: list[asyncio.Task[None]], deadline: float) -> int:
        """Take what was received, deliver it or put it on disk, save the last states; count the lost rows."""
        loop = asyncio.get_running_loop()
        unfinished = [exchange for exchange in self._collectors if not await self._intake_ends(exchange, deadline)]
        for exchange in unfinished:
            log.error(
                "shutdown.intake_late",
                exchange=exchange,
                remedy="a venue's connection did not end; raise [shutdown] deadline_seconds",
            )
            self._intakes[exchange].cancel()
        self._pipeline.close()
        _, late = await asyncio.wait(deliveries, timeout=max(0.0, deadline - loop.time()))
        for delivery in late:
            delivery.cancel()
        await self._pipeline.spill_rest()
        if self._pipeline.held_rows:
            log.error("shutdown.rows_lost", rows=self._pipeline.held_rows, remedy="make room for the spool")
            return self._pipeline.held_rows
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + 1.0)):
                await self._states.save_last()
        except TimeoutError:
            log.warning("states.not_saved", error="the database did not answer in time")
        return len(unfinished)  # what such a venue had still sent cannot be counted, but it is not nothing

    async def _intake_ends(self, exchange: str, deadline: float) -> bool:
        """Wait until everything that was received is in the pipeline; False at the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._collectors[exchange].ended.wait()
        except TimeoutError:
            return self._collectors[exchange].ended.is_set()
        return True

    def _reload(self, group: asyncio.TaskGroup) -> None:
        """Subscribe and unsubscribe what `[[collect]]` adds and takes away; the rest of a change wants a restart."""
        self._manager.reloading()
        try:
            config = self._load()
        except IngestError as error:
            log.error("reload.refused", error=str(error), remedy="the daemon goes on as it was")
            self._refused = f"the new one was refused: {error}"
            self._manager.ready("the configuration was refused; see the log")
            return
        if config.model_copy(update={"collect": self._config.collect}) != self._config:
            log.warning("reload.partial", remedy="only [[collect]] is taken over; restart for the other changes")
            config = self._config.model_copy(update={"collect": config.collect})
        self._refused = None
        wanted = {settings.exchange: settings for settings in venues.settings(config)}
        for exchange, settings in self._wanted.items():
            subscriptions = wanted[exchange].subscriptions if exchange in wanted else ()
            self._wanted[exchange] = structs.replace(settings, subscriptions=subscriptions)
            if subscriptions != settings.subscriptions and exchange in self._collectors:
                self._expect(self._wanted[exchange])
                self._collectors[exchange].change(self._wanted[exchange])
        for exchange in wanted.keys() - self._wanted.keys():
            self._wanted[exchange] = wanted[exchange]
            self._intakes[exchange] = group.create_task(self._collect(exchange))
        log.info("reload.done", exchanges=", ".join(sorted(wanted)))
        self._manager.ready(f"collecting from {', '.join(sorted(wanted))}")

    def _on_signal(self, number: int) -> None:
        if self._stopping.is_set():
            log.error("daemon.ended_at_once", rows_not_delivered=self._pipeline.held_rows)
            os._exit(Exit.INTERRUPTED)
        log.info("daemon.stopping", signal=signal.Signals(number).name, rows_to_deliver=self._pipeline.held_rows)
        self.stop()

    async def _collect(self, exchange: str) -> None:
        """One venue for ever; a fault of the program restarts the venue's collector and touches no other one."""
        backoff = Backoff(first_seconds=5.0)
        while not self._stopping.is_set():
            settings = self._wanted[exchange]
            self._expect(settings)
            collector = self._collectors[exchange] = self._collector(settings)
            try:
                await collector.run()
            except Fatal as error:
                log.error("exchange.failed", exchange=exchange, error=str(error))
            except Exception:
                log.exception("exchange.crashed", exchange=exchange)
            finally:
                collector.ended.set()
            if not self._stopping.is_set():
                await _wait(self._stopping, backoff.next_seconds())

    def _expect(self, settings: Settings) -> None:
        """Counters begin at 0 before there is anything to count: an alert would miss the first rejected row."""
        channels = {channel for part in settings.subscriptions for channel in part.channels}
        self._metrics.expect(settings.exchange, channels)

    def _collector(self, settings: Settings) -> Collector:
        exchange = settings.exchange
        return Collector(
            settings,
            self._pipeline,
            self._instruments,
            new_adapter=venues.adapters(self._config, exchange),
            load=venues.listing(self._config, exchange),
            register=lambda instruments: self._registry.register_instruments(exchange, instruments, complete=True),
            admit=self._admit,
            emit=self._metrics.emit,
            repair=lambda rest, adapter: self._repair(exchange, rest, adapter),
            **venues.lines(self._config, exchange),
        )

    async def _admit(self, streams: Sequence[Stream], adapter: Adapter) -> dict[Stream, Progress | None]:
        id_spaces = {stream.channel: adapter.id_space(stream.channel) for stream in streams}
        waiting = await self._pipeline.inherited()  # before the database is asked: what goes there meanwhile is in both
        progress = await self._registry.register_streams(streams, id_spaces, adapter.promises)
        return {
            stream: ahead(known, waiting.get((stream.instrument_id, stream.channel)))
            for stream, known in progress.items()
        }

    async def _repair(self, exchange: str, rest: Rest, adapter: Adapter) -> None:
        """Repair the exchange's gaps for ever, beside the live streams and on their REST calls, which other processes
        may have to share.
        """
        queue = Queue(self._url)
        writer = CopyWriter(self._url, role=f"repair {exchange}", instruments=self._instruments)
        name = f"{socket.gethostname()}:{os.getpid()}"
        repair = Repair(
            exchange,
            rest,
            adapter,
            self._instruments,
            queue,
            writer,
            worker_name=name,
            emit=self._metrics.emit,
        )
        try:
            async with Callers(self._url, exchange, "daemon") as callers, asyncio.TaskGroup() as group:
                group.create_task(callers.follow(rest.limiter))
                group.create_task(repair.run())
        finally:
            await queue.close()
            await writer.close()

    async def _ask_for_announcements(self) -> None:
        """Ask each venue for maintenance of its own, where it tells."""
        while True:
            for exchange, collector in list(self._collectors.items()):
                try:
                    limiter = None if collector.rest is None else collector.rest.limiter
                    collector.announced = await venues.announcement(self._config, exchange, limiter)
                except Exception:
                    log.exception("announcement.failed", exchange=exchange)  # collecting goes on without it
            await asyncio.sleep(_ANNOUNCEMENT_SECONDS)

    async def _say_progress(self) -> None:
        before, counts = 0, self._pipeline.counts
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            rate = round((counts.stored - before) / _PROGRESS_SECONDS, 1)
            self._manager.status(f"{rate} rows/s, {counts.stored} stored, {self._pipeline.held_rows} waiting")
            log.info(
                "progress",
                rows_per_second=rate,
                stored=counts.stored,
                duplicate=counts.duplicate,
                rejected=counts.rejected,
                held=self._pipeline.held_rows,
                lag_ms=counts.lag_ns // clock.MILLISECOND,
            )
            before = counts.stored


def run(load: Callable[[], Config], url: str) -> Exit:
    """Run the daemon on uvloop until it is stopped."""
    config = load()

    async def main() -> Exit:
        folder = spooled.folder(config)
        spool = spooled.open_for(url, folder, config.spool.max_bytes, writers=config.pipeline.writers)
        return await Daemon(config, url, spool, load).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
