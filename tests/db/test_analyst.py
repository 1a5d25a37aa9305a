"""The analysts' functions, whole rows, on the market of `known_market`: what is expected is computed in
Python, or by hand.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import Fetch
from tests.db import known_market
from tests.db.known_market import DAY, HOLE, HOUR, MINUTE, MONDAY, SECOND, Candle, joined, minute, minutes, rolled

D = Decimal
END = MONDAY + 2 * HOUR
BTC = ("binance", "BTC/USDT")


@pytest.fixture(autouse=True)
def _market(database_url: str) -> None:
    known_market.load(database_url)


def ohlcv(
    fetch: Fetch, interval: str, since: datetime, until: datetime, *, fill: bool = False
) -> list[tuple[Any, ...]]:
    return fetch("SELECT * FROM market.ohlcv(%s, %s, %s, %s, %s, %s)", *BTC, interval, since, until, fill)


def rows(candles: list[Candle], since: datetime = MONDAY, until: datetime = END) -> list[tuple[Any, ...]]:
    return [candle.row for candle in candles if since <= candle.time < until]


# Candles


@pytest.mark.parametrize(
    ("interval", "length", "timeframe"),
    [
        ("1 minute", MINUTE, "1m"),
        ("5 minutes", 5 * MINUTE, "5m"),
        ("15 minutes", 15 * MINUTE, "15m"),
        ("30 minutes", 30 * MINUTE, "30m"),
        ("1 hour", HOUR, "1h"),
        ("4 hours", 4 * HOUR, "4h"),
        ("1 day", DAY, "1d"),
        ("1 week", 7 * DAY, "1w"),
        ("2 weeks", 14 * DAY, "1w"),
        ("3 days", 3 * DAY, "1d"),
        ("2 hours", 2 * HOUR, "1h"),
        ("45 minutes", 45 * MINUTE, "15m"),
        ("10 minutes", 10 * MINUTE, "5m"),
        ("7 minutes", 7 * MINUTE, "1m"),
        ("90 minutes", 90 * MINUTE, "30m"),
    ],
)
def test_any_interval_is_made_of_the_longest_timeframe_that_fits(
    interval: str, length: timedelta, timeframe: str, fetch: Fetch
) -> None:
    assert fetch("SELECT market.timeframe_for(%s)", interval) == [(timeframe,)]
    since = MONDAY - 30 * DAY
    assert ohlcv(fetch, interval, since, END) == rows(rolled(minutes(), length), since)


def test_months_begin_on_the_first(fetch: Fetch) -> None:
    fetch(
        "INSERT INTO ingest.candles_1d (time, instrument_id, open, high, low, close, volume, quote_volume, trades,"
        " taker_buy_volume, taker_buy_quote_volume, minutes) SELECT '2026-02-01', 1, 7, 8, 6, 7.5, 10, 70, 3,"
        " 5, 35, 1440"
        " WHERE current_setting('timescaledb.license') = 'apache'"
    )
    (march,) = joined({datetime(2026, 3, 1, tzinfo=UTC): minutes()})
    months = ohlcv(fetch, "1 month", MONDAY - 60 * DAY, END)
    assert fetch("SELECT market.timeframe_for('1 month'), market.timeframe_for('1 year')") == [("1d", "1d")]
    assert months[-1] == march.row
    if len(months) > 1:
        assert months[0] == (datetime(2026, 2, 1, tzinfo=UTC), D(7), D(8), D(6), D("7.5"), 10, 70, 3, 5, 35, 1440)


COARSE: LiteralString = (
    "INSERT INTO ingest.candles_coarse (instrument_id, timeframe, time, open, high, low, close, volume,"
    " quote_volume, trades,"
    " taker_buy_volume, taker_buy_quote_volume, source, received_at)"
    " VALUES (1, '1d', %s, 900, 2000, 800, 1500, 70, 700, 7, 35, 350, 30, '2026-03-20')"
)


def test_the_exchanges_own_candle_stands_where_minutes_are_missing(fetch: Fetch) -> None:
    whole = (900, 2000, 800, 1500, 70, 700, 7, 35, 350, None)
    fetch(COARSE, MONDAY - 3 * DAY)
    fetch(COARSE, MONDAY)
    (sunday, _) = rolled(minutes(), DAY)
    expected = [(MONDAY - 3 * DAY, *whole), sunday.row, (MONDAY, *whole)]
    assert ohlcv(fetch, "1 day", MONDAY - 9 * DAY, END) == expected
    seen = fetch(
        "SELECT time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume,"
        " minutes FROM market.candles WHERE instrument_id = 1 AND timeframe = '1d' ORDER BY time"
    )
    assert seen == expected
    two = ohlcv(fetch, "2 days", MONDAY - 9 * DAY, END)
    assert [row[1:5] for row in two] == [(900, 2000, 800, 1500), (sunday.open, 2000, 800, 1500)]
    assert ohlcv(fetch, "1 hour", MONDAY, END) == rows(rolled(minutes(), HOUR))


@pytest.mark.parametrize(("name", "length"), [("1m", MINUTE), ("5m", 5 * MINUTE), ("1h", HOUR), ("1w", 7 * DAY)])
def test_a_timeframes_view_is_what_ohlcv_returns(name: str, length: timedelta, fetch: Fetch) -> None:
    assert fetch(
        "SELECT time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,"
        " taker_buy_quote_volume, minutes"
        " FROM market.candles WHERE instrument_id = 1 AND timeframe = %s ORDER BY time",
        name,
    ) == ohlcv(fetch, str(length), MONDAY - 30 * DAY, END)


def test_candles_are_those_that_open_within_the_range(fetch: Fetch) -> None:
    since, until = MONDAY + 3 * MINUTE + SECOND, MONDAY + 21 * MINUTE
    assert ohlcv(fetch, "5 minutes", since, until) == rows(rolled(minutes(), 5 * MINUTE), MONDAY + 5 * MINUTE, until)
    assert ohlcv(fetch, "5 minutes", MONDAY, MONDAY) == []
    assert ohlcv(fetch, "1 minute", MONDAY, MONDAY + SECOND) == [minute(0).row]


def test_missing_candles_are_filled_with_the_close_before(fetch: Fetch) -> None:
    since, until = MONDAY + 28 * MINUTE, MONDAY + 37 * MINUTE
    close = minute(HOLE[0] - 1).close
    flat = [(MONDAY + n * MINUTE, close, close, close, close, D(0), D(0), 0, D(0), D(0), 0) for n in HOLE]
    stored = rows(minutes(), since, until)
    assert ohlcv(fetch, "1 minute", since, until) == stored
    assert ohlcv(fetch, "1 minute", since, until, fill=True) == sorted(stored + flat)
    # The close before the range serves as well, and before the first candle of all there is none.
    inside = MONDAY + HOLE[1] * MINUTE
    assert ohlcv(fetch, "1 minute", inside, inside + MINUTE, fill=True) == flat[1:2]
    first = MONDAY - 1 * MINUTE
    assert ohlcv(fetch, "1 minute", first - HOUR, MONDAY, fill=True) == [minute(-1).row]
    assert ohlcv(fetch, "1 hour", MONDAY + 5 * HOUR, MONDAY + 7 * HOUR, fill=True) == [
        (MONDAY + n * HOUR, *[minute(119).close] * 4, D(0), D(0), 0, D(0), D(0), 0) for n in (5, 6)
    ]


def test_filling_does_not_look_into_the_future(fetch: Fetch) -> None:
    ((latest,),) = fetch(
        "SELECT max(time) FROM market.ohlcv(%s, %s, '1 day', %s, now() + '9 days', true)", *BTC, MONDAY
    )
    assert latest == fetch("SELECT time_bucket('1 day', now())")[0][0]


def test_days_have_24_hours_whatever_the_session_thinks(database_url: str) -> None:
    """In Berlin 2026-03-29 has 23 hours."""
    days: LiteralString = (
        "SET timezone = 'Europe/Berlin'; SELECT count(*), count(DISTINCT extract(hour FROM time AT TIME ZONE 'UTC'))"
        " FROM market.ohlcv('binance', 'BTC/USDT', '1 day', '2026-03-10 00:00Z', '2026-04-10 00:00Z', true)"
    )
    with psycopg.connect(database_url) as connection:
        cursor = connection.execute(days)
        cursor.nextset()
        assert cursor.fetchall() == [(31, 1)]


def test_below_a_minute_candles_are_made_of_trades(fetch: Fetch) -> None:
    assert ohlcv(fetch, "30 seconds", MONDAY, MONDAY + 2 * MINUTE) == [
        # Of two trades in one microsecond the lower id, not the lesser text, was first.
        (MONDAY, 1000, 1001, 1000, D("1000.5"), 2, D("2000.875"), 3, D("0.75"), D("750.25"), None),
        (MONDAY + MINUTE, 1004, 1004, 1004, 1004, 2, 2008, 1, 2, 2008, None),
        (MONDAY + 90 * SECOND, 1003, 1003, 1002, 1002, D("1.75"), D("1754.5"), 2, None, None, None),
    ]
    filled = ohlcv(fetch, "30 seconds", MONDAY, MONDAY + MINUTE, fill=True)
    assert filled[1] == (MONDAY + 30 * SECOND, *[D("1000.5")] * 4, 0, 0, 0, 0, 0, 0)
    assert ohlcv(fetch, "90 seconds", MONDAY + 90 * SECOND, MONDAY + 2 * MINUTE) == [
        (MONDAY + 90 * SECOND, 1003, 1003, 1002, 1002, D("1.75"), D("1754.5"), 2, None, None, None)
    ]


# Prices


def test_vwap(fetch: Fetch) -> None:
    until = MONDAY + 4 * MINUTE
    bought = [(D(1000), D("0.5")), (D(1001), D("0.25")), (D("1000.5"), D("1.25")), (D(1004), D(2)), (D(1003), D(1))]
    bought += [(D(1002), D("0.75")), (D(1001), D(4))]
    value, volume = sum(p * a for p, a in bought), sum(a for _, a in bought)
    ((vwap,),) = fetch("SELECT market.vwap(%s, %s, %s, %s)", *BTC, MONDAY, until)
    assert vwap == pytest.approx(value / volume, rel=D("1e-18"))
    assert fetch("SELECT market.vwap(%s, %s, %s, %s)", *BTC, END, END + HOUR) == [(None,)]
    series = fetch("SELECT * FROM market.vwap(%s, %s, '1 hour', %s, %s)", *BTC, MONDAY, END)
    assert series == [
        (c.time, pytest.approx(c.quote_volume / c.volume, rel=D("1e-18")), c.volume, c.quote_volume, c.trades)
        for c in rolled(minutes()[1:], HOUR)
    ]


def test_twap(fetch: Fetch) -> None:
    """998 for a second, then 1001, 1000.5 from 20 s, 1004 from 61 s, 1003 from 90 s, 1002 from 119.5 s."""
    expected = (998 * D(1) + 1001 * D(19) + D("1000.5") * 41 + 1004 * D(29) + 1003 * D("29.5") + 1002 * D("0.5")) / 120
    ((twap,),) = fetch("SELECT market.twap(%s, %s, %s, %s)", *BTC, MONDAY, MONDAY + 2 * MINUTE)
    assert twap == pytest.approx(expected, rel=D("1e-18"))
    # Without a price before it the range begins with its first trade.
    ((eth,),) = fetch("SELECT market.twap('binance', 'ETH/USDT', %s, %s)", MONDAY, MONDAY + 65 * SECOND)
    assert eth == 50
    assert fetch("SELECT market.twap(%s, %s, %s, %s)", *BTC, MONDAY - DAY, MONDAY - HOUR) == [(None,)]
    closes = [minute(number if number not in HOLE else HOLE[0] - 1).close for number in range(60)]
    series = fetch("SELECT * FROM market.twap(%s, %s, '1 hour', %s, %s)", *BTC, MONDAY, MONDAY + HOUR)
    assert series == [(MONDAY, pytest.approx(sum(closes) / 60, rel=D("1e-18")), 55)]


def test_returns_and_volatility(fetch: Fetch) -> None:
    closes = {number: minute(number).close for number in range(-1, 6)}
    found = fetch("SELECT * FROM market.returns(%s, %s, '1 minute', %s, %s)", *BTC, MONDAY, MONDAY + 5 * MINUTE)
    logs = [float((closes[n] / closes[n - 1]).ln()) for n in range(5)]
    assert found == [
        (
            MONDAY + n * MINUTE,
            closes[n],
            pytest.approx(closes[n] / closes[n - 1] - 1, abs=D("1e-15")),
            pytest.approx(logs[n], rel=1e-12),
            1,
        )
        for n in range(5)
    ]
    volatility = sum(x * x for x in logs) ** 0.5
    assert fetch(
        "SELECT * FROM market.realized_volatility(%s, %s, '1 minute', %s, %s)", *BTC, MONDAY, MONDAY + 5 * MINUTE
    ) == [(5, pytest.approx(volatility, rel=1e-12), pytest.approx(volatility * (365 * 1440 / 5) ** 0.5, rel=1e-12))]


def test_returns_end_with_the_last_candle_and_begin_without_a_close(fetch: Fetch) -> None:
    found = fetch(
        "SELECT time, simple_return FROM market.returns('binance', 'ETH/USDT', '1 hour', %s, %s)", MONDAY, END + DAY
    )
    closes = [candle.close for candle in rolled(minutes(2), HOUR)]
    assert found == [(MONDAY, None), (MONDAY + HOUR, pytest.approx(closes[1] / closes[0] - 1, abs=D("1e-15")))]
    assert fetch("SELECT * FROM market.returns(%s, %s, '1 hour', %s, %s)", *BTC, END + DAY, END + 2 * DAY) == []
    assert fetch("SELECT * FROM market.realized_volatility(%s, %s, '1 hour', %s, %s)", *BTC, END, END + DAY) == []


def test_trade_flow(fetch: Fetch) -> None:
    assert fetch("SELECT * FROM market.trade_flow(%s, %s, '1 minute', %s, %s)", *BTC, MONDAY, MONDAY + 4 * MINUTE) == [
        (MONDAY, D("0.75"), D("1.25"), D("-0.5"), D("750.25"), D("1250.625"), 2, 1, 0, D("0.375")),
        (MONDAY + MINUTE, 2, 1, 1, 2008, 1003, 1, 1, 1, pytest.approx(D(2) / 3, abs=D("1e-18"))),
        (MONDAY + 3 * MINUTE, 0, 4, -4, 0, 4004, 0, 1, 0, 0),
    ]


def test_one_symbol_on_two_exchanges(fetch: Fetch) -> None:
    found = fetch("SELECT * FROM market.compare('BTC/USDT', '1 hour', %s, %s)", MONDAY, MONDAY + HOUR)
    here, there = rolled(minutes()[1:], HOUR)[0], rolled(minutes(3), HOUR)[0]
    volume, mean = here.volume + there.volume, (here.close + there.close) / 2
    assert found == [
        (
            MONDAY,
            exchange,
            c.close,
            c.volume,
            pytest.approx(c.quote_volume / c.volume, rel=D("1e-18")),
            pytest.approx(c.volume / volume, abs=D("1e-18")),
            pytest.approx(10000 * (c.close / mean - 1), abs=D("1e-12")),
        )
        for exchange, c in (("binance", here), ("kraken", there))
    ]


def test_latest(fetch: Fetch) -> None:
    def latest(at: datetime, **wanted: str | None) -> list[tuple[Any, ...]]:
        names = wanted.get("exchange"), wanted.get("symbol")
        return fetch("SELECT * FROM market.latest(%s, %s, %s)", *names, at)

    btc, eth, kraken = (("binance", "BTC/USDT", 1), ("binance", "ETH/USDT", 2), ("kraken", "BTC/USDT", 3))
    at = MONDAY + 105 * SECOND  # the tickers are of 60 s and 100 s, and the first minute's candles are closed
    trade = (D(1003), MONDAY + 90 * SECOND, "trade")
    assert latest(at) == [
        (*btc, *trade),
        (*eth, D("51.5"), MONDAY + 100 * SECOND, "ticker"),
        (*kraken, D(1005), MONDAY + 70 * SECOND, "trade"),
    ]
    assert latest(at, exchange="kraken") == [(*kraken, D(1005), MONDAY + 70 * SECOND, "trade")]
    assert [row[:2] for row in latest(at, symbol="BTC/USDT")] == [btc[:2], kraken[:2]]
    assert latest(at, exchange="binance", symbol="BTC/USDT") == [(*btc, *trade)]
    hour = MONDAY + HOUR
    assert latest(hour, exchange="binance", symbol="BTC/USDT") == [(*btc, minute(59).close, hour, "candle")]
    assert latest(END + 3 * DAY) == [(*names, None, None, None) for names in (btc, eth, kraken)]


def test_last_trades(fetch: Fetch) -> None:
    mine = [
        (MONDAY + at * SECOND, id_, side, D(price), D(amount))
        for n, at, id_, side, price, amount in known_market.TRADES
        if n == 1
    ]
    assert fetch("SELECT * FROM market.last_trades(%s, %s)", *BTC) == mine[::-1]
    assert fetch("SELECT * FROM market.last_trades(%s, %s, 3)", *BTC) == mine[:-4:-1]
    assert fetch("SELECT * FROM market.last_trades(%s, %s, 2, %s)", *BTC, MONDAY + 20 * SECOND) == mine[2:0:-1]
    assert fetch("SELECT * FROM market.last_trades(%s, %s, 5, %s)", *BTC, MONDAY - MINUTE) == []


def test_candle_check(fetch: Fetch) -> None:
    fetch(
        "UPDATE ingest.candles_1m SET source = 0, received_at = time + interval '5 s' WHERE time = %s",
        MONDAY + 5 * MINUTE,
    )
    found = fetch(
        "SELECT time, verdict, differs, covered, open, trades_open, volume, trades_volume, trades, trades_trades"
        " FROM market.candle_check(%s, %s, %s, %s)",
        *BTC,
        MONDAY - MINUTE,
        MONDAY + 6 * MINUTE,
    )
    nothing = (None, None, None)
    sunday, first, second, third, fourth, fifth = (minute(n) for n in range(-1, 5))

    def row(c: Candle, verdict: str, differs: list[str], covered: bool, *trades: Any) -> tuple[Any, ...]:
        o, v, n = trades
        return (c.time, verdict, differs, covered, c.open, o, c.volume, v, c.trades, n)

    everything = ["open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume"]
    assert found == [
        row(sunday, "differs", [*everything, "taker_buy_quote_volume"], False, D(998), D(1), 1),
        row(first, "differs", [*everything[1:], "taker_buy_quote_volume"], True, D(1000), D(2), 3),
        row(
            second, "differs", everything[1:6], True, D(1004), D("3.75"), 3
        ),  # a side that is not told: no taker's volume
        row(third, "no trades", [], True, *nothing),
        row(fourth, "differs", [*everything, "taker_buy_quote_volume"], True, D(1001), D(4), 1),
        row(fifth, "no trades", [], True, *nothing),
    ]


def test_a_candle_that_is_its_trades(fetch: Fetch) -> None:
    fetch(
        "INSERT INTO ingest.candles_1m (time, instrument_id, open, high, low, close, volume, quote_volume, trades,"
        " taker_buy_volume, taker_buy_quote_volume, source, received_at)"
        " SELECT time, 1, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,"
        " taker_buy_quote_volume, 30,"
        " time + interval '1 minute' FROM market.trade_candles_1m WHERE instrument_id = 1 AND time = %s"
        " ON CONFLICT (instrument_id, time) DO UPDATE SET open = excluded.open, high = excluded.high, low ="
        " excluded.low,"
        " close = excluded.close, volume = excluded.volume, quote_volume = excluded.quote_volume, trades ="
        " excluded.trades,"
        " taker_buy_volume = excluded.taker_buy_volume, taker_buy_quote_volume = excluded.taker_buy_quote_volume",
        MONDAY,
    )
    fetch("DELETE FROM ingest.candles_1m WHERE time = %s", MONDAY + MINUTE)
    found = fetch(
        "SELECT time, verdict, differs FROM market.candle_check(%s, %s, %s, %s)", *BTC, MONDAY, MONDAY + 2 * MINUTE
    )
    assert found == [(MONDAY, "equal", []), (MONDAY + MINUTE, "no candle", [])]


# Who may, and who asks wrongly

CALLS: list[LiteralString] = [
    "ohlcv('binance', 'BTC/USDT', '7 minutes', '2026-03-02', '2026-03-03', true)",
    "ohlcv('binance', 'BTC/USDT', '10 seconds', '2026-03-02', '2026-03-03', true)",
    "vwap('binance', 'BTC/USDT', '2026-03-02', '2026-03-03')",
    "vwap('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "twap('binance', 'BTC/USDT', '2026-03-02', '2026-03-03')",
    "twap('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "returns('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "realized_volatility('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "spread('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "depth('binance', 'BTC/USDT', 10, '2026-03-02 00:00:25Z')",
    "book_at('binance', 'BTC/USDT', '2026-03-02 00:00:25Z')",
    "slippage('binance', 'BTC/USDT', 'buy', 1, '2026-03-02 00:00:25Z')",
    "trade_flow('binance', 'BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "compare('BTC/USDT', '1 hour', '2026-03-02', '2026-03-03')",
    "latest(at => '2026-03-02 00:02Z')",
    "last_trades('binance', 'BTC/USDT')",
    "candle_check('binance', 'BTC/USDT', '2026-03-02', '2026-03-03')",
    "sma('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "ema('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "rsi('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "macd('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "bollinger('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "atr('binance', 'BTC/USDT', '1 minute', '2026-03-02', '2026-03-03')",
    "coverage('binance', 'BTC/USDT', 'trades', '2026-03-02', '2026-03-03')",
    "coverage_summary('binance', 'BTC/USDT', 'trades', '2026-03-02', '2026-03-03')",
]


def test_who_may_read_market_alone_may_call_everything(database_url: str) -> None:
    role = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role}".encode())
        try:
            connection.execute(f"GRANT USAGE ON SCHEMA market TO {role}".encode())
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA market TO {role}".encode())
            connection.execute(f"SET ROLE {role}".encode())
            connection.execute("SET search_path = pg_catalog")
            for call in CALLS:
                assert connection.execute(f"SELECT * FROM market.{call}".encode()).fetchall(), call
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM ingest.trades")
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def test_every_function_of_market_is_called_here(fetch: Fetch) -> None:
    found = {row[0] for row in fetch("SELECT proname::text FROM pg_proc WHERE pronamespace = 'market'::regnamespace")}
    called = {call.partition("(")[0] for call in CALLS}
    beneath = {"must_find", "instrument_id", "nearest", "coverage_of", "check_range", "check_period", "smooth", "step"}
    assert found - called == beneath | {"first_bucket", "timeframe_for", "timeframe_length", "book_in_force"}


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ("ohlcv('binanc', 'BTC/USDT', '1 hour', 'today', 'now')", 'no exchange "binanc"', 'Did you mean "binance"?'),
        ("ohlcv('binance', 'BTCUSDT', '1 hour', 'today', 'now')", 'no symbol "BTCUSDT"', 'Did you mean "BTC/USDT"?'),
        ("vwap('binance', 'XBT', 'today', 'now')", 'no symbol "XBT"', "market.instruments"),
        ("book_at('binance', 'ETH')", 'no symbol "ETH"', 'Did you mean "ETH/USDT"?'),
        ("latest('krakn')", 'no exchange "krakn"', 'Did you mean "kraken"?'),
        ("latest('kraken', 'ETH/USDT')", 'no symbol "ETH/USDT"', "BTC/USDT"),
        (
            "compare('BTCUSD', '1 hour', 'today', 'now')",
            'no exchange has a symbol "BTCUSD"',
            'Did you mean "BTC/USDT"?',
        ),
        ("ohlcv('binance', 'BTC/USDT', '0', 'today', 'now')", "the interval is 00:00:00", "above zero"),
        ("ohlcv('binance', 'BTC/USDT', '-1 hour', 'today', 'now')", "the interval is -01:00:00", "above zero"),
        ("ohlcv('binance', 'BTC/USDT', '1 month 1 day', 'today', 'now')", "mixes months", "whole months"),
        ("ohlcv('binance', 'BTC/USDT', '1 hour', 'tomorrow', 'today')", "is none", "two moments in order"),
        ("ohlcv('binance', 'BTC/USDT', '1 hour', '-infinity', 'today')", "is none", "two moments in order"),
        ("ohlcv('binance', 'BTC/USDT', '1 hour', NULL, 'today')", "from NULL", "two moments in order"),
        ("trade_flow('binance', 'BTC/USDT', NULL, 'today', 'now')", "the interval is NULL", "above zero"),
        ("slippage('binance', 'BTC/USDT', 'bid', 1)", 'no side "bid"', "buy or sell"),
        ("slippage('binance', 'BTC/USDT', 'buy', 0)", "the amount is 0", "above zero"),
        ("slippage('binance', 'BTC/USDT', 'buy', 'NaN')", "the amount is NaN", "above zero"),
        ("depth('binance', 'BTC/USDT', -1)", "bps is -1", "hundredths"),
        ("book_at('binance', 'BTC/USDT', 'now', '0')", "max_age is 00:00:00", "how old"),
        ("last_trades('binance', 'BTC/USDT', 0)", "count is 0", "from 1 on"),
    ],
)
def test_what_is_wrong_is_said_with_a_hint(call: LiteralString, message: str, hint: str, fetch: Fetch) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        fetch(f"SELECT * FROM market.{call}")
    assert message in (caught.value.diag.message_primary or "")
    assert hint in (caught.value.diag.message_hint or "")
