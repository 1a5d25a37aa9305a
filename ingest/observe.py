"""A collector without a database: for `record`, which keeps what it hears, and `probe`, which judges it."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import uvloop

from ingest import venues
from ingest.collect.collector import Collector
from ingest.collect.feed import Feed
from ingest.collect.selection import Subscription
from ingest.config.model import Config
from ingest.exchanges.adapter import Adapter
from ingest.recording import Recorder
from ingest.records import CHANNELS, Gap, Instrument, Item, Progress, Stream, Trade
from ingest.store.registry import State


class Tally:
    """Takes rows and only counts them. See `ingest.pipeline.pipeline.Intake`."""

    full = False

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.gaps: list[Gap] = []
        self.delays_ns: list[int] = []  # of trades: receipt by our clock after execution by the venue's

    async def room(self) -> None:
        return

    def put(self, records: Iterable[Item]) -> None:
        for record in records:
            self.rows[type(record).__name__] += 1
            if isinstance(record, Trade):
                self.delays_ns.append(record.received_ns - record.time_ns)
            elif isinstance(record, Gap):
                self.gaps.append(record)


class Observation:
    """What was heard: rows by kind, the feed's counts and books, and each stream's last state."""

    def __init__(self, tally: Tally, feed: Feed, states: Mapping[Stream, tuple[State, str | None]]) -> None:
        self.tally = tally
        self.feed = feed
        self.states = states


def observe(
    config: Config, exchange: str, symbols: Sequence[str], *, seconds: float, recorder: Recorder | None = None
) -> Observation:
    """Collect all channels of the symbols for `seconds`, or less when stopped by Ctrl-C."""
    tally = Tally()
    subscription = Subscription(tuple(symbols), CHANNELS, where_offered=True)

    async def main() -> Observation:
        collector = Collector(
            venues.settings_of(config, exchange, (subscription,)),
            tally,
            {},
            new_adapter=venues.adapters(config, exchange),
            load=venues.listing(config, exchange, recorder.instruments if recorder else None),
            register=_number,
            admit=_all,
            **venues.lines(config, exchange),
            session_tap=recorder.session if recorder else None,
            rest_tap=recorder.reply if recorder else None,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(collector.run())
            try:
                await asyncio.wait([running], timeout=seconds)
            finally:
                states = dict(collector.states)  # before they all read `stopped`
                collector.stop()
        return Observation(tally, collector.feed, states)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def _number(instruments: Sequence[Instrument]) -> dict[str, int]:
    return {instrument.symbol: number for number, instrument in enumerate(instruments, 1)}


async def _all(streams: Sequence[Stream], _adapter: Adapter) -> dict[Stream, Progress | None]:
    return dict.fromkeys(streams)
