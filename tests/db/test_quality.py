"""Impossible rows of every table: through the writer they are put aside and cost nothing, by hand they are refused.

The writer's way is the same for all tables (`test_copy_bad_rows.py` has its corners); here each constraint is reached.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors, sql

from ingest.records import (
    Candle,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Row,
    Ticker,
    Trade,
)
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.rows import TABLES
from tests.conftest import Fetch
from tests.db.support import (
    NOON,
    book,
    candle,
    funding,
    liquidation,
    mark_price,
    open_interest,
    quote,
    stored_rejects,
    stored_tickers,
    ticker,
    trade,
)

_PRICES = ("0", "-1", "NaN", "Infinity", "-Infinity")
_AMOUNTS = ("-1", "NaN", "Infinity", "-Infinity")
_NO_NUMBER = ("NaN", "Infinity", "-Infinity")

Change = dict[str, Any]

GOOD: dict[type, Callable[..., Any]] = {
    Trade: trade,
    Candle: candle,
    OrderBook: book,
    Quote: quote,
    Ticker: ticker,
    Funding: funding,
    OpenInterest: open_interest,
    MarkPrice: mark_price,
    Liquidation: liquidation,
}


def each(name: str, values: tuple[str, ...]) -> list[Change]:
    return [{name: value} for value in values]


IMPOSSIBLE: dict[type, list[Change]] = {
    Trade: [*each("price", _PRICES), *each("amount", _PRICES)],
    Candle: [
        {"high": "89", "low": "90"},  # high < low
        {"high": "104"},  # below the close
        {"low": "101"},  # above the open
        *(change for name in ("high", "low", "close") for change in each(name, _PRICES)),
        *(change for name in ("volume", "quote_volume", "taker_buy_volume") for change in each(name, _AMOUNTS)),
        *each("taker_buy_quote_volume", _AMOUNTS),
        {"trades": -1},
        {"time_ns": NOON + 1_000},  # no minute opens there
    ],
    OrderBook: [
        *({side: ((value, "1"),)} for side in ("bids", "asks") for value in _PRICES),
        *({side: (("100", value),)} for side in ("bids", "asks") for value in _PRICES),
        *({side: (("NULL", "1"),)} for side in ("bids", "asks")),
        *({side: (("1", "NULL"),)} for side in ("bids", "asks")),
        *({side: (("1,2", "1"),)} for side in ("bids", "asks")),  # arrays of different lengths
        *({side: (("{1}", "{1}"),)} for side in ("bids", "asks")),  # of two dimensions
    ],
    Quote: [
        *(change for name in ("bid", "ask") for change in each(name, _PRICES)),
        *(change for name in ("bid_amount", "ask_amount") for change in each(name, _AMOUNTS)),
    ],
    Ticker: [
        {"high_24h": "93"},  # below the low
        *(
            change
            for name in ("last", "bid", "ask", "open_24h", "high_24h", "low_24h")
            for change in each(name, _AMOUNTS)
        ),
        *(change for name in ("bid_amount", "ask_amount", "volume_24h") for change in each(name, _AMOUNTS)),
        *each("quote_volume_24h", _AMOUNTS),
    ],
    Funding: each("rate", (*_NO_NUMBER, "", "0.01%")),
    OpenInterest: [*each("amount", _AMOUNTS), *each("value", _AMOUNTS)],
    MarkPrice: [*each("mark", _PRICES), *each("index", _PRICES)],
    Liquidation: [*each("price", _PRICES), *each("amount", _PRICES), {"side": "long"}],
}
CASES = [(kind, change) for kind, changes in IMPOSSIBLE.items() for change in changes]


@pytest.mark.parametrize("kind", IMPOSSIBLE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("staged", [False, True])
async def test_impossible_rows_are_put_aside(writer: CopyWriter, fetch: Fetch, kind: type, *, staged: bool) -> None:
    bad: list[Row] = [msgspec.structs.replace(GOOD[kind](), **change) for change in IMPOSSIBLE[kind]]
    good = GOOD[kind](instrument_id=2)
    written = await writer.write([*bad[:3], good, *bad[3:]], staged=staged)
    assert written == Written(1, 0, len(bad))
    rejected = stored_rejects(fetch)
    assert [msgspec.json.decode(row[4]) for row in rejected] == [
        msgspec.json.decode(msgspec.json.encode(b)) for b in bad
    ]
    assert {row[1] for row in rejected} == {"binance"}
    assert all(row[3] for row in rejected)
    table = sql.Identifier("ingest", TABLES[kind].name).as_string()
    assert fetch(f"SELECT DISTINCT instrument_id FROM {table}") == [(2,)]


BY_HAND = {
    "ingest.trades": {
        "base": "'2026-11-21', 1, 'a', 'buy', 5, 1, now()",
        "columns": "time, instrument_id, trade_id, side, price, amount, received_at",
        "price": _PRICES,
        "amount": _PRICES,
    },
    "ingest.candles_1m": {
        "base": "'2026-11-21', 1, 5, 6, 4, 5, 1, 20, now()",
        "columns": "time, instrument_id, open, high, low, close, volume, source, received_at",
        **dict.fromkeys(("open", "high", "low", "close"), _PRICES),
        "volume": _AMOUNTS,
        "time": ("infinity", "-infinity", "2026-11-21 00:00:01+00", "2026-11-21 00:00:00.000001+00"),
    },
    "ingest.candles_coarse": {
        "base": "'2026-11-21', 1, '1h', 5, 6, 4, 5, 1, 20, now()",
        "columns": "time, instrument_id, timeframe, open, high, low, close, volume, source, received_at",
        **dict.fromkeys(("open", "high", "low", "close"), _PRICES),
        "volume": _AMOUNTS,
        "time": ("infinity", "-infinity"),
        "timeframe": ("1m", "", "h"),
    },
    "ingest.quotes": {
        "base": "'2026-11-21', 1, 1, 5, 1, 6, 1, now()",
        "columns": "time, instrument_id, sequence, bid, bid_amount, ask, ask_amount, received_at",
        **dict.fromkeys(("bid", "ask"), _PRICES),
        **dict.fromkeys(("bid_amount", "ask_amount"), _AMOUNTS),
        "time": ("infinity", "-infinity"),
    },
    "ingest.tickers": {
        "base": "1, '2026-11-21', 5, 5, 1, 6, 1, 5, 7, 4, now()",
        "columns": "instrument_id, time, last, bid, bid_amount, ask, ask_amount, open_24h, high_24h, low_24h,"
        " received_at",
        **dict.fromkeys(("last", "bid", "ask", "open_24h", "high_24h", "low_24h"), _PRICES),
        **dict.fromkeys(("bid_amount", "ask_amount"), _AMOUNTS),
        "time": ("infinity", "-infinity"),
    },
    "ingest.order_books": {
        "base": "'2026-11-21', 1, '{2,1}', '{1,1}', '{3,4}', '{1,1}', true, now()",
        "columns": "time, instrument_id, bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync, received_at",
        **dict.fromkeys(
            ("bid_prices", "bid_amounts", "ask_prices", "ask_amounts"),
            (
                *(f"{{1,{value}}}" for value in (*_PRICES, "NULL")),
                *("{1}", "{}", "{1,2,3}", "{{1,2}}", "{{1},{2}}", "[0:1]={1,2}", "[2:3]={1,2}"),
            ),
        ),
        "time": ("infinity", "-infinity"),
    },
    "ingest.funding_rates": {
        "base": "'2026-11-21', 1, -0.5, '2026-11-21', now()",
        "columns": "time, instrument_id, rate, funding_time, received_at",
        "rate": _NO_NUMBER,
        **dict.fromkeys(("time", "funding_time"), ("infinity", "-infinity")),
    },
    "ingest.open_interest": {
        "base": "'2026-11-21', 1, 0, 0, now()",
        "columns": "time, instrument_id, amount, value, received_at",
        **dict.fromkeys(("amount", "value"), _AMOUNTS),
        "time": ("infinity", "-infinity"),
    },
    "ingest.mark_prices": {
        "base": "'2026-11-21', 1, 5, 6, now()",
        "columns": "time, instrument_id, mark, index_price, received_at",
        **dict.fromkeys(("mark", "index_price"), _PRICES),
        "time": ("infinity", "-infinity"),
    },
    "ingest.liquidations": {
        "base": "'2026-11-21', 1, 'sell', 5, 1, now()",
        "columns": "time, instrument_id, side, price, amount, received_at",
        **dict.fromkeys(("price", "amount"), _PRICES),
        "time": ("infinity", "-infinity"),
    },
}
HAND_CASES = [
    (table, name, value)
    for table, rules in BY_HAND.items()
    for name, values in rules.items()
    if name not in ("base", "columns")
    for value in values
]


def test_impossible_rows_are_refused_by_hand(database_url: str, instruments: object) -> None:
    accepted = []
    with psycopg.connect(database_url) as connection:
        for table, rules in BY_HAND.items():
            insert = f"INSERT INTO {table} ({rules['columns']}) SELECT {rules['base']}"
            connection.execute(insert.encode())  # the row itself is good
            connection.rollback()
        for table, name, value in HAND_CASES:
            columns = str(BY_HAND[table]["columns"])
            picked = ", ".join("%s" if column == name else f"b.{column}" for column in columns.split(", "))
            statement = (
                f"INSERT INTO {table} ({columns}) SELECT {picked} FROM"
                f" (VALUES ({BY_HAND[table]['base']})) AS v ({columns}),"
                f" LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(v)) AS b"
            )
            try:
                connection.execute(statement.encode(), [value])
            except (errors.CheckViolation, errors.DatetimeFieldOverflow):
                pass
            else:
                accepted.append((table, name, value))
            connection.rollback()
    assert accepted == []


def test_every_table_of_the_market_is_tried(fetch: Fetch) -> None:
    """A new table with prices or amounts belongs above; what is rolled up is made from rows that were checked."""
    found = fetch(
        "SELECT DISTINCT 'ingest.' || c.relname FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind = 'r'"
        " AND a.atttypid IN ('numeric'::regtype, 'numeric[]'::regtype)"
        " AND NOT EXISTS (SELECT FROM ingest.policies p WHERE p.table_name = c.relname AND p.source IS NOT NULL)"
    )
    assert {row[0] for row in found} - {"ingest.instruments", "ingest.exchange_status"} == set(BY_HAND)


async def test_a_venues_zero_is_no_price(writer: CopyWriter, fetch: Fetch) -> None:
    """Binance says 0 for the side of a book that is empty, and for an instrument that was never traded."""
    empty = msgspec.structs.replace(ticker(), bid="0.00000000", bid_amount="0.00000000", low_24h="0", high_24h="0")
    assert await writer.write([empty]) == Written(1, 0, 0)
    (row,) = stored_tickers(fetch)
    assert row[3:5] == (None, 0)
    assert row[8:10] == (None, None)
