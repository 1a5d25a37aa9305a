"""Requests for longer candles, in each venue's words."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Options
from ingest.records import TIMEFRAMES, Instrument, Timeframe
from ingest.repair.timeframes import longer, offered
from ingest.store.window import LENGTHS, opening, place

HOUR = 60 * MINUTE
START = 1_700_000_000 * SECOND // HOUR * HOUR


def asked(exchange: str, timeframe: Timeframe) -> dict[str, str]:
    adapter = ADAPTERS[exchange]({}, Options())
    instrument = Instrument(exchange, "BTC/USDT", "BTC-USDT", "spot", "BTC", "USDT")
    request = adapter.candles_request(instrument, start_ns=START, limit=100)
    found = longer(request, exchange, timeframe, start_ns=START, limit=100)
    assert found.weight == request.weight
    assert urlsplit(found.url).path == urlsplit(request.url).path
    return dict(parse_qsl(urlsplit(found.url).query))


@pytest.mark.parametrize(
    ("exchange", "parameter", "word", "end", "expected"),
    [
        ("binance", "interval", "1h", "endTime", None),
        ("binanceusdm", "interval", "1h", "endTime", None),
        ("okx", "bar", "1H", "after", (START + 100 * HOUR) // MILLISECOND),
        ("bybit", "interval", "60", "end", (START + 100 * HOUR) // MILLISECOND - 1),
        ("kraken", "interval", "60", "end", None),
        ("coinbase", "granularity", "ONE_HOUR", "end", (START + 100 * HOUR) // SECOND - 1),
    ],
)
def test_the_length_is_named_and_the_page_reaches_as_far(
    exchange: str, parameter: str, word: str, end: str, expected: int | None
) -> None:
    found = asked(exchange, "1h")
    assert found[parameter] == word
    assert found.get(end) == (None if expected is None else str(expected))


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_a_minute_is_asked_for_as_the_adapter_does(exchange: str) -> None:
    found = asked(exchange, "1m")
    length = {"okx": "bar", "coinbase": "granularity"}.get(exchange, "interval")
    assert found[length] in ("1m", "1", "ONE_MINUTE")


def test_what_a_venue_lacks_is_refused() -> None:
    with pytest.raises(Rejected, match="coinbase has no candles of 4h; it has 1m, 5m"):
        asked("coinbase", "4h")
    assert "1w" not in offered("kraken")
    assert offered("elsewhere") == ("1m",)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_places_count_candles(timeframe: Timeframe) -> None:
    number = place(START, timeframe)
    assert opening(number, timeframe) <= START < opening(number + 1, timeframe)
    assert opening(number + 1, timeframe) - opening(number, timeframe) == LENGTHS[timeframe]
