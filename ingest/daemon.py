"""The daemon: collectors, the pipeline and its writers, in one TaskGroup, until a signal says stop.

Shutdown runs in the data's order: intake ends and what was received is taken, batches are sealed, writers
deliver within the deadline. A second signal ends the process at once.
"""

import asyncio
import os
import signal

import structlog
import uvloop

from ingest import clock, venues
from ingest.collect.collector import Collector, Settings
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit, Fatal, IngestError
from ingest.operate import systemd
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Pipeline
from ingest.records import Instrument, Stream
from ingest.retry import Backoff
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry, State

log = structlog.get_logger()

_STATES_SECONDS = 1.0
_PROGRESS_SECONDS = 60.0
_CLOSE_SECONDS = 15.0  # after the deadline: the last states, the connections


class Daemon:
    """`run` collects until `stop` (or SIGTERM, SIGINT) and returns the process's exit code."""

    def __init__(self, config: Config, url: str) -> None:
        self._config = config
        self._instruments: dict[int, Instrument] = {}
        self._registry = Registry(url)
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
        )
        self._collectors: dict[str, Collector] = {}
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
        wanted = venues.settings(self._config)
        if not wanted:
            raise ConfigError("nothing to collect: add a [[collect]] block to the configuration")
        log.info("daemon.started", exchanges=sorted(settings.exchange for settings in wanted), pid=os.getpid())
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(systemd.watchdog(self._manager))
            deliveries = [
                group.create_task(self._pipeline.deliver(index)) for index in range(self._config.pipeline.writers)
            ]
            helpers = [
                group.create_task(self._pipeline.seal_by_age()),
                group.create_task(self._save_states()),
                group.create_task(self._say_progress()),
            ]
            intakes = [group.create_task(self._collect(settings)) for settings in wanted]
            # The command has asked the database for its schema, and the collectors go on trying by themselves.
            self._manager.ready(f"collecting from {', '.join(sorted(settings.exchange for settings in wanted))}")
            await self._stopping.wait()
            deadline = loop.time() + self._config.shutdown.deadline_seconds
            lost = await self._finish(intakes, deliveries, deadline)
            for helper in helpers:
                helper.cancel()
            beating.cancel()
        counts = self._pipeline.counts
        log.info(
            "daemon.stopped", stored=counts.stored, duplicate=counts.duplicate, rejected=counts.rejected, lost=lost
        )
        return Exit.FAILED if lost else Exit.OK

    async def _finish(
        self, intakes: list[asyncio.Task[None]], deliveries: list[asyncio.Task[None]], deadline: float
    ) -> int:
        """Take what was received, deliver it, save the last states; return how many rows (at least) were lost."""
        loop = asyncio.get_running_loop()
        _, unfinished = await asyncio.wait(intakes, timeout=max(0.0, deadline - loop.time()))
        for intake in unfinished:
            log.error(
                "shutdown.intake_late", remedy="a venue's connection did not end; raise [shutdown] deadline_seconds"
            )
            intake.cancel()
        self._pipeline.close()
        _, late = await asyncio.wait(deliveries, timeout=max(0.0, deadline - loop.time()))
        for delivery in late:
            delivery.cancel()
        if late:
            log.error(
                "shutdown.deadline_passed",
                rows_lost=self._pipeline.held_rows,
                deadline_seconds=self._config.shutdown.deadline_seconds,
                remedy="the database did not take them; raise [shutdown] deadline_seconds",
            )
            return self._pipeline.held_rows
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + 1.0)):
                await self._save_last_states()
        except TimeoutError:
            log.warning("states.not_saved", error="the database did not answer in time")
        return len(unfinished)  # what such a venue had still sent cannot be counted, but it is not nothing

    def _on_signal(self, number: int) -> None:
        if self._stopping.is_set():
            log.error("daemon.ended_at_once", rows_not_delivered=self._pipeline.held_rows)
            os._exit(Exit.INTERRUPTED)
        log.info("daemon.stopping", signal=signal.Signals(number).name, rows_to_deliver=self._pipeline.held_rows)
        self.stop()

    async def _collect(self, settings: Settings) -> None:
        """One venue for ever; a fault of the program restarts the venue's collector and touches no other one."""
        backoff = Backoff(first_seconds=5.0)
        while not self._stopping.is_set():
            collector = self._collectors[settings.exchange] = self._collector(settings)
            try:
                await collector.run()
            except Fatal as error:
                log.error("exchange.failed", exchange=settings.exchange, error=str(error))
            except Exception:
                log.exception("exchange.crashed", exchange=settings.exchange)
            if not self._stopping.is_set():
                await _wait(self._stopping, backoff.next_seconds())

    def _collector(self, settings: Settings) -> Collector:
        exchange = settings.exchange
        return Collector(
            settings,
            self._pipeline,
            self._instruments,
            new_adapter=venues.adapters(self._config, exchange),
            load=venues.listing(self._config, exchange),
            register=lambda instruments: self._registry.register_instruments(exchange, instruments),
            admit=self._registry.register_streams,
        )

    async def _save_states(self) -> None:
        """Write each stream's state to the database when it changes."""
        saved: dict[Stream, tuple[State, str | None]] = {}
        while True:
            await asyncio.sleep(_STATES_SECONDS)
            current = {stream: state for c in self._collectors.values() for stream, state in c.states.items()}
            changed = {stream: state for stream, state in current.items() if saved.get(stream) != state}
            try:
                await self._registry.save_states(changed)
                saved.update(changed)
            except IngestError as error:
                log.warning("states.not_saved", error=str(error))
            except Exception:
                log.exception("states.not_saved")  # delivery goes on without it

    async def _save_last_states(self) -> None:
        states = {stream: state for c in self._collectors.values() for stream, state in c.states.items()}
        try:
            await self._registry.save_states(states)
        except IngestError as error:
            log.warning("states.not_saved", error=str(error))
        finally:
            await self._registry.close()

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


def run(config: Config, url: str) -> Exit:
    """Run the daemon on uvloop until it is stopped."""

    async def main() -> Exit:
        return await Daemon(config, url).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
