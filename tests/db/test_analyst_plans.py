"""What the analysts' functions read: few chunks, by the key, whatever the history. Seen through
auto_explain-free means:
the counters of the chunks' indexes and tables, which a plan that scans more than it should moves.
"""

from collections.abc import Callable
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Fetch
from tests.db.known_market import DAY, HOUR, MONDAY

DAYS = 40
END = MONDAY + DAYS * DAY

_FILL: tuple[LiteralString, ...] = (
    "INSERT INTO ingest.exchanges (name) VALUES ('binance')",
    (
        "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)"
        " SELECT exchange_id, 'C' || i || '/USDT', 'C' || i || 'USDT', 'spot', 'C' || i, 'USDT'"
        " FROM ingest.exchanges, generate_series(1, 3) i"
    ),
    (
        "INSERT INTO ingest.candles_1m (time, instrument_id, open, high, low, close, volume, source, received_at)"
        " SELECT t, i, 1, 1, 1, 1, 1, 30, t + interval '1 minute'"
        " FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 s', '20 minutes') t,"
        " generate_series(1, 3) i"
    ),
    (
        "INSERT INTO ingest.trades (time, instrument_id, trade_id, side, price, amount, received_at)"
        " SELECT t, i, extract(epoch FROM t)::bigint::text, 'buy', 1, 1, t"
        " FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 s', '2 minutes') t,"
        " generate_series(1, 3) i"
    ),
    (
        "INSERT INTO ingest.order_books (time, instrument_id, bid_prices, bid_amounts, ask_prices, ask_amounts,"
        " in_sync, received_at)"
        " SELECT t, i, '{1}', '{1}', '{2}', '{1}', true, t"
        " FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 s', '5 minutes') t,"
        " generate_series(1, 3) i"
    ),
    "ANALYZE ingest.candles_1m",
    "ANALYZE ingest.trades",
    "ANALYZE ingest.order_books",
)
_COUNTERS: LiteralString = """
SELECT h.hypertable_name::text, format('%%s.%%s', c.chunk_schema, c.chunk_name), t.seq_scan, t.idx_scan, t.idx_tup_fetch
FROM timescaledb_information.hypertables h
JOIN timescaledb_information.chunks c USING (hypertable_schema, hypertable_name)
JOIN pg_stat_all_tables t ON t.schemaname = c.chunk_schema AND t.relname = c.chunk_name
WHERE h.hypertable_name = %s
"""

Read = Callable[[str, LiteralString], tuple[int, int, int]]


@pytest.fixture
def read(database_url: str) -> Read:
    """How many chunks of a table a call read by index, how many rows, and how many chunks it scanned whole."""
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        for statement in _FILL:
            connection.execute(statement, {"start": MONDAY, "end": END} if "%(" in statement else None)

    def counted(table: str, call: LiteralString) -> tuple[int, int, int]:
        with psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC") as connection:

            def counters() -> dict[str, tuple[int, int, int]]:
                connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
                rows = connection.execute(_COUNTERS, [table]).fetchall()
                return {chunk: tuple(x or 0 for x in numbers) for _, chunk, *numbers in rows}  # type: ignore[misc]

            # Small chunks are cheaper to scan whole; how a big history is read is what matters.
            connection.execute("SET enable_seqscan = off")
            before = counters()
            connection.execute(sql.SQL(call)).fetchall()
            after = counters()
        moved = [tuple(b - a for a, b in zip(before[chunk], after[chunk], strict=True)) for chunk in after]
        return sum(m[1] > 0 for m in moved), sum(m[2] for m in moved), sum(m[0] > 0 for m in moved)

    return counted


def test_each_reads_its_own_chunks_by_the_key(read: Read, fetch: Fetch) -> None:
    assert len(fetch("SELECT show_chunks('ingest.trades')")) == DAYS
    cases: list[tuple[str, LiteralString, int, int]] = [
        # 274 bars of one instrument, not of three
        (
            "candles_1m",
            "SELECT * FROM market.ohlcv('binance', 'C1/USDT', '20 minutes', '2026-03-05', '2026-03-06')",
            1,
            0,
        ),
        (
            "candles_1m",
            "SELECT * FROM market.ohlcv('binance', 'C1/USDT', '1 minute', '2026-03-05', '2026-03-06')",
            1,
            72,
        ),
        (
            "candles_1m",
            "SELECT * FROM market.ohlcv('binance', 'C1/USDT', '7 minutes', '2026-03-05', '2026-03-06')",
            1,
            72,
        ),
        ("trades", "SELECT market.vwap('binance', 'C2/USDT', '2026-03-05', '2026-03-06')", 1, 720),
        (
            "trades",
            "SELECT * FROM market.trade_flow('binance', 'C2/USDT', '1 hour', '2026-03-05', '2026-03-06')",
            1,
            720,
        ),
        ("trades", "SELECT * FROM market.last_trades('binance', 'C3/USDT', 1000, '2026-04-11')", 2, 1000),
        ("trades", "SELECT * FROM market.latest('binance', 'C3/USDT', '2026-04-10 23:59:59Z', '10 hours')", 1, 1),
        ("candles_1m", "SELECT * FROM market.latest('binance', 'C3/USDT', '2026-04-10 23:59:59Z', '10 hours')", 1, 1),
        ("order_books", "SELECT * FROM market.book_at('binance', 'C1/USDT', '2026-03-20 10:00Z')", 1, 1),
        ("order_books", "SELECT * FROM market.depth('binance', 'C1/USDT', 10, '2026-03-20 10:00Z')", 1, 1),
        ("order_books", "SELECT * FROM market.slippage('binance', 'C1/USDT', 'buy', 1, '2026-03-20 10:00Z')", 1, 1),
        (
            "order_books",
            "SELECT * FROM market.spread('binance', 'C1/USDT', '1 hour', '2026-03-20', '2026-03-21')",
            1,
            288,
        ),
    ]
    for table, call, chunks, wanted in cases:
        by_index, rows, whole = read(table, call)
        assert whole == 0, call
        assert by_index <= chunks, call
        assert rows <= wanted + 2, call  # a row or two are looked at and left


def test_the_rollup_is_read_instead_of_the_minutes(read: Read, fetch: Fetch) -> None:
    assert fetch("SELECT market.timeframe_for('1 hour')") == [("1h",)]
    call: LiteralString = "SELECT * FROM market.ohlcv('binance', 'C1/USDT', '2 hours', '2026-03-05', '2026-04-05')"
    assert read("candles_1m", call) == (0, 0, 0)
    assert END - MONDAY > 30 * 24 * HOUR
