"""The models: what they hold, freeze, hide and refuse."""

import pytest
from pydantic import SecretStr, ValidationError

from ingest.config.model import (
    DEFAULT_CHANNELS,
    BinanceSettings,
    Collect,
    Config,
    ExchangeSettings,
    Pipeline,
    Retention,
)
from ingest.config.operation import Log

SECRET = "pl4nted"


def test_channels_are_those_that_work() -> None:
    assert DEFAULT_CHANNELS == ("trades", "candles", "book")


def test_a_configuration_is_frozen() -> None:
    config = Config()
    for model, name in ((config, "book"), (config.book, "depth"), (config.exchanges, "binance")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, None)


def test_any_venue_has_settings() -> None:
    config = Config.model_validate(
        {"exchanges": {"binance": {"trade_stream": "aggTrade"}, "other": {"rest_url": "http://h"}}}
    )
    assert config.exchanges["binance"] == BinanceSettings(trade_stream="aggTrade") == config.exchanges.binance
    assert config.exchanges["other"] == ExchangeSettings(rest_url="http://h")
    assert config.exchanges["third"] == ExchangeSettings()


def test_an_empty_text_is_no_address() -> None:
    values = {"database": {"url": " "}, "exchanges": {"binance": {"rest_url": "", "ws_url": "", "proxy": ""}}}
    assert Config.model_validate(values) == Config()


def test_secrets_are_hidden_but_held() -> None:
    config = Config.model_validate(
        {
            "database": {"url": f"postgresql://u:{SECRET}@h/d"},
            "exchanges": {"binance": {"proxy": f"http://u:{SECRET}@h:1"}},
        }
    )
    assert config.database.url == SecretStr(f"postgresql://u:{SECRET}@h/d")
    assert config.exchanges.binance.proxy == SecretStr(f"http://u:{SECRET}@h:1")
    for text in (repr(config), str(config), config.model_dump_json(), repr(config.model_dump())):
        assert SECRET not in text


@pytest.mark.parametrize(
    "values",
    [
        {"database": {"url": f"mysql://u:{SECRET}@h/d"}},
        {"database": {"urll": f"postgresql://u:{SECRET}@h/d"}},
        {"database": f"postgresql://u:{SECRET}@h/d"},
        {"database": {"url": [SECRET]}},
        {"database": {"connect_timeout_seconds": SECRET}},
        {"exchanges": {"binance": {"proxy": f"ftp://u:{SECRET}@h"}}},
        {"exchanges": {"binance": {"rest_url": f"https://u:{SECRET}@h"}}},
        {"collect": [{"exchange": "binance", "symbols": [f"http://{SECRET}@h"]}]},
        {"log": {"level": SECRET}},
    ],
)
def test_pydantics_own_errors_hold_no_secret(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(values)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "symbol",
    [
        "BTC/USDT",
        "*/EUR",
        "*/*",
        "BTC/*",
        "BTC/USDT:USDT",
        "[BE]TC/USD?",
        "1000SATS/USDT",
        "kPEPE/USDC:USDC",
        "币安人生/USDT",
        "BTC/USDT:USDT-251226",
    ],
)
def test_symbols(symbol: str) -> None:
    assert Collect(exchange="binance", symbols=(symbol,)).symbols == (symbol,)


@pytest.mark.parametrize(
    ("symbol", "nearest"),
    [
        ("BTCUSDT", "BTC/USDT"),
        ("btcusdt", "BTC/USDT"),
        ("btc/usdt", "BTC/USDT"),
        ("ETH-BTC", "ETH/BTC"),
        ("eth_btc", "ETH/BTC"),
        ("*EUR", "*/EUR"),
        ("*", "*/*"),
        (" BTC/USDT", "BTC/USDT"),
        ("BTC", "BTC/USDT"),
    ],
)
def test_a_symbol_in_another_spelling_is_refused_with_the_right_one(symbol: str, nearest: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Collect(exchange="binance", symbols=(symbol,))
    assert f'"{symbol}" is neither BASE/QUOTE nor a glob of that form; did you mean {nearest}?' in str(caught.value)


@pytest.mark.parametrize("symbol", ["", "/", "BTC/", "BTC/USDT:", "A/B/C", "BTC/USDT,ETH/USDT", "nothing"])
def test_a_symbol_of_no_known_spelling_is_refused(symbol: str) -> None:
    with pytest.raises(ValidationError, match="neither BASE/QUOTE"):
        Collect(exchange="binance", symbols=(symbol,))


def test_a_stream_is_collected_once() -> None:
    with pytest.raises(ValidationError, match="names BTC/USDT more than once"):
        Collect(exchange="binance", symbols=("BTC/USDT", "BTC/USDT"))
    trades = Collect(exchange="binance", symbols=("BTC/USDT",), channels=("trades",))
    candles = Collect(exchange="binance", symbols=("BTC/USDT",), channels=("candles",))
    assert Config(collect=(trades, candles)).collect == (trades, candles)
    with pytest.raises(ValidationError, match="blocks 1 and 3 both name trades of BTC/USDT at binance"):
        Config(collect=(trades, candles, trades))


def test_a_queue_holds_at_least_a_batch() -> None:
    assert Pipeline(batch_max_rows=5, queue_max_rows=5).queue_max_rows == 5
    with pytest.raises(ValidationError, match=r"queue_max_rows \(4\) is below batch_max_rows \(5\)"):
        Pipeline(batch_max_rows=5, queue_max_rows=4)


def test_the_case_of_a_log_level_does_not_matter() -> None:
    assert Log.model_validate({"level": "WARNING", "format": "JSON"}) == Log(level="warning", format="json")


def test_what_is_kept_by_default() -> None:
    assert Retention().model_dump() == {
        "order_books": 30,
        "trades": 365,
        "quotes": 30,
        "funding_rates": "forever",
        "open_interest": 730,
        "mark_prices": 365,
        "liquidations": "forever",
        "candles_1m": 730,
        "book_1m": 730,
        "candles": 1825,
        "candles_1d": "forever",
        "candles_1w": "forever",
        "candles_coarse": "forever",
        "logs": 365,
        "rejected": 90,
        "gaps": 90,
        "backfill_jobs": 30,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [(1, 1), (36_500, 36_500), ("30", 30), (" 30 ", 30), ("forever", "forever"), ("Forever", "forever")],
)
def test_days_or_for_ever(given: object, kept: object) -> None:
    assert Retention.model_validate({"trades": given}).trades == kept


@pytest.mark.parametrize("given", ["", "30 days", "for ever", "-1", "²", "1.5", 1.5, True, None, [30], float("inf")])
def test_what_is_not_whole_days_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match='must be whole days, or "forever"; write 30, for example'):
        Retention.model_validate({"trades": given})


@pytest.mark.parametrize("given", [0, -1, 36_501, "0", "99999999999999999999"])
def test_days_have_a_range(given: object) -> None:
    with pytest.raises(ValidationError, match=r'is outside 1 to 36500 days; to delete nothing, write "forever"'):
        Retention.model_validate({"trades": given})
