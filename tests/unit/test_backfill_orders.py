"""What a command line and the configuration ask for."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from ingest.backfill.orders import Order, moment, of_command, of_configuration
from ingest.config.model import Backfill, Config
from ingest.errors import ConfigError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31", datetime(2024, 1, 31, tzinfo=UTC)),
        ("2024-01-31 12:30", datetime(2024, 1, 31, 12, 30, tzinfo=UTC)),
        ("2024-01-31T12:30:00+02:00", datetime(2024, 1, 31, 10, 30, tzinfo=UTC)),
        ("30 days", NOW - timedelta(days=30)),
        ("1 hour", NOW - timedelta(hours=1)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert moment(text, NOW, "--from") == expected


def test_a_moment_that_is_none_is_said_with_what_it_may_be() -> None:
    with pytest.raises(ConfigError, match=r"--from: \"yesterdy\" is no time; write 2024-01-31"):
        moment("yesterdy", NOW, "--from")


@pytest.mark.parametrize("text", ["1960-01-01", "99999 days", "0001-01-01T00:00:00+05:00"])
def test_a_moment_before_all_markets_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is before there was any such market"):
        moment(text, NOW, "--from")


def test_a_length_beyond_all_measure_is_no_time() -> None:
    with pytest.raises(ConfigError, match="is no time"):
        moment("9" * 20 + " days", NOW, "--from")


def test_several_exchanges_in_one_call() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    assert of_command("binance, okx,binance", ["BTC/*"], "trades", "1m", "2026-11-01", None, NOW) == [
        Order("binance", ("BTC/*",), "trades", "1m", start, NOW),
        Order("okx", ("BTC/*",), "trades", "1m", start, NOW),
    ]


@pytest.mark.parametrize(
    ("channel", "timeframe", "since", "until", "message"),
    [
        ("book", "1m", "1 day", None, "--channel 'book': history can be fetched of candles and trades"),
        ("candles", "2m", "1 day", None, "--timeframe '2m': there are 1m, 5m"),
        ("trades", "1h", "1 day", None, "--timeframe is for candles alone"),
        ("candles", "1m", "2026-11-03", "2026-11-03", "--from 2026-11-03 is not before --to 2026-11-03"),
    ],
)
def test_mistakes_are_told(channel: str, timeframe: str, since: str, until: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        of_command("binance", ["BTC/USDT"], channel, timeframe, since, until, NOW)


def test_blocks_of_the_configuration() -> None:
    block = Backfill(exchange="binance", symbols=("BTC/USDT",), timeframe="1d", since="2 days", until="1 day")
    assert of_configuration(Config(backfill=(block,)), NOW) == [
        Order("binance", ("BTC/USDT",), "candles", "1d", NOW - timedelta(days=2), NOW - timedelta(days=1))
    ]
    with pytest.raises(ConfigError, match=r"add a \[\[backfill\]\] block"):
        of_configuration(Config(), NOW)
    backwards = block.model_copy(update={"until": "3 days"})
    with pytest.raises(ConfigError, match=r"block 2: since \(2 days\) is not before until \(3 days\)"):
        of_configuration(Config(backfill=(block, backwards)), NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "soon"},
        {"channel": "book"},
        {"timeframe": "2h"},
        {"channel": "trades", "timeframe": "1h"},
        {"symbols": ("BTC/USDT", "BTC/USDT")},
        {"symbols": ()},
    ],
)
def test_a_block_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Backfill.model_validate({"exchange": "binance", "symbols": ("BTC/USDT",), "since": "1 day", **wrong})


def test_toml_s_own_dates_are_taken() -> None:
    since = datetime(2024, 1, 31, tzinfo=UTC).date()
    assert Backfill.model_validate({"exchange": "x", "symbols": ("BTC/USDT",), "since": since}).since == "2024-01-31"
