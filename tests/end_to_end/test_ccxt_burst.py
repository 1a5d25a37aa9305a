"""ccxt.pro's binance, as any exchange without code of its own, in a burst: as shipped it loses two trades of three."""

import asyncio
from typing import Any, ClassVar

from ingest.records import Instrument
from ingest.simulator.faults import Burst, Mute
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig
from ingest.store.copy_writer import CopyWriter
from tests.conftest import Fetch
from tests.end_to_end.ccxt_collecting import collecting, until

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
BURST = 40_000


class Slow(CopyWriter):
    """A database that takes a tenth of a second longer for each batch, and stands still while `goes_on` is not set."""

    goes_on: ClassVar[asyncio.Event]

    async def write(self, *arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(0.1)
        await self.goes_on.wait()
        return await super().write(*arguments, **named)


async def test_a_burst_into_a_slow_database_is_stored_whole(database_url: str, fetch: Fetch) -> None:
    config = VenueConfig(dynamics=Dynamics(trades_per_second=300, book_levels=100))
    async with Venue.serve(config) as venue:

        def configure(client: Any) -> None:
            client.urls["api"]["public"] = f"{venue.rest_url}/api/v3"
            client.urls["api"]["ws"]["spot"] = f"{venue.ws_url}/stream"
            client.options["fetchMarkets"] = {"types": ["spot"]}

        Slow.goes_on = asyncio.Event()
        Slow.goes_on.set()
        async with collecting(
            "binance", [BTC], ("trades",), database_url, configure=configure, writer=Slow, queue_max_rows=2_000
        ) as (collector, pipeline):
            await until(lambda: pipeline.counts.stored > 100)
            before = collector.feed.kinds["Trade"]
            Slow.goes_on.clear()
            venue.faults.add(Burst(symbol="BTC/USDT", trades=BURST))
            await until(lambda: pipeline.full)  # intake is held up, in the midst of the burst
            assert collector.feed.kinds["Trade"] < before + BURST
            Slow.goes_on.set()
            await until(lambda: collector.feed.kinds["Trade"] >= before + BURST, 90)
        stored = fetch(
            "SELECT t.trade_id::bigint, (extract(epoch FROM t.time) * 1000)::bigint, t.side::text, t.price::text,"
            " t.amount::text FROM ingest.trades t ORDER BY t.trade_id::bigint"
        )
        told = venue.ledger.trades("BTC/USDT", stored[0][0], stored[-1][0])
        expected = [(row.id, row.time_us // 1_000, row.side, row.price, row.amount) for row in told]
        assert stored == expected
        assert len(stored) > BURST
        assert not collector.feed.rejected
        assert not fetch("SELECT * FROM ingest.gaps")


async def test_a_subscription_that_stays_silent_is_a_named_gap_and_another_session_takes_over(
    database_url: str, fetch: Fetch
) -> None:
    config = VenueConfig(dynamics=Dynamics(trades_per_second=300, book_levels=100))
    async with Venue.serve(config) as venue:

        def configure(client: Any) -> None:
            client.urls["api"]["public"] = f"{venue.rest_url}/api/v3"
            client.urls["api"]["ws"]["spot"] = f"{venue.ws_url}/stream"
            client.options["fetchMarkets"] = {"types": ["spot"]}

        venue.faults.add(Mute(stream="btcusdt@trade"))
        async with collecting(
            "binance", [BTC], ("trades",), database_url, configure=configure, silence_ns=1_000_000_000
        ) as (collector, _):
            await until(lambda: collector.feed.kinds["Trade"] > 100)
        assert fetch("SELECT DISTINCT cause FROM ingest.gaps") == [("silent",)]
