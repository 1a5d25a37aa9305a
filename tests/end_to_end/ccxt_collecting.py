"""A collector of any exchange through ccxt, with its pipeline and a database, in the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from ingest.collect.ccxt_session import CcxtSession
from ingest.collect.collector import Collector
from ingest.collect.selection import Settings, Subscription
from ingest.exchanges.adapter import Adapter, Options
from ingest.exchanges.ccxt_client import Clients
from ingest.exchanges.ccxt_rest import CcxtRest
from ingest.exchanges.ccxt_venue import ccxt_adapter
from ingest.exchanges.limiter import Limiter
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Pipeline
from ingest.recording import Recorder
from ingest.records import Channel, Instrument, Progress, Stream
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - of things that tell nobody
            await asyncio.sleep(0.05)


@asynccontextmanager
async def collecting(
    exchange: str,
    instruments: Sequence[Instrument],
    channels: tuple[Channel, ...],
    database_url: str,
    *,
    configure: Callable[[Any], None],
    writer: type[CopyWriter] = CopyWriter,
    queue_max_rows: int = 500_000,
    cadence_ns: int = 1_000_000_000,
    silence_ns: int = 60_000_000_000,
    options: Options | None = None,
    recorder: Recorder | None = None,
) -> AsyncIterator[tuple[Collector, Pipeline]]:
    """All streams are live; at the end what was received is in the database. `configure` is told ccxt's clients."""
    by_id: dict[int, Instrument] = {}
    pipeline = Pipeline([writer(database_url, role="test", instruments=by_id)], Limits(), queue_max_rows=queue_max_rows)
    registry = Registry(database_url)
    clients, kind = Clients(exchange, configure=configure), ccxt_adapter(exchange)

    async def load(_limiter: Limiter) -> list[Instrument]:
        return list(instruments)

    async def admit(streams: Sequence[Stream], adapter: Adapter) -> dict[Stream, Progress | None]:
        spaces = {stream.channel: adapter.id_space(stream.channel) for stream in streams}
        return dict(await registry.register_streams(streams, spaces, adapter.promises))

    collector = Collector(
        Settings(
            exchange,
            (Subscription(tuple(instrument.symbol for instrument in instruments), channels),),
            warmup=0,
            book_cadence_ns=cadence_ns,
            silence_ns=silence_ns,
        ),
        pipeline,
        by_id,
        new_adapter=lambda ids: kind(ids, options or Options()),
        load=load,
        register=lambda listed: registry.register_instruments(exchange, listed),
        admit=admit,
        connect=partial(CcxtSession, clients=clients, depth=20),
        call=partial(CcxtRest, clients=clients),
        session_tap=None if recorder is None else recorder.session,
        rest_tap=None if recorder is None else recorder.reply,
    )
    async with asyncio.TaskGroup() as group:
        delivering = (group.create_task(pipeline.deliver(0)), group.create_task(pipeline.seal_by_age()))
        running = group.create_task(collector.run())
        try:
            wanted = len(instruments) * len(channels)
            await until(lambda: sum(state == "live" for state, _ in collector.states.values()) == wanted)
            yield collector, pipeline
        finally:
            pipeline.take_the_rest()
            collector.stop()
            await running
            pipeline.close()
            await delivering[0]
            delivering[1].cancel()
            await registry.close()
