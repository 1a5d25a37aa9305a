"""Known candles, trades and books, the rollups that must come of them, and the passes that make them."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from ingest.clock import MINUTE, SECOND
from ingest.maintain import Done, Maintenance
from ingest.records import Candle, CandleSource, Instrument, OrderBook, Row, Side, Trade
from ingest.store.copy_writer import CopyWriter
from tests.db.support import BTC, ETH, Rows

LEVELS = {
    "candles_5m": "5 minutes",
    "candles_15m": "15 minutes",
    "candles_30m": "30 minutes",
    "candles_1h": "1 hour",
    "candles_4h": "4 hours",
    "candles_1d": "1 day",
    "candles_1w": "7 days",
}
ROLLUPS = ("trade_candles_1m", "book_1m", *LEVELS)

INSTRUMENTS: dict[int, Instrument] = {1: BTC, 2: ETH}


def this_minute() -> int:
    """The open of the running minute: retention counts from now, so that the data must, too."""
    now = int(datetime.now(UTC).timestamp()) * SECOND
    return now - now % MINUTE


def candle(instrument_id: int, time_ns: int, number: int, *, volume: str | None = None) -> Candle:
    """Prices that go up and down, digits that do not repeat."""
    middle = 100 + number * 7919 % 61
    low, high = f"{middle - 3}.{number % 97:02}", f"{middle + 4}.{number % 89:03}"
    quotes = None if number % 10 == 3 else f"{number % 1000}.5"
    return Candle(
        instrument_id, time_ns, f"{middle}.5", high, low, f"{middle + 1}.25", volume or f"{number % 13}.{number % 7}1",
        quotes, number % 50, "1.5", "150.25", CandleSource.STREAM, time_ns + MINUTE,
    )  # fmt: skip


def candles(start_ns: int, minutes: Iterable[int], instrument_id: int = 1) -> list[Candle]:
    return [candle(instrument_id, start_ns + n * MINUTE, n + instrument_id) for n in minutes]


def trades(start_ns: int, count: int, instrument_id: int = 1) -> list[Trade]:
    """Seven a second, three at the same moment; ids grow from 8 to 12 digits, in another order than their text."""
    made = []
    for n in range(count):
        time_ns = start_ns + n // 3 * (3 * SECOND // 7)
        side: Side | None = None if n % 500 == 499 else "buy" if n % 3 else "sell"
        trade_id = str(99_999_990 + n * 1_000_003)
        price, amount = f"{100 + n * 31 % 17}.{n % 10}", f"0.{n % 9 + 1}"
        made.append(Trade(instrument_id, time_ns, trade_id, side, price, amount, time_ns + SECOND))
    return made


def books(start_ns: int, count: int, instrument_id: int = 1) -> list[OrderBook]:
    """One a second; some are out of sync, some lack a side."""
    made = []
    for n in range(count):
        time_ns, middle = start_ns + n * SECOND, 10_000 + n * 13 % 50
        bids = tuple((f"{middle - 1 - 7 * level}.{level}", f"{level + 1}.{n % 10}") for level in range(n % 11))
        asks = tuple((f"{middle + 1 + 9 * level}.{level}", f"{level + 2}.{n % 7}") for level in range(10))
        made.append(OrderBook(instrument_id, time_ns, None, n, bids, asks, n % 17 != 0, time_ns + SECOND))
    return made


async def store(url: str, *batches: Sequence[Row], staged: bool = False) -> None:
    writer = CopyWriter(url, role="test", instruments=INSTRUMENTS)
    try:
        for batch in batches:
            for start in range(0, len(batch), 10_000):
                await writer.write(batch[start : start + 10_000], staged=staged)
    finally:
        await writer.close()


async def maintain(url: str, superuser_url: str | None = None) -> Done:
    """One whole pass. Under Community the server's jobs are run beside it, finest first, as they would be."""
    maintenance = Maintenance(url)
    try:
        for _ in range(50):
            done = await maintenance.once()
            if done is not None:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("another pass holds the lock")
    finally:
        await maintenance.close()
    assert done.errors == []
    run_jobs(superuser_url or url, "policy_refresh_continuous_aggregate")
    return done


def run_jobs(url: str, procedure: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        jobs = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY job_id", [procedure]
        ).fetchall()
        for (job_id,) in jobs:
            connection.execute("CALL run_job(%s)", [job_id])


def still(url: str) -> None:
    """Only the test decides when jobs run."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )


def rows(url: str, statement: str, *parameters: Any) -> Rows:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def rollup(url: str, table: str) -> Rows:
    return rows(url, f"SELECT * FROM ingest.{table} ORDER BY instrument_id, time")


def direct(url: str, bucket: str) -> Rows:
    """A candle rollup by plain SQL from one-minute candles."""
    return rows(
        url,
        f"""
        SELECT date_bin('{bucket}', time, '2000-01-03'), instrument_id, (array_agg(open ORDER BY time))[1], max(high),
               min(low), (array_agg(close ORDER BY time DESC))[1], sum(volume), sum(quote_volume), sum(trades)::bigint,
               sum(taker_buy_volume), sum(taker_buy_quote_volume), count(*)
        FROM ingest.candles_1m GROUP BY 1, 2 ORDER BY 2, 1
        """,
    )


def floor(time_ns: int, bucket: timedelta) -> datetime:
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    return origin + (datetime.fromtimestamp(time_ns / SECOND, UTC) - origin) // bucket * bucket
