"""The indicators equal TA-Lib's on the same candles, to 1e-9 of their size, and are NULL where TA-Lib has no value."""

import math
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pytest
import talib

from tests.conftest import Fetch
from tests.db.known_market import MINUTE, MONDAY

COUNT = 400
TOLERANCE = 1e-9
Series = list[float | None]


def _candles() -> list[tuple[Decimal, Decimal, Decimal, Decimal]]:
    """Open, high, low, close of a random walk, in cents; some minutes without any change."""
    chance = random.Random(11)  # noqa: S311 - the same walk each time
    close, walk = 6_400_000, []
    for _ in range(COUNT):
        opened = close + chance.choice((0, 0, -700, 900))
        close = opened + chance.choice((0, -1, 1)) * chance.randrange(0, 20_000)
        high = max(opened, close) + chance.randrange(0, 5_000)
        low = min(opened, close) - chance.randrange(0, 5_000)
        opened_, high_, low_, close_ = (Decimal(cents) / 100 for cents in (opened, high, low, close))
        walk.append((opened_, high_, low_, close_))
    return walk


CANDLES = _candles()
HIGHS, LOWS, CLOSES = (np.array([float(candle[place]) for candle in CANDLES]) for place in (1, 2, 3))


@pytest.fixture
def candles(database_url: str) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ingest.exchanges (name) VALUES ('binance')")
        cursor.execute(
            "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)"
            " SELECT exchange_id, 'BTC/USDT', 'BTCUSDT', 'spot', 'BTC', 'USDT' FROM ingest.exchanges"
        )
        cursor.executemany(
            "INSERT INTO ingest.candles_1m (instrument_id, time, open, high, low, close, volume, source, received_at)"
            " VALUES (1, %s, %s, %s, %s, %s, 1, 30, now())",
            [(MONDAY + number * MINUTE, *candle) for number, candle in enumerate(CANDLES)],
        )


Case = tuple[str, str, Callable[[], tuple[Any, ...]]]
CASES: list[Case] = [
    ("sma", "", lambda: (talib.SMA(CLOSES, 20),)),
    ("sma", ", period => 1", lambda: (CLOSES,)),
    ("sma", ", period => 7", lambda: (talib.SMA(CLOSES, 7),)),
    ("ema", "", lambda: (talib.EMA(CLOSES, 20),)),
    ("ema", ", period => 50", lambda: (talib.EMA(CLOSES, 50),)),
    ("rsi", "", lambda: (talib.RSI(CLOSES, 14),)),
    ("rsi", ", period => 2", lambda: (talib.RSI(CLOSES, 2),)),
    ("macd", "", lambda: talib.MACD(CLOSES, 12, 26, 9)),
    ("macd", ", fast => 5, slow => 35, smoothing => 4", lambda: talib.MACD(CLOSES, 5, 35, 4)),
    ("bollinger", "", lambda: talib.BBANDS(CLOSES, 20, 2, 2)[::-1]),
    ("bollinger", ", period => 10, deviations => 1.5", lambda: talib.BBANDS(CLOSES, 10, 1.5, 1.5)[::-1]),
    ("atr", "", lambda: (talib.TRANGE(HIGHS, LOWS, CLOSES), talib.ATR(HIGHS, LOWS, CLOSES, 14))),
    ("atr", ", period => 3", lambda: (talib.TRANGE(HIGHS, LOWS, CLOSES), talib.ATR(HIGHS, LOWS, CLOSES, 3))),
]


@pytest.mark.usefixtures("candles")
@pytest.mark.parametrize(("name", "arguments", "reference"), CASES)
def test_equal_to_the_reference(
    name: str, arguments: str, reference: Callable[[], tuple[Any, ...]], fetch: Fetch
) -> None:
    end = MONDAY + COUNT * MINUTE
    rows = fetch(
        f"SELECT * FROM market.{name}('binance', 'BTC/USDT', '1 minute', %s, %s{arguments})",
        MONDAY,
        end,
    )
    assert [row[:2] for row in rows] == [(MONDAY + n * MINUTE, candle[3]) for n, candle in enumerate(CANDLES)]
    columns: list[Series] = [
        [None if x is None else float(x) for x in column] for column in zip(*(row[2:] for row in rows), strict=True)
    ]
    wanted: list[Series] = [[None if math.isnan(x) else float(x) for x in series] for series in reference()]
    assert len(columns) == len(wanted)
    if name == "macd":  # TA-Lib holds the line back until its signal is there
        first = wanted[1].index(next(x for x in wanted[1] if x is not None))
        held = [number for number, x in enumerate(columns[0]) if x is not None and number < first]
        assert len(held) == first - next(n for n, x in enumerate(columns[0]) if x is not None)
        columns[0][:first] = [None] * first
    for column, series in zip(columns, wanted, strict=True):
        assert [x is None for x in column] == [x is None for x in series]
        # The difference of two averages is measured by what it is a difference of.
        scale = max(abs(x) for x in series if x is not None)
        for got, expected in zip(column, series, strict=True):
            if expected is not None:
                assert got == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE * scale)
    assert sum(x is not None for x in columns[-1]) > COUNT / 2


@pytest.mark.usefixtures("candles")
def test_an_unchanged_price_has_no_strength(fetch: Fetch) -> None:
    fetch("UPDATE ingest.candles_1m SET open = 5, high = 5, low = 5, close = 5")
    rows = fetch("SELECT rsi FROM market.rsi('binance', 'BTC/USDT', '1 minute', %s, %s)", MONDAY, MONDAY + 50 * MINUTE)
    assert rows == [(None,)] * 50
    bands = fetch(
        "SELECT DISTINCT lower, upper FROM market.bollinger('binance', 'BTC/USDT', '1 minute', %s, %s) WHERE"
        " middle = 5",
        MONDAY,
        MONDAY + 50 * MINUTE,
    )
    assert bands == [(5.0, 5.0)]


@pytest.mark.usefixtures("candles")
def test_too_few_candles_make_no_value(fetch: Fetch) -> None:
    for name in ("sma", "ema", "rsi", "macd", "bollinger", "atr"):
        rows = fetch(
            f"SELECT * FROM market.{name}('binance', 'BTC/USDT', '1 minute', %s, %s)",
            MONDAY,
            MONDAY + 3 * MINUTE,
        )
        assert [row[1] for row in rows] == [candle[3] for candle in CANDLES[:3]]
        assert {row[-1] for row in rows} == {None}
        early = MONDAY - timedelta(days=9)
        assert (
            fetch(
                f"SELECT * FROM market.{name}('binance', 'BTC/USDT', '1 minute', %s, %s)",
                early,
                early + MINUTE,
            )
            == []
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("sma('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', 0)", "period is 0"),
        ("ema('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', NULL)", "period is NULL"),
        ("rsi('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', 1)", "period is 1"),
        ("macd('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', 26, 12)", "slow is 12"),
        ("bollinger('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', -5)", "period is -5"),
        ("atr('binance', 'BTC/USDT', '1 minute', 'today', 'tomorrow', 100001)", "period is 100001"),
    ],
)
@pytest.mark.usefixtures("candles")
def test_a_period_that_is_none_is_refused(call: str, message: str, fetch: Fetch) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as caught:
        fetch(f"SELECT * FROM market.{call}")
    assert "Give a number of candles" in (caught.value.diag.message_hint or "")
