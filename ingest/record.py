"""`ingest record`: a venue's raw traffic into files, by the same sessions and REST calls that the daemon uses."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog
import uvloop

from ingest import venues
from ingest.collect.collector import Collector, Subscription
from ingest.config.model import Config
from ingest.errors import Exit
from ingest.recording import Recorder
from ingest.records import CHANNELS, Channel, Instrument, Stream
from ingest.store.copy_writer import Record

log = structlog.get_logger()


class _Counter:
    """Takes rows and only counts them. See `ingest.pipeline.pipeline.Intake`."""

    full = False

    def __init__(self) -> None:
        self.rows = 0

    async def room(self) -> None:
        return

    def put(self, records: Iterable[Record]) -> None:
        self.rows += sum(1 for _ in records)


def record(config: Config, exchange: str, symbols: Sequence[str], *, seconds: float, folder: Path) -> Exit:
    """Record for `seconds` from the moment that the exchange is reached; print what was written."""
    subscription = Subscription(tuple(symbols), CHANNELS)
    counter = _Counter()

    async def main() -> None:
        with Recorder(folder, exchange) as recorder:
            collector = Collector(
                venues.settings_of(config, exchange, (subscription,)),
                counter,
                {},
                new_adapter=venues.adapters(config, exchange),
                load=venues.listing(config, exchange, recorder.instruments),
                register=_number,
                admit=_all,
                session_tap=recorder.session,
                rest_tap=recorder.reply,
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(collector.run())
                await asyncio.wait([running], timeout=seconds)
                collector.stop()
            feed = collector.feed
            print(f"{feed.frames:,} frames, {counter.rows:,} rows, {sum(feed.rejected.values()):,} rejected")  # noqa: T201
            for path in recorder.paths:
                print(path)  # noqa: T201

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    return Exit.OK if counter.rows else Exit.UNAVAILABLE


async def _number(instruments: Sequence[Instrument]) -> dict[str, int]:
    return {instrument.symbol: number for number, instrument in enumerate(instruments, 1)}


async def _all(streams: Sequence[Stream], _id_spaces: Mapping[Channel, str]) -> list[Stream]:
    return list(streams)
