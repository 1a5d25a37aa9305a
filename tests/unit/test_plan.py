"""What a configuration leads to, with and without a venue's listing."""

from structlog.testing import capture_logs

from ingest.collect.selection import Settings, Subscription, select
from ingest.exchanges.adapter import Limits, Options
from ingest.exchanges.binance import Binance
from ingest.exchanges.binanceusdm import BinanceUsdm
from ingest.exchanges.bybit import Bybit
from ingest.plan import Glob, Lacking, Plan, Selection, plan
from ingest.records import Channel, Instrument

LIMITS = Limits(
    streams_per_connection=4,
    messages_per_second=5,
    connections_per_window=300,
    connection_window_seconds=300,
    connection_lifetime_seconds=86_400,
    weight_per_minute=6_000,
)
VENUE = [
    Instrument("binance", f"{base}/{quote}", base + quote, "spot", base, quote, active=base != "LUNA")
    for base, quote in (("BTC", "USDT"), ("ETH", "USDT"), ("BTC", "EUR"), ("ETH", "EUR"), ("LUNA", "EUR"))
]


def settings(*blocks: tuple[tuple[str, ...], tuple[Channel, ...]]) -> Settings:
    return Settings("binance", tuple(Subscription(symbols, channels) for symbols, channels in blocks))


def test_named_symbols_need_no_listing() -> None:
    wanted = settings((("ETH/USDT", "BTC/USDT"), ("book", "trades")), (("BTC/EUR",), ("trades",)))
    assert plan(wanted, LIMITS, None) == Plan(
        "binance",
        (
            Selection("trades", ("ETH/USDT", "BTC/USDT", "BTC/EUR"), ()),
            Selection("book", ("ETH/USDT", "BTC/USDT"), ()),
        ),
        streams=5,
        expanded=True,
        connections=2,
        streams_per_connection=4,
        unknown=(),
    )


def test_a_glob_waits_for_the_listing() -> None:
    wanted = settings((("BTC/USDT", "*/EUR"), ("trades",)), (("[BE]*/USDT",), ("book",)))
    assert plan(wanted, LIMITS, None) == Plan(
        "binance",
        (
            Selection("trades", ("BTC/USDT",), (Glob("*/EUR", None),)),
            Selection("book", (), (Glob("[BE]*/USDT", None),)),
        ),
        streams=1,
        expanded=False,
        connections=1,
        streams_per_connection=4,
        unknown=(),
    )


def test_globs_alone_need_a_connection_at_least() -> None:
    found = plan(settings((("*/EUR",), ("trades",))), LIMITS, None)
    assert (found.streams, found.connections, found.expanded) == (0, 1, False)


def test_with_the_listing_globs_are_expanded_and_symbols_checked() -> None:
    wanted = settings(
        (("BTC/USDT", "*/USDT", "*/EUR"), ("trades", "book")), (("BTCC/USDT", "*/XYZ", "LUNA/EUR"), ("book",))
    )
    usdt, eur = Glob("*/USDT", ("BTC/USDT", "ETH/USDT")), Glob("*/EUR", ("BTC/EUR", "ETH/EUR"))
    with capture_logs() as logs:
        found = plan(wanted, LIMITS, VENUE)
    assert found == Plan(
        "binance",
        (
            Selection("trades", ("BTC/USDT",), (usdt, eur)),
            Selection("book", ("BTC/USDT",), (usdt, eur, Glob("*/XYZ", ()))),
        ),
        streams=8,
        expanded=True,
        connections=2,
        streams_per_connection=4,
        unknown=("BTCC/USDT", "*/XYZ", "LUNA/EUR"),
    )
    assert [(entry["event"], entry["symbol"]) for entry in logs] == [
        ("symbol.unknown", symbol) for symbol in found.unknown
    ]


def test_the_plan_holds_the_streams_that_the_collector_selects() -> None:
    wanted = settings(
        (("BTC/USDT", "*/USDT", "*/EUR"), ("trades", "book")), (("*",), ("candles",)), (("ETH/*",), ("quotes", "book"))
    )
    found = plan(wanted, LIMITS, VENUE)
    selected = [(channel, instrument.symbol) for instrument, channel in select(wanted, VENUE)]
    assert sorted(found.each_stream()) == sorted(selected)
    assert found.streams == len(selected)


def test_what_is_listed_and_not_translated_is_meant_by_no_glob_and_lacking_by_its_name() -> None:
    right, swap = "BTC/USDC:USDC-261225-90000-C", "BTC/USDT:USDT"
    venue = [
        Instrument("bybit", right, "BTC-25DEC26-90000-C", "option", "BTC", "USDC", settle="USDC"),
        Instrument("bybit", swap, "BTCUSDT", "swap", "BTC", "USDT", settle="USDT"),
        Instrument("bybit", "BTC/USD:BTC", "BTCUSD", "swap", "BTC", "USD", settle="BTC"),
    ]
    bybit = Bybit({}, Options())
    wanted = Settings("bybit", (Subscription(("BTC/*", "ETH/*", right), ("trades", "funding")),))
    with capture_logs() as logs:
        chosen = [(one.symbol, channel) for one, channel in select(wanted, venue, bybit.channels)]
    assert chosen == [(swap, "trades"), (swap, "funding")]
    assert [(entry["event"], entry["symbol"], entry.get("remedy")) for entry in logs] == [
        ("symbol.unknown", "ETH/*", "the exchange lists nothing like it"),
        ("channel.not_offered", right, "it offers nothing of this symbol"),
        ("channel.not_offered", right, "it offers nothing of this symbol"),
    ]
    with capture_logs():
        planned = plan(wanted, bybit.limits, venue, bybit)
    assert planned.selections[0].globs == (Glob("BTC/*", (swap,)), Glob("ETH/*", ()))
    assert (planned.connections, planned.unknown) == (1, ("ETH/*",))
    remedy = "remove it: of bybit spot and swap can be collected, not option"
    channels: tuple[Channel, ...] = ("trades", "funding")
    assert planned.lacking == tuple(Lacking(name, (right,), (), remedy) for name in channels)
    assert list(planned.each_stream()) == [("trades", swap), ("funding", swap)]
    assert plan(wanted, bybit.limits, None, bybit).lacking == planned.lacking  # its name says what it is


def test_what_is_not_offered_is_no_stream_and_told_with_where_it_is() -> None:
    binance = Binance({}, Options())
    symbols = ("BTC/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USD:BTC")
    found = plan(Settings("binance", (Subscription(symbols, ("trades",)),)), binance.limits, None, binance)
    assert list(found.each_stream()) == [("trades", "BTC/USDT")]
    assert (found.streams, found.connections) == (1, 1)
    assert found.lacking == (
        Lacking("trades", symbols[1:3], (), 'it is at binanceusdm: write exchange = "binanceusdm"'),
        Lacking("trades", symbols[3:], (), "remove it: of binance spot can be collected, not swap"),
    )
    alone = plan(Settings("binance", (Subscription(symbols[1:], ("trades",)),)), binance.limits, None, binance)
    assert (alone.selections, alone.streams, alone.connections) == ((), 0, 0)


def test_a_venue_that_lists_nothing_is_no_connection() -> None:
    with capture_logs():
        found = plan(settings((("BTC/USDT", "*/EUR"), ("trades",))), LIMITS, [])
    assert (found.streams, found.connections, found.unknown) == (0, 0, ("BTC/USDT", "*/EUR"))


def test_streams_that_the_venue_serves_at_different_addresses_share_no_connection() -> None:
    """Of Binance USDⓈ-M depth and bookTicker at one, the rest at another, and open interest by REST."""
    futures = BinanceUsdm({}, Options())
    wanted = Settings("binanceusdm", (Subscription(("BTC/USDT:USDT",), ("trades", "book", "open_interest")),))
    assert plan(wanted, futures.limits, None, futures).connections == 2
    of_globs = Settings("binanceusdm", (Subscription(("*:USDT",), ("quotes", "book", "candles")),))
    found = plan(of_globs, futures.limits, None, futures)
    assert (found.streams, found.connections, found.expanded) == (0, 2, False)
    polled = Settings("binanceusdm", (Subscription(("*:USDT",), ("open_interest",)),))
    assert plan(polled, futures.limits, None, futures).connections == 0
