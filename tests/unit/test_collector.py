"""Which streams a configuration selects from a venue's list."""

from structlog.testing import capture_logs

from ingest.collect.collector import Settings, Subscription, select
from ingest.records import CHANNELS, Channel, Instrument


def listed(symbol: str, *, active: bool = True) -> Instrument:
    base, _, quote = symbol.partition("/")
    return Instrument("binance", symbol, base + quote, "spot", base, quote, active=active)


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
