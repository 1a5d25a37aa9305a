"""What a venue documents as its limits is kept in any window of time, by whoever asks as fast as the limiter lets him.

The figures are those of the pages that each adapter cites; `docs/reference/venues.md` tells them.
"""

from collections.abc import Callable

import pytest

from ingest.clock import MINUTE, SECOND
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Adapter, Options, Request
from ingest.exchanges.ccxt_venue import ccxt_adapter
from ingest.exchanges.limiter import Limiter
from ingest.records import Instrument

START = 1_795_262_400 * SECOND
LIVE, HISTORY = 0.0, 0.5  # what is left of the bucket for others, as `ingest.repair.ask` has it

Call = Callable[[Adapter, Instrument], Request | None]


def moments(limiter: Limiter, weight: int, keep: float, most: int) -> list[int]:
    """When each of so many calls goes out, one directly after the other."""
    now_ns, found = START, list[int]()
    while len(found) < most:
        delay = limiter.delay_seconds(weight, now_ns, keep=keep)
        if delay:
            now_ns += int(delay * SECOND) + 1
        else:
            found.append(now_ns)
    return found


def at_most(times: list[int], seconds: float) -> int:
    """The most of them in any window, its end not counted."""
    return max(sum(1 for at in times if 0 <= at - first < seconds * SECOND) for first in times)


def _book(adapter: Adapter, instrument: Instrument) -> Request:
    return adapter.book_request(instrument, 20)


def _latest_candles(adapter: Adapter, instrument: Instrument) -> Request:
    return adapter.candles_request(instrument, start_ns=None, limit=1000)


def _past_candles(adapter: Adapter, instrument: Instrument) -> Request:
    return adapter.candles_request(instrument, start_ns=START - 5000 * MINUTE, limit=1000)


def _latest_trade(adapter: Adapter, instrument: Instrument) -> Request | None:
    return adapter.latest_trade_request(instrument)


def _past_trades(adapter: Adapter, instrument: Instrument) -> Request:
    return adapter.trades_request(instrument, start=1, end=1000, limit=1000)


@pytest.mark.parametrize(
    ("exchange", "call", "keep", "most", "seconds"),
    [
        ("okx", _book, LIVE, 40, 2),
        ("okx", _latest_candles, LIVE, 40, 2),
        ("okx", _past_candles, HISTORY, 20, 2),
        ("okx", _latest_trade, LIVE, 100, 2),
        ("okx", _past_trades, HISTORY, 20, 2),
        *(("bybit", call, LIVE, 600, 5) for call in (_book, _latest_candles, _past_candles, _past_trades)),
        *(("kraken", call, LIVE, 1, 1) for call in (_book, _latest_candles, _latest_trade, _past_trades)),
        *(("coinbase", call, LIVE, 10, 1) for call in (_book, _latest_candles, _latest_trade, _past_trades)),
    ],
)
def test_calls_of_one_kind_stay_within_what_is_documented(
    exchange: str, call: Call, keep: float, most: int, seconds: float
) -> None:
    adapter = ADAPTERS[exchange]({}, Options())
    request = call(adapter, Instrument(exchange, "BTC/USD", "BTC-USD", "spot", "BTC", "USD"))
    assert request is not None
    limiter = Limiter(adapter.limits.weight_per_minute, adapter.limits.burst)
    assert at_most(moments(limiter, request.weight, keep, 3 * most + 5), seconds) <= most


@pytest.mark.parametrize(("exchange", "weight"), [("binance", 6000), ("binanceusdm", 2400)])
def test_weights_stay_within_those_of_a_minute(exchange: str, weight: int) -> None:
    limits = ADAPTERS[exchange]({}, Options()).limits
    times = moments(Limiter(limits.weight_per_minute, limits.burst), 10, LIVE, weight // 4)
    assert 10 * at_most(times, 60) <= weight


@pytest.mark.parametrize("exchange", [*ADAPTERS, "kucoin"])
def test_connections_stay_within_what_the_adapter_says(exchange: str) -> None:
    limits = (ADAPTERS.get(exchange) or ccxt_adapter(exchange))({}, Options()).limits
    slots = Limiter.in_windows(limits.connections_per_window, limits.connection_window_seconds)
    times = moments(slots, 1, LIVE, 2 * limits.connections_per_window + 5)
    assert at_most(times, limits.connection_window_seconds) <= limits.connections_per_window
    assert times[-1] - times[0] < 6 * limits.connection_window_seconds * SECOND  # and they are had


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 8, 30, 300])
@pytest.mark.parametrize("seconds", [0.5, 1, 60, 600])
def test_a_window_is_kept_wherever_it_begins(most: int, seconds: float) -> None:
    times = moments(Limiter.in_windows(most, seconds), 1, LIVE, 3 * most + 5)
    assert at_most(times, seconds) <= most
