"""How several daemons share a venue's symbols."""

import pytest

from ingest.cli.options import share
from ingest.collect.selection import Settings, Share, Subscription, select, unlisted
from ingest.errors import ConfigError
from ingest.records import Instrument, Stream

SYMBOLS = [f"C{number}/USDT" for number in range(300)]
LISTED = [Instrument("binance", symbol, symbol.replace("/", ""), "spot", symbol[:-5], "USDT") for symbol in SYMBOLS]


def settings(number: int, of: int, *symbols: str) -> Settings:
    return Settings("binance", (Subscription(symbols or ("*/USDT",), ("trades", "book")),), share=Share(number, of))


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_each_symbol_is_one_daemons_with_all_its_channels(of: int) -> None:
    parts = [select(settings(number, of), LISTED) for number in range(1, of + 1)]
    symbols = [{instrument.symbol for instrument, _ in part} for part in parts]
    assert sum(map(len, symbols)) == len(set.union(*symbols)) == len(SYMBOLS)
    assert sum(map(len, parts)) == 2 * len(SYMBOLS)
    assert min(map(len, symbols)) > len(SYMBOLS) / of / 2  # not one for all


def test_who_takes_what_never_changes() -> None:
    """A released rule: another one would leave symbols to two daemons, or to none, while they are updated in turn."""
    assert [number for number in (1, 2, 3) if Share(number, 3).takes("binance", "BTC/USDT")] == [1]
    assert [number for number in (1, 2, 3) if Share(number, 3).takes("binance", "ETH/USDT")] == [2]
    assert [number for number in (1, 2, 3) if Share(number, 3).takes("binance", "SOL/USDT")] == [3]
    assert [number for number in (1, 2) if Share(number, 2).takes("kraken", "BTC/USDT")] == [1]


def test_a_symbol_of_another_daemon_is_not_waited_for() -> None:
    mine = settings(1, 3, "BTC/USDT", "ETH/USDT", "SOL/USDT")
    bitcoin = Stream(1, Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT"), "trades")
    assert not unlisted(mine, [bitcoin])
    assert unlisted(mine, [])


@pytest.mark.parametrize(("text", "parts"), [("1/1", (1, 1)), ("2/3", (2, 3)), ("12/12", (12, 12))])
def test_the_flag(text: str, parts: tuple[int, int]) -> None:
    assert share(text) == parts


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1.0/2", "/2"])
def test_a_flag_that_makes_no_sense_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write i/n, which of how many daemons"):
        share(text)
