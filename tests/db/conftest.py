"""Two registered instruments and their streams, and writers on them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from ingest.records import CHANNELS, Instrument, Stream
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry
from tests.db.support import BTC, ETH, Proxy


@pytest.fixture
async def instruments(database_url: str) -> dict[int, Instrument]:
    """BTC/USDT under id 1 and ETH/USDT under id 2, each with a stream of every channel."""
    registry = Registry(database_url)
    try:
        ids = await registry.register_instruments("binance", [BTC, ETH])
        known = {ids[instrument.symbol]: instrument for instrument in (BTC, ETH)}
        assert known == {1: BTC, 2: ETH}
        streams = [Stream(number, known[number], channel) for number in known for channel in CHANNELS]
        admitted = await registry.register_streams(streams, {channel: f"{channel} id" for channel in CHANNELS}, {})
        assert list(admitted) == streams
    finally:
        await registry.close()
    return known


MakeWriter = Callable[..., CopyWriter]


@pytest.fixture
async def make_writer(database_url: str, instruments: dict[int, Instrument]) -> AsyncIterator[MakeWriter]:
    """Writers that are closed at the end; by default on the test's database."""
    made: list[CopyWriter] = []

    def make(url: str = database_url) -> CopyWriter:
        made.append(CopyWriter(url, role=f"test {len(made)}", instruments=instruments))
        return made[-1]

    yield make
    await asyncio.gather(*(writer.close() for writer in made))


@pytest.fixture
def writer(make_writer: MakeWriter) -> CopyWriter:
    return make_writer()


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A line to the test's database that can be cut."""
    async with Proxy(database_url) as line:
        yield line
