"""Functions and views over order books, whole rows worked out by hand from the snapshots of `known_market.BOOKS`."""

from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Fetch
from tests.db import known_market
from tests.db.known_market import HOUR, MINUTE, MONDAY, SECOND

D = Decimal
AT = MONDAY + 25 * SECOND
"""The snapshot of 20 s is in force: bids 999.5 × 1.5, 999 × 1; asks 1000.5 × 2, 1001 × 3, 1003 × 1."""
FORCE = MONDAY + 20 * SECOND
BTC = ("binance", "BTC/USDT")


@pytest.fixture(autouse=True)
def _market(database_url: str) -> None:
    known_market.load(database_url)


def about(value: Decimal | float) -> Any:
    return pytest.approx(value, abs=D("1e-12"))


def test_the_book_at_a_moment(fetch: Fetch) -> None:
    book = "SELECT * FROM market.book_at(%s, %s, %s)"
    assert fetch(book, *BTC, AT) == [
        (FORCE, 1, D("999.5"), D("1.5"), D("1.5"), D("1000.5"), 2, 2),
        (FORCE, 2, 999, 1, D("2.5"), 1001, 3, 5),
        (FORCE, 3, None, None, None, 1003, 1, 6),
    ]
    assert [row[0] for row in fetch(book, *BTC, FORCE)] == [FORCE] * 3  # the moment itself belongs to it
    before = MONDAY + 10 * SECOND
    assert [row[0] for row in fetch(book, *BTC, FORCE - SECOND)] == [before] * 3
    # What was out of sync at 30 s is not traded on: the one before it is in force until max_age.
    assert [row[0] for row in fetch(book, *BTC, MONDAY + 60 * SECOND)] == [FORCE] * 3
    assert fetch(book, *BTC, MONDAY + HOUR) == []
    assert fetch("SELECT * FROM market.book_at(%s, %s, %s, '5 seconds')", *BTC, AT) == []
    assert fetch("SELECT time, level FROM market.book_at(%s, %s, %s, '2 hours')", *BTC, MONDAY + HOUR) == [
        (MONDAY + 70 * SECOND, 1),
        (MONDAY + 70 * SECOND, 2),
    ]


def test_depth(fetch: Fetch) -> None:
    """Mid 1000: 5 bps are 999.5 to 1000.5, both included."""
    depth = "SELECT * FROM market.depth(%s, %s, %s, %s)"
    assert fetch(depth, *BTC, 5, AT) == [
        (FORCE, 1000, D("1.5"), 2, D("1499.25"), 2001, about(D("1.5") / D("3.5")), True, True)
    ]
    assert fetch(depth, *BTC, 10, AT) == [
        (FORCE, 1000, D("2.5"), 5, D("2498.25"), 5004, about(D("2.5") / D("7.5")), False, True)
    ]
    assert fetch(depth, *BTC, 30, AT) == [
        (FORCE, 1000, D("2.5"), 6, D("2498.25"), 6007, about(D("2.5") / D("8.5")), False, False)
    ]
    assert fetch(depth, *BTC, 0, AT) == [(FORCE, 1000, 0, 0, 0, 0, None, True, True)]
    assert fetch(depth, "kraken", "BTC/USDT", 10, AT) == []  # a side is empty: there is no mid


@pytest.mark.parametrize(
    ("side", "amount", "filled", "value", "best", "worst", "levels"),
    [
        ("buy", "1", "1", "1000.5", "1000.5", "1000.5", 1),
        ("buy", "2", "2", "2001", "1000.5", "1000.5", 1),
        ("buy", "4", "4", "4003", "1000.5", "1001", 2),
        ("buy", "6", "6", "6007", "1000.5", "1003", 3),
        ("buy", "7.5", "6", "6007", "1000.5", "1003", 3),
        ("sell", "1.5", "1.5", "1499.25", "999.5", "999.5", 1),
        ("sell", "2", "2", "1998.75", "999.5", "999", 2),
        ("sell", "100", "2.5", "2498.25", "999.5", "999", 2),
    ],
)
def test_slippage(
    side: str, amount: str, filled: str, value: str, best: str, worst: str, levels: int, fetch: Fetch
) -> None:
    average = D(value) / D(filled)
    sign = 1 if side == "buy" else -1
    assert fetch("SELECT * FROM market.slippage(%s, %s, %s, %s, %s)", *BTC, side, D(amount), AT) == [
        (
            FORCE,
            D(filled),
            D(value),
            about(average),
            D(best),
            D(worst),
            1000,
            about(10000 * sign * (average - D(best)) / D(best)),
            about(10000 * sign * (average - 1000) / 1000),
            levels,
        )
    ]


def test_slippage_without_a_book_or_a_side(fetch: Fetch) -> None:
    slippage = "SELECT * FROM market.slippage(%s, %s, %s, 1, %s)"
    assert fetch(slippage, *BTC, "buy", MONDAY) == []
    assert fetch(slippage, "kraken", "BTC/USDT", "sell", AT) == []
    ((time, filled, *_, mid, _bps, cost, _levels),) = fetch(slippage, "kraken", "BTC/USDT", "buy", AT)
    assert (time, filled, mid, cost) == (MONDAY + 15 * SECOND, 1, None, None)


def test_spread(fetch: Fetch) -> None:
    """2, 1 and 2 wide at mids 1000, 1000 and 1004; what is out of sync does not count."""
    bps = [D(20), D(10), D(20000) / 1004]
    assert fetch("SELECT * FROM market.spread(%s, %s, '1 minute', %s, %s)", *BTC, MONDAY, MONDAY + HOUR) == [
        (MONDAY, 2, D("1.5"), 15, 10, 20),
        (MONDAY + MINUTE, 1, 2, *[about(bps[2])] * 3),
    ]
    assert fetch("SELECT * FROM market.spread(%s, %s, '1 hour', %s, %s)", *BTC, MONDAY, MONDAY + HOUR) == [
        (MONDAY, 3, about(D(5) / 3), about(sum(bps) / 3), 10, 20)
    ]
    assert fetch("SELECT * FROM market.spread('kraken', 'BTC/USDT', '1 hour', %s, %s)", MONDAY + 11 * SECOND, AT) == []


def test_summary(fetch: Fetch) -> None:
    found = fetch("SELECT * FROM market.order_book_summary WHERE instrument_id IN (1, 3) ORDER BY instrument_id, time")
    btc, kraken = ("binance", "BTC/USDT", 1), ("kraken", "BTC/USDT", 3)
    at = {seconds: MONDAY + seconds * SECOND for seconds in (10, 15, 20, 30, 70)}
    half, most = D("1002.5"), D("2.5") / D("8.5")
    assert found == [
        (at[10], *btc, 999, 1001, 1000, 2, 20, 3, 3, 8, 6, 7945, D("6043.5"), about(D(8) / 14), True),
        (at[20], *btc, D("999.5"), D("1000.5"), 1000, 1, 10, 2, 3, D("2.5"), 6, D("2498.25"), 6007, about(most), True),
        (at[30], *btc, 900, 1100, 1000, 200, 2000, 1, 1, 1, 1, 900, 1100, D("0.5"), False),
        (at[70], *btc, 1003, 1005, 1004, 2, about(D(20000) / 1004), 1, 2, 2, 4, 2006, 4022, about(D(2) / 6), True),
        (at[10], *kraken, 1002, 1003, half, 1, about(10000 / half), 2, 1, 2, 1, 2001, 1003, about(D(2) / 3), True),
        (at[15], *kraken, None, 1003, None, None, None, 0, 1, 0, 1, 0, 1003, 0, True),
    ]  # fmt: skip


def test_levels(fetch: Fetch) -> None:
    found = fetch(
        "SELECT * FROM market.order_book_levels WHERE instrument_id = 1 AND time = %s ORDER BY side DESC, level", FORCE
    )
    head = (FORCE, "binance", "BTC/USDT", 1)
    assert found == [
        (*head, "bid", 1, D("999.5"), D("1.5"), D("1.5"), D("1499.25"), 5, True),
        (*head, "bid", 2, 999, 1, D("2.5"), D("2498.25"), 10, True),
        (*head, "ask", 1, D("1000.5"), 2, 2, 2001, 5, True),
        (*head, "ask", 2, 1001, 3, 5, 5004, 10, True),
        (*head, "ask", 3, 1003, 1, 6, 6007, 30, True),
    ]
