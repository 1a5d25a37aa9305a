"""Which streams a configuration selects from a venue's list, and how a running collector goes over to others."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from ingest.clock import MILLISECOND
from ingest.collect import collector as collector_module
from ingest.collect.selection import Settings, Subscription, select
from ingest.exchanges.adapter import Adapter, Event, Request
from ingest.exchanges.adapter import Subscription as AdapterSubscription
from ingest.records import CHANNELS, Channel, Gap, Instrument, Mark, OrderBook, Progress, Promise, Stream
from tests.db.support import NOON
from tests.unit.collecting import Bench, Picky, Quick, Small, Venue, Wanted, listed, until

VENUE = [listed(symbol) for symbol in ("BTC/USDT", "ETH/USDT", "ETH/BTC", "SOL/EUR", "BTC/USDT:USDT", "1INCH/USDT")]


def chosen(
    *blocks: tuple[tuple[str, ...], tuple[Channel, ...]], venue: list[Instrument] | None = None
) -> tuple[list[tuple[str, Channel]], list[dict[str, object]]]:
    """What is selected, and what is said of it."""
    settings = Settings("binance", tuple(Subscription(symbols, channels) for symbols, channels in blocks))
    with capture_logs() as logs:
        found = select(settings, VENUE if venue is None else venue)
    assert all(instrument in (venue or VENUE) for instrument, _ in found)
    return [(instrument.symbol, channel) for instrument, channel in found], [dict(entry) for entry in logs]


def test_symbols_and_channels() -> None:
    assert chosen((("ETH/USDT", "BTC/USDT"), ("trades", "book"))) == (
        [("ETH/USDT", "trades"), ("ETH/USDT", "book"), ("BTC/USDT", "trades"), ("BTC/USDT", "book")],
        [],
    )


def test_globs() -> None:
    assert chosen((("*/USDT",), ("trades",))) == ([(s, "trades") for s in ("BTC/USDT", "ETH/USDT", "1INCH/USDT")], [])
    assert chosen((("ETH/*",), ("book",))) == ([("ETH/USDT", "book"), ("ETH/BTC", "book")], [])
    assert chosen((("???/EUR",), ("book",))) == ([("SOL/EUR", "book")], [])
    assert chosen((("[BE]*/USDT",), ("book",))) == ([("BTC/USDT", "book"), ("ETH/USDT", "book")], [])
    assert len(chosen((("*",), CHANNELS))[0]) == len(VENUE) * len(CHANNELS)


def test_case_matters() -> None:
    found, (said,) = chosen((("btc/usdt",), ("trades",)))
    assert found == []
    assert said["event"] == "symbol.unknown"


def test_an_unknown_symbol_is_named_with_the_nearest_and_the_rest_goes_on() -> None:
    found, (said,) = chosen((("BTC/USDC", "ETH/USDT"), ("trades",)))
    assert found == [("ETH/USDT", "trades")]
    assert said == {
        "event": "symbol.unknown",
        "log_level": "error",
        "exchange": "binance",
        "symbol": "BTC/USDC",
        "remedy": "did you mean BTC/USDT?",
    }


def test_nothing_like_it() -> None:
    for pattern in ("ZZZZZZZZZZ", "*/XYZ", ""):
        found, (said,) = chosen(((pattern,), ("trades",)))
        assert found == []
        assert said["symbol"] == pattern
        assert said["remedy"] == "the exchange lists nothing like it"
    assert chosen((("BTC/USDT",), ("trades",)), venue=[])[0] == []


def test_overlapping_blocks_make_one_stream_each() -> None:
    found, said = chosen(
        (("BTC/USDT", "*/USDT"), ("trades", "trades")),
        (("*",), ("candles",)),
        (("BTC/*",), ("trades", "candles")),
        (("BTC/USDT",), ("trades",)),
    )
    assert said == []
    assert len(found) == len(set(found)) == 3 + 6 + 1
    assert {symbol for symbol, channel in found if channel == "trades"} == {
        *("BTC/USDT", "ETH/USDT", "1INCH/USDT", "BTC/USDT:USDT"),
    }
    assert {symbol for symbol, channel in found if channel == "candles"} == {instrument.symbol for instrument in VENUE}


def test_what_is_not_traded_is_left_out() -> None:
    venue = [listed("BTC/USDT"), listed("LUNA/USDT", active=False)]
    assert chosen((("*",), ("trades",)), venue=venue) == ([("BTC/USDT", "trades")], [])
    found, (said,) = chosen((("LUNA/USDT",), ("trades",)), venue=venue)
    assert found == []
    assert said["symbol"] == "LUNA/USDT"


def test_nothing_configured_selects_nothing() -> None:
    assert chosen() == ([], [])
    assert chosen((("BTC/USDT",), ())) == ([], [])


# A running collector


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


BTC: Wanted = {"BTC/USDT": ("trades",)}
ETH: Wanted = {"ETH/USDT": ("trades",)}


async def test_streams_are_added_and_removed_and_those_that_stay_lose_nothing() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("trades", "book")})
        async with bench.running():
            await bench.until({"BTC trades": "live", "BTC book": "live"})
            for wanted, topics in (
                (BTC | ETH, {"btcusdt@trade", "ethusdt@trade"}),
                (BTC, {"btcusdt@trade"}),
                (BTC | {"ETH/USDT": ("quotes",)}, {"btcusdt@trade", "ethusdt@bookTicker"}),
            ):
                bench.change(wanted)
                while list(venue.subscribed.values()) != [topics]:
                    await venue.tell()
                    await asyncio.sleep(0)
            await venue.tell()
            await until(lambda: bench.trades()[-1:] == [venue.sent["BTCUSDT"]])
            await bench.until(
                {"BTC trades": "live", "BTC book": "stopped", "ETH trades": "stopped", "ETH quotes": "live"}
            )
            assert len(bench.collector.states) == 4
        assert venue.unheard == []
        assert set(bench.trades()) == set(range(1, venue.sent["BTCUSDT"] + 1))
        assert bench.gaps() == []
        assert bench.admitted == [["BTC trades", "BTC book"], ["ETH trades"], [], ["ETH quotes"]]
        assert set(bench.states().values()) == {"stopped"}


async def test_a_stream_that_was_added_starts_where_the_database_says_that_it_stood() -> None:
    async with Venue().serve() as venue:
        venue.sent["ETHUSDT"] = 7
        bench = Bench(venue, BTC)
        bench.known[2, "trades"] = Progress(5, NOON)
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            bench.change(BTC | ETH)
            await bench.until({"BTC trades": "live", "ETH trades": "live"})
            await venue.tell("ETHUSDT")
            await until(lambda: bench.trades(2) == [8])
        first, last = bench.gaps()[0], bench.gaps()[-1]
        told = "the daemon did not run"
        assert first == Gap(2, "trades", "not collected", NOON, None, 6, None, told, opened_ns=first.opened_ns)
        assert (last.opened_ns, last.from_id, last.to_id, last.state) == (first.opened_ns, 6, 7, "open")


async def test_a_stream_that_was_removed_is_marked_as_far_as_it_came() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, BTC | ETH)
        async with bench.running():
            await bench.until({"BTC trades": "live", "ETH trades": "live"})
            await venue.tell("ETHUSDT")
            await until(lambda: bench.trades(2) == [1])
            bench.change(BTC)
            await bench.until({"BTC trades": "live", "ETH trades": "stopped"})
            stream = next(stream for stream in bench.collector.states if stream.instrument_id == 2)
            assert bench.collector.states[stream] == ("stopped", "not in the configuration any more")
            marks = [item for item in bench.store.items if isinstance(item, Mark) and item.instrument_id == 2]
            assert marks[-1].id == 1
            assert (2, "trades") not in bench.collector.feed.ledger.accounts


async def test_all_are_removed_and_some_come_back() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, BTC)
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            bench.change({})
            await until(lambda: not venue.subscribed)
            await bench.until({"BTC trades": "stopped"})
            bench.change(BTC | ETH)
            await bench.until({"BTC trades": "live", "ETH trades": "live"})
            await venue.tell()
            await until(lambda: bench.trades() == [1])
        assert bench.admitted == [["BTC trades"], [], ["BTC trades", "ETH trades"]]


async def test_a_change_before_the_subscription_is_acknowledged() -> None:
    """What goes live then is partly collected no more."""
    async with Venue().serve() as venue:
        venue.open.clear()
        bench = Bench(venue, {"BTC/USDT": ("trades", "candles", "book", "quotes")})
        async with bench.running():
            await until(lambda: len(venue.asked) == 1)
            bench.change(BTC | ETH)
            await until(lambda: len(venue.asked) == 2)
            venue.open.set()
            await until(lambda: list(venue.subscribed.values()) == [{"btcusdt@trade", "ethusdt@trade"}])
            gone = {f"BTC {channel}": "stopped" for channel in ("candles", "book", "quotes")}
            await bench.until({"BTC trades": "live", "ETH trades": "live", **gone})
            await venue.tell()
            await until(lambda: bench.trades() == [1])
        assert bench.gaps() == []


async def test_a_change_while_the_old_line_alone_is_live() -> None:
    """The first one of the two is acknowledged with streams that were removed meanwhile."""
    async with Venue().serve() as venue:
        venue.open.clear()
        bench = Bench(venue, {"BTC/USDT": ("trades", "candles")})
        async with bench.running():
            await until(lambda: len(venue.asked) == 1)
            venue.refusing = True
            bench.change(BTC)
            await bench.until({"BTC trades": "starting", "BTC candles": "stopped"})
            venue.open.set()
            await bench.until({"BTC trades": "live", "BTC candles": "stopped"})
            await venue.tell()
            await until(lambda: bench.trades() == [1])


async def test_a_change_while_the_venue_refuses() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("trades", "quotes")})
        async with bench.running():
            await bench.until({"BTC trades": "live", "BTC quotes": "live"})
            await venue.tell()
            await until(lambda: bench.trades() == [1])
            venue.refusing = True
            venue.cut()
            await bench.until({"BTC trades": "reconnecting", "BTC quotes": "reconnecting"})
            bench.change(BTC | ETH)
            await until(lambda: len(bench.admitted) == 2)
            venue.refusing = False
            await bench.until({"BTC trades": "live", "BTC quotes": "stopped", "ETH trades": "live"})
        lost = [(gap.instrument_id, gap.channel, gap.cause, gap.to_ns) for gap in bench.gaps()[:2]]
        assert lost == [(1, "trades", "disconnected", None), (1, "quotes", "disconnected", None)]


async def test_an_instrument_that_the_venue_describes_anew_is_the_same_stream() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, BTC)
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            await venue.tell()
            bench.listed = [msgspec.structs.replace(one, info=b'{"status":"new"}') for one in bench.listed]
            bench.change(BTC)
            await until(lambda: len(bench.admitted) == 2)
            await asyncio.sleep(0.05)
            assert bench.states() == {"BTC trades": "live"}
            assert len(venue.asked) == 1
        assert bench.gaps() == []


async def test_what_one_connection_cannot_hold_goes_to_another() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("trades",)}, adapter=Small)
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            bench.change(dict.fromkeys(("BTC/USDT", "ETH/USDT"), ("trades", "quotes")))
            await until(lambda: set(bench.states().values()) == {"live"} and len(bench.states()) == 4)
            sizes = sorted(len(topics) for topics in venue.subscribed.values())
            assert sizes == [2, 2]
            bench.change({"ETH/USDT": ("quotes",)})
            await until(lambda: list(venue.subscribed.values()) == [{"ethusdt@bookTicker"}])


async def test_a_stream_that_the_database_refuses_is_left_out() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, BTC)

        async def admit(streams: Sequence[Stream], _adapter: Adapter) -> Mapping[Stream, Progress | None]:
            return {stream: None for stream in streams if stream.instrument_id == 1}

        bench.collector._listing._admit = admit
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            with capture_logs() as logs:
                bench.change(BTC | ETH)
                await until(lambda: any(entry["event"] == "streams.changed" for entry in logs))
            assert [entry["stream"] for entry in logs if entry["event"] == "stream.refused"] == [
                "binance ETH/USDT trades"
            ]
            assert bench.states() == {"BTC trades": "live"}


async def test_stop_during_a_change() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, BTC)
        async with bench.running():
            await bench.until({"BTC trades": "live"})
            await venue.tell()
            bench.change(BTC | ETH)
        assert bench.trades() == [1]
        assert venue.subscribed == {}


async def test_a_quiet_ticker_is_renewed_less_and_less_often() -> None:
    """REST cannot tell whether it is dead; of a market without trades it must not cost a connection a minute."""
    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("ticker",)}, silence_ns=50 * MILLISECOND)
        async with bench.running():
            await until(lambda: len(venue.asked) == 3)
            loop = asyncio.get_running_loop()
            third = loop.time()
            await until(lambda: len(venue.asked) == 4)
            assert loop.time() - third > 0.4  # three times as long as the one before, and so on
        opened, closed = bench.gaps()[:2]
        assert (opened.channel, opened.cause, opened.to_ns, opened.state) == ("ticker", "silent", None, "open")
        assert (closed.opened_ns, closed.state) == (opened.opened_ns, "unrecoverable")


async def test_a_book_that_brings_nothing_costs_no_connection() -> None:
    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("book",)}, silence_ns=50 * MILLISECOND)
        async with bench.running():
            await until(lambda: any(isinstance(item, OrderBook) for item in bench.store.items))
            await asyncio.sleep(0.3)
            assert len(venue.asked) == 1
        assert bench.gaps() == []


async def test_a_stream_that_the_venue_refuses_is_put_out_and_the_others_go_on() -> None:
    async with Venue().serve() as venue:
        venue.unknown = {"ethusdt@trade"}
        bench = Bench(venue, BTC | ETH, adapter=Picky)
        with capture_logs() as logs:
            async with bench.running():
                await bench.until({"BTC trades": "live", "ETH trades": "stopped"})
                await venue.tell()
                await until(lambda: bench.trades() == [1])
                (stream,) = (stream for stream in bench.collector.states if stream.instrument_id == 2)
                assert bench.collector.states[stream] == ("stopped", "refused by the venue: 2: unknown: ethusdt@trade")
                assert (2, "trades") not in bench.collector.feed.ledger.accounts
                venue.cut()
                await until(lambda: len(venue.asked) == 2)
                await bench.until({"BTC trades": "live", "ETH trades": "stopped"})
        assert venue.asked == [["btcusdt@trade", "ethusdt@trade"], ["btcusdt@trade"]]
        (said,) = (entry for entry in logs if entry["event"] == "stream.refused")
        assert said == {
            "event": "stream.refused",
            "log_level": "error",
            "exchange": "binance",
            "symbol": "ETH/USDT",
            "channel": "trades",
            "reason": "2: unknown: ethusdt@trade",
            "remedy": "take it out of the configuration, or wait: it is asked for again in an hour or two",
        }


async def test_where_all_are_refused_the_connection_ends_and_a_change_of_the_configuration_asks_again() -> None:
    async with Venue().serve() as venue:
        venue.unknown = {"btcusdt@trade"}
        bench = Bench(venue, BTC, adapter=Picky)
        async with bench.running():
            await bench.until({"BTC trades": "stopped"})
            await until(lambda: not venue.subscribed)
            venue.unknown = set()
            bench.change(BTC)
            await bench.until({"BTC trades": "live"})
            await venue.tell()
            await until(lambda: bench.trades() == [1])


@pytest.mark.parametrize("again", [True, False])
async def test_a_refused_stream_is_asked_for_again_by_a_later_listing_only(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "_LISTING_SECONDS", 0.02)
    monkeypatch.setattr(collector_module, "_REFUSED_SECONDS", 0.0 if again else 3600.0)
    async with Venue().serve() as venue:
        venue.unknown = {"ethusdt@trade"}
        bench = Bench(venue, BTC | ETH, adapter=Picky)
        async with bench.running():
            await bench.until({"BTC trades": "live", "ETH trades": "stopped"})
            venue.unknown = set()
            listings = len(bench.admitted)
            await until(lambda: len(bench.admitted) > listings + 2)
            await bench.until({"BTC trades": "live", "ETH trades": "live" if again else "stopped"})


async def test_a_book_is_renewed_only_while_it_is_out_of_sync_and_its_connection_is_live() -> None:
    async with Venue().serve() as venue:
        venue.open.clear()
        bench = Bench(venue, {"BTC/USDT": ("book",)})
        async with bench.running():
            await until(lambda: len(venue.asked) == 1)
            (stream,) = bench.collector.states
            bench.collector._renew_book(stream)  # is about to be subscribed
            venue.open.set()
            await bench.until({"BTC book": "live"})
            book = bench.collector.feed.books[1]
            book.in_sync = True  # as its first change would have it
            bench.collector._renew_book(stream)  # was mended meanwhile
            await asyncio.sleep(0.05)
            assert len(venue.asked) == 1
            book.desync("a test")
            bench.collector._renew_book(stream)
            await until(lambda: len(venue.asked) == 2)
            await bench.until({"BTC book": "live"})


async def test_a_quiet_ticker_that_is_subscribed_anew_on_its_connection_goes_on() -> None:
    """Its gap ends with the acknowledgement: no other connection tells that it is delivered again."""

    class Renewing(Picky):
        def resubscribe(self, stream: Stream, first_request_id: int) -> list[AdapterSubscription]:
            return self.subscribe([stream], first_request_id)

    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("ticker",)}, adapter=Renewing, silence_ns=50 * MILLISECOND)
        async with bench.running():
            await until(lambda: len(bench.gaps()) == 2)
            assert len(venue.asked) == 1
        opened, closed = bench.gaps()[:2]
        assert (opened.cause, opened.to_ns, opened.state) == ("silent", None, "open")
        assert (closed.opened_ns, closed.state) == (opened.opened_ns, "unrecoverable")
        assert closed.to_ns is not None


def checks_of(bench: Bench) -> list[Stream]:
    """The streams whose quiet was looked at; it grows."""
    checked: list[Stream] = []
    check = bench.collector._check

    def suspect(stream: Stream) -> None:
        checked.append(stream)
        check(stream)

    bench.collector.feed.ledger._suspect = suspect
    return checked


async def test_liquidations_may_be_quiet_for_ever() -> None:
    class Futures(Picky):
        promises: Mapping[Channel, Promise] = {**Picky.promises, "liquidations": "none"}

        def channels(self, _instrument: Instrument) -> tuple[Channel, ...]:
            return ("liquidations",)

        def id_space(self, _channel: Channel) -> str:
            return "time"

        def _topic(self, stream: Stream) -> str:
            return f"{stream.instrument.native.lower()}@forceOrder"

    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("liquidations",)}, adapter=Futures, silence_ns=20 * MILLISECOND)
        checked = checks_of(bench)
        async with bench.running():
            await until(lambda: len(checked) == 2)
            assert len(venue.asked) == 1
        assert bench.gaps() == []


async def test_what_is_polled_may_be_quiet_as_long_as_polls_are_answered() -> None:
    """No connection tells that it goes on: a gap for its quiet would stay open until a poll fails."""

    class Polled(Quick):
        promises: Mapping[Channel, Promise] = {"trades": "none"}

        def channels(self, _instrument: Instrument) -> tuple[Channel, ...]:
            return ("trades",)

        def polled(self, _instrument: Instrument) -> Mapping[Channel, float]:
            return {"trades": 0.005}

        def poll_request(self, stream: Stream) -> Request:
            return self.book_request(stream.instrument, 20)

        def decode_poll(self, _stream: Stream, _body: bytes, _received_ns: int) -> Sequence[Event]:
            return ()

        def tells_latest(self, _stream: Stream) -> bool:
            return False

    async with Venue().serve() as venue:
        bench = Bench(venue, {"BTC/USDT": ("trades",)}, adapter=Polled, silence_ns=20 * MILLISECOND)
        checked = checks_of(bench)
        async with bench.running():
            await until(lambda: len(checked) == 2)
        assert bench.gaps() == []
