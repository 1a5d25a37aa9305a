"""What a venue's listing does to the streams of a running collector, and what it must not do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from ingest.collect import collector
from ingest.errors import Fatal, Retryable
from ingest.exchanges.limiter import Limiter
from ingest.records import Channel, Instrument, Mark, Progress, Stream
from ingest.retry import Backoff
from tests.db.support import NOON
from tests.unit.collecting import Bench, Venue, Wanted, listed, until

BTC, ETH, SOL = (listed(f"{base}/USDT") for base in ("BTC", "ETH", "SOL"))
HALTED = listed("ETH/USDT", active=False)
ALL: Wanted = {"*/USDT": ("trades",)}
BOTH: Wanted = {"*/USDT": ("trades", "book")}


class Listed(Bench):
    """A bench that counts its listings. `told` are the next ones, each told once, before `listed` is told for ever."""

    def __init__(self, venue: Venue, wanted: Wanted, instruments: list[Instrument]) -> None:
        super().__init__(venue, wanted)
        self.listed = instruments
        self.told: list[list[Instrument] | Exception] = []
        self.loads = 0

    async def _load(self, _limiter: Limiter) -> list[Instrument]:
        self.loads += 1
        found = self.told.pop(0) if self.told else self.listed
        if isinstance(found, Exception):
            raise found
        return found

    async def after(self, listings: int) -> None:
        """So many more were loaded and acted upon."""
        wanted = self.loads + listings + 1
        await until(lambda: self.loads >= wanted)

    def reasons(self) -> dict[str, str | None]:
        """Of what was stopped."""
        found = self.collector.states.items()
        return {f"{s.instrument_id} {s.channel}": reason for s, (state, reason) in found if state == "stopped"}

    def accounts(self) -> list[tuple[int, Channel]]:
        return sorted(self.collector.feed.ledger.accounts)


@asynccontextmanager
async def collecting(wanted: Wanted, instruments: list[Instrument], live: dict[str, str]) -> AsyncIterator[Any]:
    """The venue and a bench on it, once these streams are live."""
    async with Venue().serve() as venue:
        bench = Listed(venue, wanted, instruments)
        async with bench.running():
            await bench.until(live)
            yield venue, bench


def live(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "live")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour, a minute and the first seconds of patience: a moment each."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(collector, "_LISTING_SECONDS", 0.02)
    monkeypatch.setattr(collector, "_CONFIRM_SECONDS", 0.01)
    monkeypatch.setattr(collector, "Backoff", lambda **_: Backoff(first_seconds=0.02, cap_seconds=0.02))


@pytest.mark.parametrize(
    ("then", "reason"),
    [([BTC, HALTED, SOL], "halted by the venue"), ([BTC, SOL], "delisted: the venue lists it no more")],
    ids=["halted", "delisted"],
)
async def test_streams_end_with_their_reason_and_the_others_go_on(then: list[Instrument], reason: str) -> None:
    names = [f"{base} {channel}" for base in ("BTC", "ETH", "SOL") for channel in ("trades", "book")]
    async with collecting(BOTH, [BTC, ETH, SOL], live(*names)) as (venue, bench):
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(2) == [1] and 2 in bench.collector.feed.books)
        bench.listed = then
        gone = {"ETH trades": "stopped", "ETH book": "stopped"}
        await bench.until({**live(*names), **gone})
        assert bench.reasons() == {"2 trades": reason, "2 book": reason}
        assert bench.accounts() == [(1, "book"), (1, "trades"), (3, "book"), (3, "trades")]
        assert sorted(bench.collector.feed.books) == [1, 3]
        marks = [item for item in bench.store.items if isinstance(item, Mark) and item.instrument_id == 2]
        assert [mark.id for mark in marks if mark.channel == "trades"][-1:] == [1]
        await until(lambda: [sorted(topics) for topics in venue.subscribed.values()] == [_topics("btc", "sol")])
        await venue.tell()
        await until(lambda: bench.trades() == [1])
        await bench.after(3)
        assert bench.states() == {**live(*names), **gone}
    assert bench.gaps() == []


async def test_a_venue_that_halts_everything_is_followed_by_nothing() -> None:
    async with collecting({"ETH/USDT": ("trades",)}, [ETH], live("ETH trades")) as (venue, bench):
        bench.listed = [HALTED]
        await bench.until({"ETH trades": "stopped"})
        await until(lambda: not venue.subscribed)
        assert bench.accounts() == []
        assert bench.collector.health.state == "offline"


async def test_what_is_traded_again_goes_on_where_it_stood() -> None:
    """Under the stream that it was, whatever the venue says of its instrument now."""
    async with collecting(ALL, [BTC, ETH], live("BTC trades", "ETH trades")) as (venue, bench):
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(2) == [1])
        bench.listed = [BTC, HALTED]
        await bench.until({"BTC trades": "live", "ETH trades": "stopped"})
        bench.known[2, "trades"] = Progress(1, NOON)
        await until(lambda: not _heard(venue, "eth"))
        await venue.tell("ETHUSDT")
        bench.listed = [BTC, msgspec.structs.replace(ETH, price_step="0.1", info=b'{"status":"new"}')]
        await bench.until(live("BTC trades", "ETH trades"))
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(2) == [1, 3])
        assert len(bench.collector.states) == 2
        assert bench.admitted[0] == ["BTC trades", "ETH trades"]
        assert [names for names in bench.admitted[1:] if names] == [["ETH trades"]]
    gap = bench.gaps()[-1]
    assert (gap.instrument_id, gap.channel, gap.cause, gap.from_id, gap.to_id) == (2, "trades", "not collected", 2, 2)
    assert {each.instrument_id for each in bench.gaps()} == {2}


async def test_a_single_symbol_is_looked_for_until_it_is_traded_again() -> None:
    async with collecting({"ETH/USDT": ("trades",)}, [BTC, ETH], live("ETH trades")) as (venue, bench):
        bench.listed = [BTC, HALTED]
        await bench.until({"ETH trades": "stopped"})
        bench.listed = [BTC, ETH]
        await bench.until(live("ETH trades"))
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(2) == [1])


async def test_a_new_listing_that_matches_a_glob_starts_and_the_others_lose_nothing() -> None:
    async with collecting(ALL, [BTC, ETH], live("BTC trades", "ETH trades")) as (venue, bench):
        bench.listed = [BTC, ETH, SOL, listed("SOL/EUR")]
        async with asyncio.timeout(5):
            while not _heard(venue, "sol") or len(venue.subscribed) > 1:
                await venue.tell()
                await asyncio.sleep(0.001)
        await bench.until(live("BTC trades", "ETH trades", "SOL trades"))
        await venue.tell("SOLUSDT")
        await until(lambda: bench.trades(3) == [1])
        await venue.tell()
        await until(lambda: bench.trades()[-1] == venue.sent["BTCUSDT"])
        assert set(bench.trades()) == set(range(1, venue.sent["BTCUSDT"] + 1))
    assert (venue.unheard, bench.gaps()) == ([], [])


async def test_a_listing_that_lacks_things_once_ends_nothing() -> None:
    async with collecting(ALL, [BTC, ETH, SOL], live("BTC trades", "ETH trades", "SOL trades")) as (venue, bench):
        full = [BTC, ETH, SOL]
        bench.told = [[BTC, SOL], full, [BTC, HALTED, SOL], full, [BTC, ETH], full]
        await bench.after(7)
        assert bench.reasons() == {}
        assert len(venue.asked) == 1
    assert bench.gaps() == []


@pytest.mark.parametrize("few", [[], [BTC], [BTC, ETH]], ids=["none", "a quarter", "half"])
async def test_half_a_listing_ends_nothing_however_often_it_is_told(few: list[Instrument]) -> None:
    whole = [BTC, ETH, SOL, listed("SOL/EUR")]
    async with collecting(ALL, whole, live("BTC trades", "ETH trades", "SOL trades")) as (venue, bench):
        with capture_logs() as logs:
            bench.listed = few
            await bench.after(4)
        assert bench.reasons() == {}
        assert len(venue.asked) == 1
        partial = [entry for entry in logs if entry["event"] == "exchange.listing_partial"]
        assert {(entry["listed"], entry["before"]) for entry in partial} == {(len(few), 4)}
        bench.listed = [BTC, SOL, listed("SOL/EUR")]
        await bench.until({**live("BTC trades", "SOL trades"), "ETH trades": "stopped"})


@pytest.mark.parametrize(
    "error",
    [Retryable("HTTP 500"), Fatal("ccxt cannot read it"), TypeError("nor can Python")],
    ids=lambda e: type(e).__name__,
)
async def test_a_listing_that_fails_ends_nothing_and_the_next_one_counts(error: Exception) -> None:
    async with collecting(ALL, [BTC, ETH], live("BTC trades", "ETH trades")) as (venue, bench):
        bench.told = [error]
        await until(lambda: not bench.told)
        bench.listed = [BTC, ETH, SOL]
        await bench.until(live("BTC trades", "ETH trades", "SOL trades"))
        await venue.tell()
        await until(lambda: bench.trades() == [1])
        assert bench.collector.health.state == "online"
    assert bench.gaps() == []


async def test_a_change_of_the_configuration_outlives_a_listing_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_LISTING_SECONDS", 3600)
    async with collecting({"BTC/USDT": ("trades",)}, [BTC, ETH], live("BTC trades")) as (_, bench):
        bench.told = [Fatal("it cannot be read"), Fatal("nor now")]
        bench.change({"ETH/USDT": ("trades",)})
        await bench.until({"BTC trades": "stopped", "ETH trades": "live"})
        assert bench.reasons() == {"1 trades": "not in the configuration any more"}


async def test_what_is_listed_again_is_another_instrument() -> None:
    """The database has seen it gone for an hour, where this collector has not."""
    async with collecting(ALL, [BTC, ETH], live("BTC trades", "ETH trades")) as (venue, bench):
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(2) == [1])
        bench.ids = {**bench.ids, "ETH/USDT": 7}
        await until(lambda: (7, "trades") in bench.accounts())
        await until(lambda: bench.collector.states[Stream(7, ETH, "trades")] == ("live", None))
        assert bench.reasons() == {"2 trades": "delisted: the venue lists another instrument under its name"}
        assert bench.accounts() == [(1, "trades"), (7, "trades")]
        await until(lambda: len(venue.subscribed) == 1)
        await venue.tell("ETHUSDT")
        await until(lambda: bench.trades(7) == [2])
        assert bench.trades(2) == [1]


def _topics(*names: str) -> list[str]:
    return sorted(f"{name}usdt@{kind}" for name in names for kind in ("trade", "depth@100ms"))


def _heard(venue: Venue, name: str) -> bool:
    return any(f"{name}usdt@trade" in topics for topics in venue.subscribed.values())
