"""What compression leaves of a row, indexes included: of trades, candles, books. TimescaleDB Community alone has it."""

import os
import random
from collections.abc import Iterator
from typing import LiteralString

from psycopg import Connection, sql

from ingest.records import Side, Trade
from ingest.store.database import connect_sync
from ingest.store.rows import TABLES, encode_trades
from tests.bench import digits
from tests.bench.harness import Bench, Figure, Group, number
from tests.bench.server import Databases
from tests.bench.writer import START_NS

GROUP = Group("compression")

TRADES = 1_000_000

_TRADED = 10


def fills(count: int) -> Iterator[Trade]:
    """Trades as Binance's spot market makes them: a taker's order meets one resting order after another, all in one
    microsecond and at prices of the tick that get worse; amounts are of the lot's step, most of them small, with eight
    digits after the point; ids are contiguous; a machine receives the fills of an order within some microseconds.
    """
    chance = random.Random(7)  # noqa: S311 - the same rows each time
    ticks = [6_400_000 // (index + 1) for index in range(_TRADED)]
    numbers = [3_000_000_000 + 100_000_000 * index for index in range(_TRADED)]
    time_us, made = START_NS // 1_000, 0
    while made < count:
        index, sign = chance.randrange(_TRADED), chance.choice((-1, 1))
        side: Side = "buy" if sign > 0 else "sell"
        time_us += int(chance.expovariate(1 / 4_000)) + 1
        received_us = time_us + chance.randrange(8_000, 60_000)
        for _ in range(min(count - made, 1 + int(chance.expovariate(0.8)))):
            numbers[index] += 1
            made += 1
            lots = 1 + int(chance.lognormvariate(5.5, 2.0))
            price, amount = (
                f"{ticks[index] // 100}.{ticks[index] % 100:02}000000",
                f"{lots // 10**5}.{lots % 10**5:05}000",
            )
            times = time_us * 1_000, received_us * 1_000
            yield Trade(index + 1, times[0], str(numbers[index]), side, price, amount, times[1])
            received_us += chance.randrange(15, 60)
            ticks[index] += sign * chance.choice((0, 0, 1))


_NO_JOBS = "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
_COPY = sql.SQL("COPY ingest.trades ({}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, TABLES[Trade].columns))
)
_OTHERS: dict[str, LiteralString] = {
    "candles_1m": """
        INSERT INTO ingest.candles_1m
        SELECT t, i, p.o, greatest(p.o, p.c) + n % 57 * 0.01, least(p.o, p.c) - n % 43 * 0.01, p.c, p.v, p.v *
        p.o, 10 + n % 977,
               p.v * 0.5, p.v * p.o * 0.5, 30, t + INTERVAL '61 s'
        FROM (SELECT t, i, ((extract(epoch FROM t)::bigint / 60 * 7919 + i * 104729) % 99991)::int AS n
              FROM generate_series(timestamptz '2026-03-02', timestamptz '2026-03-12', '1 minute') t,
              generate_series(1, 10) i) x,
             LATERAL (SELECT (6000000 / i + n % 997) * 0.01 AS o, (6000000 / i + n * 31 % 997) * 0.01 AS c,
                             (1 + n * 7 % 99991) * 0.00013 AS v) p
    """,
    "order_books": """
        INSERT INTO ingest.order_books (time, instrument_id, bid_prices, bid_amounts, ask_prices, ask_amounts,
        in_sync, received_at)
        SELECT t, i, l.bids, l.bid_amounts, l.asks, l.ask_amounts, true, t + INTERVAL '9 ms'
        FROM generate_series(timestamptz '2026-03-02', timestamptz '2026-03-02 01:00', '1 second') t,
        generate_series(1, 10) i,
             LATERAL (SELECT array_agg(64000.00 + s % 97 * 0.01 - n * 0.01) AS bids,
                             array_agg(64000.01 + s % 97 * 0.01 + n * 0.01) AS asks,
                             array_agg((1 + (s / (n + 1) * 7919 + n * 31) % 99991) * 0.00001) AS bid_amounts,
                             array_agg((1 + (s / (n + 1) * 104729 + n * 37) % 99991) * 0.00001) AS ask_amounts
                      FROM (SELECT extract(epoch FROM t)::bigint + i AS s) x, generate_series(0, 19) n) l
    """,
}


@GROUP.measures("bytes_per_trade_compressed")
def compression(bench: Bench) -> Iterator[Figure]:
    """On the Community server of TEST_COMMUNITY_DATABASE_URL; without one there is no figure."""
    server = os.environ.get("TEST_COMMUNITY_DATABASE_URL")
    if not server:
        bench.say("skipped: compression needs TimescaleDB Community, TEST_COMMUNITY_DATABASE_URL")
        return
    generated = list(fills(TRADES))
    real = list(_continued(TRADES))
    with Databases.on(server).new() as url:
        with connect_sync(url, role="bench") as connection:
            connection.execute(_NO_JOBS)
        sizes = {"generated trades": _trades(url, generated)}
        if real:
            sizes = {"trades": _trades(url, real), **sizes}
        with connect_sync(url, role="bench") as connection:
            for table, statement in _OTHERS.items():
                connection.execute(statement)
                sizes[table] = _bytes_a_row(connection, table)
    note = "; ".join(f"{table} {number(before)} → {number(after)}" for table, (before, after) in sizes.items())
    source = "trades continued from recorded ones" if real else "no recordings here"
    figure = next(iter(sizes.values()))[1]
    yield Figure("bytes_per_trade_compressed", figure, "bytes", at_most=20, note=f"{note}; {source}")


def _continued(count: int) -> Iterator[Trade]:
    """As many of each recorded instrument."""
    instruments = list(digits.recorded().values())
    for number_, trades in enumerate(instruments, 1):
        yield from digits.continued(number_, trades, count // len(instruments), START_NS)


def _trades(url: str, trades: list[Trade]) -> tuple[float, float]:
    with connect_sync(url, role="bench") as connection:
        connection.execute("TRUNCATE ingest.trades")
        with connection.cursor().copy(_COPY) as copy:
            for start in range(0, len(trades), 100_000):
                copy.write(encode_trades(trades[start : start + 100_000]))
        return _bytes_a_row(connection, "trades")


def _bytes_a_row(connection: Connection, table: LiteralString) -> tuple[float, float]:
    """Indexes included, before and after."""
    connection.execute("SELECT compress_chunk(c) FROM show_chunks(%s::regclass) c", [f"ingest.{table}"])
    row = connection.execute(
        sql.SQL(
            "SELECT (SELECT count(*) FROM ingest.{}), sum(before_compression_total_bytes),"
            " sum(after_compression_total_bytes)"
            " FROM hypertable_compression_stats({})"
        ).format(sql.Identifier(table), f"ingest.{table}")
    ).fetchone()
    assert row is not None
    rows, before, after = (float(value) for value in row)
    return before / rows, after / rows
