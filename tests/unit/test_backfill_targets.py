"""What of an order is refused, with the figure that stands in the way."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from ingest.backfill.orders import Order
from ingest.backfill.targets import _clipped, _range, _refused
from ingest.clock import MINUTE
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Options
from ingest.records import Channel, Timeframe
from ingest.store.backfill import Kept, moment_ns

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
TWO_YEARS = timedelta(days=730)
BINANCE = ADAPTERS["binance"]({}, Options())


def refused(
    since: datetime,
    *,
    exchange: str = "binance",
    channel: Channel = "candles",
    timeframe: Timeframe = "1m",
    kept: timedelta | None = TWO_YEARS,
    until: datetime = NOW,
) -> str | None:
    order = Order(exchange, ("BTC/USDT",), channel, timeframe, since, until)
    table = "trades" if channel == "trades" else "candles_1m" if timeframe == "1m" else "candles_coarse"
    facts = Kept(table, kept, None if kept is None else NOW - kept, NOW)
    adapter = ADAPTERS[exchange]({}, Options())
    return _refused(order, _range(order, 1, facts, adapter), facts, adapter)


def test_a_range_that_can_be_had_is_not_refused() -> None:
    assert refused(NOW - timedelta(days=729)) is None
    assert refused(NOW - timedelta(days=4000), timeframe="1d", kept=None) is None


def test_what_is_older_than_retention_is_refused_with_the_figure() -> None:
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    assert refused(long_ago, until=datetime(2024, 2, 1, tzinfo=UTC)) == (
        "it ends 2024-02-01 00:00, and nothing before 2024-11-21 12:01 is stored (retention.candles_1m = 730 days)."
        " Raise it and `ingest migrate`, or take a longer --timeframe, which is kept apart"
    )
    assert refused(long_ago, until=NOW - TWO_YEARS, channel="trades", timeframe="1m") == (
        "it ends 2024-11-21 12:00, and nothing before 2024-11-21 12:01 is stored (retention.trades = 730 days). Raise"
        " it and `ingest migrate`"
    )


def test_a_range_across_the_edge_of_retention_is_clipped_and_said_so() -> None:
    kept = Kept("trades", timedelta(days=90), NOW - timedelta(days=90), NOW)
    order = Order("binance", ("BTC/USDT",), "trades", "1m", datetime(2026, 1, 1, tzinfo=UTC), NOW)
    asked = _range(order, 1, kept, BINANCE)
    assert _refused(order, asked, kept, BINANCE) is None
    assert asked.from_ns == moment_ns(datetime(2026, 8, 23, 12, 1, tzinfo=UTC))
    assert _clipped(order, asked, kept, BINANCE) == (
        "2026-01-01 00:00 to 2026-08-23 12:01 is not fetched: nothing before 2026-08-23 12:01 is stored "
        "(retention.trades = 90 days). Raise it and `ingest migrate`"
    )


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=3)])
def test_a_range_as_long_as_the_retention_is_whole(late: timedelta) -> None:
    """The clock of the database may be ahead, and the range was read before."""
    kept = Kept("trades", timedelta(days=90), NOW - timedelta(days=90) + late, NOW)
    order = Order("binance", ("BTC/USDT",), "trades", "1m", NOW - timedelta(days=90), NOW)
    asked = _range(order, 1, kept, BINANCE)
    assert _clipped(order, asked, kept, BINANCE) is None
    assert asked.from_ns >= moment_ns(order.since)


def test_a_range_beyond_what_a_venue_shows_is_clipped_and_said_so() -> None:
    adapter, kept = ADAPTERS["kraken"]({}, Options()), Kept("candles_coarse", None, None, NOW)
    order = Order("kraken", ("BTC/USD",), "candles", "1h", datetime(2026, 1, 1, tzinfo=UTC), NOW)
    asked = _range(order, 1, kept, adapter)
    assert _refused(order, asked, kept, adapter) is None
    assert asked.from_ns == moment_ns(datetime(2026, 10, 22, 22, tzinfo=UTC))  # 710 hours: ten may close meanwhile
    assert _clipped(order, asked, kept, adapter) == (
        "2026-01-01 00:00 to 2026-10-22 22:00 is not fetched: kraken's REST has the latest 720 candles alone: nothing "
        "before 2026-10-22 22:00; a longer --timeframe reaches further back"
    )
    whole = structs.replace(order, since=NOW - timedelta(days=29))
    assert _clipped(whole, _range(whole, 1, kept, adapter), kept, adapter) is None
    edge = structs.replace(kept, figure=timedelta(days=7), since=NOW - timedelta(days=7))
    assert "retention.candles_coarse = 7 days" in str(_clipped(order, _range(order, 1, edge, adapter), edge, adapter))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"since": NOW - timedelta(minutes=1)}, "it is not over yet"),
        (
            {
                "since": NOW - timedelta(days=9),
                "until": NOW - timedelta(days=8),
                "exchange": "kraken",
                "timeframe": "5m",
            },
            "it ends 2026-11-13 12:00, and kraken's REST has the latest 720 candles alone: nothing before 2026-11-19",
        ),
        (
            {"since": NOW - timedelta(days=9), "exchange": "coinbase", "timeframe": "4h"},
            "coinbase has no candles of 4h",
        ),
        ({"since": NOW - timedelta(days=1), "exchange": "bybit", "channel": "trades"}, "latest trades alone"),
    ],
)
def test_what_a_venue_does_not_have_is_refused(asked: dict[str, object], message: str) -> None:
    assert message in str(refused(**asked))  # type: ignore[arg-type]


def test_kraken_s_minutes_are_made_from_trades_and_its_longer_candles_reach_further_back() -> None:
    assert refused(NOW - timedelta(days=20), exchange="kraken") is None
    assert refused(NOW - timedelta(days=20), exchange="kraken", timeframe="1h") is None


def test_the_candle_that_is_still_open_is_not_asked_for() -> None:
    order = Order("binance", ("BTC/USDT",), "candles", "1h", NOW - timedelta(hours=5), NOW)
    asked = _range(order, 1, Kept("candles_coarse", None, None, NOW), BINANCE)
    assert asked.to_ns == moment_ns(datetime(2026, 11, 21, 11, tzinfo=UTC))  # 12:00 is 30 s old: 11:00's may be late
    minutes = _range(structs.replace(order, timeframe="1m"), 1, Kept("candles_1m", None, None, NOW), BINANCE)
    assert minutes.to_ns == moment_ns(NOW) // MINUTE * MINUTE - 2 * MINUTE
