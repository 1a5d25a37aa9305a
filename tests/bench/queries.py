"""Queries on a year: 1m candles of 50 instruments, 5 million trades, books of 30 days.

Times are the server's own, planning included: `EXPLAIN (ANALYZE, TIMING OFF)`, whose planning and execution time are
added up; for a function the planning of what it runs is part of its execution. Each query runs on a connection that is
warm, in turns with the others, and the median counts. All ends at the midnight before today, and `at` says so.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, LiteralString

from psycopg import Connection, sql

from ingest.store.database import connect_sync
from tests.bench.harness import Bench, Figure, Group, number

GROUP = Group("queries")

INSTRUMENTS = 50
DAYS = 365
TRADES = 5_000_000
ROUNDS = 15

_END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
_MONTH = (_END - timedelta(days=60), _END - timedelta(days=30))
_LOADERS = 2

_INSTRUMENTS: tuple[LiteralString, ...] = (
    "INSERT INTO ingest.exchanges (name) VALUES ('binance')",
    (
        "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)"
        " SELECT exchange_id, 'C' || i || '/USDT', 'C' || i || 'USDT', 'spot', 'C' || i, 'USDT'"
        " FROM ingest.exchanges, generate_series(1, %(instruments)s) i"
    ),
)
# A day of each table, made once a connection and stored again for each day: making numbers takes longer than storing.
_PATTERNS: tuple[LiteralString, ...] = (
    """
    CREATE TEMP TABLE candles_of_a_day AS
    SELECT m * INTERVAL '1 minute' AS since, i::int AS instrument_id, p.o, greatest(p.o, p.c) + 0.55 AS h,
           least(p.o, p.c) - 0.35 AS l, p.c, p.v, p.v * p.o AS q, (10 + n %% 100)::bigint AS trades
    FROM (SELECT m, i, (m * 7919 + i * 104729) %% 9973 AS n
          FROM generate_series(0, 1439) m, generate_series(1, %(instruments)s) i) x,
         LATERAL (SELECT (6000000 / i + n) * 0.01 AS o, (6000000 / i + n * 31 %% 9973) * 0.01 AS c,
                         (1 + n) * 0.00013 AS v) p
    """,
    """
    CREATE TEMP TABLE trades_of_a_day AS
    SELECT g, g * INTERVAL '1 day' / %(trades)s AS since, (1 + g %% %(instruments)s)::int AS instrument_id,
           (CASE g %% 2 WHEN 0 THEN 'buy' ELSE 'sell' END)::ingest.side AS side,
           (6000000 / (1 + g %% %(instruments)s) + g * 7919 %% 9973) * 0.01 AS price,
           (1 + g * 31 %% 9973) * 0.00013 AS amount
    FROM generate_series(0, %(trades)s - 1) g
    """,
)
_STORE_A_DAY: tuple[LiteralString, ...] = (
    (
        "INSERT INTO ingest.candles_1m SELECT %(day)s::timestamptz + since, instrument_id, o, h, l, c, v, q,"
        " trades, v, q, 30,"
        " %(day)s::timestamptz + since + INTERVAL '61 s' FROM candles_of_a_day"
    ),
    (
        "INSERT INTO ingest.trades SELECT %(day)s::timestamptz + since, instrument_id, (%(number)s + g)::text,"
        " side, price, amount,"
        " %(day)s::timestamptz + since + INTERVAL '50 ms' FROM trades_of_a_day"
    ),
)
_STORE_BOOKS: LiteralString = """
INSERT INTO ingest.order_books (time, instrument_id, bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync,
received_at)
SELECT t, i, l.bids, l.amounts, l.asks, l.amounts, true, t
FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - INTERVAL '1 s', '30 minutes') t,
     generate_series(1, %(instruments)s) i,
     (SELECT array_agg(100 - n * 0.01) AS bids, array_agg(100.01 + n * 0.01) AS asks, array_agg(1 + n * 0.13) AS amounts
      FROM generate_series(0, 19) n) l
"""
# Apache: what maintenance makes level by level, straight from the minutes, so that the preparation stays short.
_ROLL_UP_HOURS: LiteralString = """
INSERT INTO ingest.candles_1h (time, instrument_id, open, high, low, close, volume, quote_volume, trades,
taker_buy_volume,
                               taker_buy_quote_volume, minutes)
SELECT time_bucket('1 hour', time), instrument_id, first(open, time), max(high), min(low), last(close, time),
sum(volume),
       sum(quote_volume), sum(trades)::bigint, sum(taker_buy_volume), sum(taker_buy_quote_volume), count(*)
FROM ingest.candles_1m WHERE time >= %(start)s AND time < %(end)s GROUP BY 1, 2
"""
_LEVELS = ("candles_5m", "candles_15m", "candles_30m", "candles_1h")
_ANALYZED: tuple[LiteralString, ...] = ("candles_1m", "candles_1h", "trades", "order_books")

# What an analyst would ask without a rollup, and with it.
_RAW_HOURS: LiteralString = """
SELECT time_bucket('1 hour', time), instrument_id, first(open, time), max(high), min(low), last(close, time),
sum(volume),
       sum(quote_volume), sum(trades) FROM market.candles_1m WHERE time >= {start} AND time < {end} GROUP BY 1, 2
"""
_ROLLED_HOURS: LiteralString = """
SELECT time, instrument_id, open, high, low, close, volume, quote_volume, trades FROM market.candles_1h
WHERE time >= {start} AND time < {end}
"""
_QUERIES: dict[str, LiteralString] = {
    "ohlcv_ms": "SELECT * FROM market.ohlcv('binance', 'C7/USDT', '1 hour', {start}, {end})",
    "latest_price_ms": "SELECT * FROM market.latest(at => {now})",
    "book_at_ms": "SELECT * FROM market.book_at('binance', 'C7/USDT', {now} - INTERVAL '25 minutes')",
    "last_trades_ms": "SELECT * FROM market.last_trades('binance', 'C7/USDT', 1000, {now})",
}
_LIMITS = {"ohlcv_ms": 5, "latest_price_ms": 10, "book_at_ms": 5, "last_trades_ms": 5}
_ROWS = {"ohlcv_ms": 720, "latest_price_ms": INSTRUMENTS, "book_at_ms": 20, "last_trades_ms": 1_000}


def prepare(url: str, say: Callable[[str], None], days: int = DAYS) -> None:
    """Fill a migrated database; `days` is the length of the year."""
    figures = {"instruments": INSTRUMENTS, "trades": TRADES // DAYS}
    with connect_sync(url, role="bench") as connection:
        for statement in _INSTRUMENTS:
            connection.execute(statement, figures if "%(" in statement else None)
    say(f"storing {days * 1440 * INSTRUMENTS:,} candles and {days * figures['trades']:,} trades")

    def store(loader: int) -> None:
        """Its share of the year, from its end: a chunk is filled by one loader."""
        with connect_sync(url, role=f"bench {loader}") as connection:
            connection.execute("SET synchronous_commit = off")
            for pattern in _PATTERNS:
                connection.execute(pattern, figures)
            for back in range(loader * days // _LOADERS, (loader + 1) * days // _LOADERS):
                day = _END - timedelta(days=back + 1)
                for statement in _STORE_A_DAY:
                    connection.execute(statement, {"day": day, "number": 10**9 - back * figures["trades"]})

    with ThreadPoolExecutor(_LOADERS) as pool:
        list(pool.map(store, range(_LOADERS)))
    say("rolling up")
    with connect_sync(url, role="bench") as connection:
        connection.execute("SET work_mem = '256MB'")
        times = {"start": _END - timedelta(days=days), "end": _END}
        connection.execute(_STORE_BOOKS, {**figures, **times, "start": _END - timedelta(days=min(days, 30))})
        if _is_community(connection):
            for level in _LEVELS:
                connection.execute(
                    "CALL refresh_continuous_aggregate(%s, %s, %s)", [f"ingest.{level}", times["start"], times["end"]]
                )
        else:
            for back in range(0, days, 30):  # a month a time is sorted in memory
                end = _END - timedelta(days=back)
                connection.execute(_ROLL_UP_HOURS, {"start": max(end - timedelta(days=30), times["start"]), "end": end})
        for table in _ANALYZED:
            connection.execute(sql.SQL("ANALYZE ingest.{}").format(sql.Identifier(table)))


def _is_community(connection: Connection) -> bool:
    return connection.execute("SHOW timescaledb.license").fetchone() == ("timescale",)


def server_ms(connection: Connection, statement: LiteralString) -> tuple[float, int]:
    """Planning and execution, and the number of rows."""
    start, end = _MONTH
    filled = sql.SQL(statement).format(start=start, end=end, now=_END)
    row = connection.execute(sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) {}").format(filled)).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]
    return plan["Planning Time"] + plan["Execution Time"], int(plan["Plan"]["Actual Rows"])


@GROUP.measures("rollup_speedup", *_QUERIES)
def queries(bench: Bench) -> Iterator[Figure]:
    with bench.database() as url:
        prepare(url, bench.say)
        with connect_sync(url, role="bench") as connection:
            yield _speedup(connection, bench.scale.pairs)
            for key, statement in _QUERIES.items():
                server_ms(connection, statement)
                times = []
                for _ in range(ROUNDS):
                    milliseconds, rows = server_ms(connection, statement)
                    times.append(milliseconds)
                    assert rows == _ROWS[key], f"{key}: {rows} rows"
                note = f"{rows:,} rows; {ROUNDS} rounds, {number(min(times))} to {number(max(times))}"
                yield Figure(key, median(times), "ms", at_most=_LIMITS[key], note=note)


def _speedup(connection: Connection, pairs: int) -> Figure:
    """Both sides run once before they count."""
    sides = [(server_ms(connection, _RAW_HOURS), server_ms(connection, _ROLLED_HOURS)) for _ in range(pairs + 1)][1:]
    assert all(raw[1] == rolled[1] == 720 * INSTRUMENTS for raw, rolled in sides)
    raw_ms, rolled_ms = (median(side[place][0] for side in sides) for place in (0, 1))
    ratios = [raw[0] / rolled[0] for raw, rolled in sides]
    note = f"{number(raw_ms)} and {number(rolled_ms)} ms; {pairs} pairs, {min(ratios):.0f} to {max(ratios):.0f}"
    return Figure("rollup_speedup", median(ratios), at_least=20, note=note)
