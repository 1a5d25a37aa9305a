"""What analysts read: words instead of ids, whole rows, and plans that do not sort a history."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from ingest.clock import MINUTE
from ingest.records import CHANNELS, CandleSource, Gap, Instrument, Mark
from ingest.store.copy_writer import CopyWriter
from ingest.store.registry import Registry
from tests.conftest import Fetch
from tests.db.support import (
    BTC,
    DAY,
    ETH,
    NOON,
    book,
    book_row,
    candle,
    candle_row,
    moment,
    trade,
    trade_row,
    trades,
)


async def test_trades(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [trade(), trade(instrument_id=2, side=None), trade("9", instrument_id=3)]
    await writer.write(batch)
    rows = fetch(
        "SELECT time, exchange, symbol, instrument_id, trade_id, side::text, price, amount, received_at"
        " FROM market.trades ORDER BY instrument_id"
    )
    words = [("binance", "BTC/USDT"), ("binance", "ETH/USDT"), (None, None)]
    assert rows == [(trade_row(t)[0], *w, *trade_row(t)[1:]) for t, w in zip(batch, words, strict=True)]


async def test_candles_name_their_source(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [candle(time_ns=NOON + number * MINUTE, source=source) for number, source in enumerate(CandleSource)]
    await writer.write(batch)
    rows = fetch("SELECT * FROM market.candles ORDER BY time")
    assert rows == [
        (
            moment(c.time_ns), "binance", "BTC/USDT", 1, "1m", *candle_row(c)[2:11], c.source.name.lower(),
            moment(c.received_ns), 1,
        )
        for c in batch
    ]  # fmt: skip


async def test_order_books_know_their_best(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [book(), book(time_ns=NOON + MINUTE, bids=(), checksum_ok=None)]
    await writer.write(batch)
    rows = fetch("SELECT * FROM market.order_books ORDER BY time")
    best = [
        (Decimal("99.9"), Decimal("100.1"), Decimal("0.2"), Decimal(100)),
        (None, Decimal("100.1"), None, None),
    ]
    assert rows == [
        (row[0], "binance", "BTC/USDT", 1, row[3], row[2], *row[4:8], *numbers, *row[8:])
        for row, numbers in zip(map(book_row, batch), best, strict=True)
    ]


async def test_gaps_streams_and_tickers(writer: CopyWriter, fetch: Fetch) -> None:
    gap = Gap(2, "trades", "disconnect", NOON, NOON + MINUTE, 5, 6, "frame 9", opened_ns=NOON + 1_000)
    await writer.write(trades(3), gaps=[gap], marks=[Mark(1, "trades", 3, NOON, NOON + MINUTE, NOON - MINUTE)])
    gaps = fetch(
        "SELECT exchange, symbol, channel, from_time, to_time, from_id, to_id, cause, state, evidence, opened_at,"
        " closed_at, missing_ids, duration FROM market.gaps"
    )
    words, cause = ("binance", "ETH/USDT", "trades"), ("disconnect", "open", "frame 9")
    opened = moment(NOON + 1_000)
    assert gaps == [(*words, moment(NOON), moment(NOON + MINUTE), 5, 6, *cause, opened, None, 2, timedelta(minutes=1))]
    streams = fetch(
        "SELECT exchange, symbol, channel, state, last_time, rows_stored, rows_duplicate, watermark_id, proved_to,"
        " attested_to, covered_from FROM market.streams ORDER BY symbol, channel"
    )
    idle, reached = ("starting", None, 0, 0, *[None] * 4), (3, *map(moment, (NOON, NOON + MINUTE, NOON - MINUTE)))
    assert streams == [
        *(("binance", "BTC/USDT", channel, *idle) for channel in sorted(CHANNELS) if channel != "trades"),
        ("binance", "BTC/USDT", "trades", "starting", moment(trades(3)[-1].time_ns), 3, 0, *reached),
        *(("binance", "ETH/USDT", channel, *idle) for channel in sorted(CHANNELS)),
    ]
    fetch(
        "INSERT INTO ingest.tickers (instrument_id, time, last, received_at) VALUES (2, %s, 5, %s)",
        moment(NOON),
        moment(NOON),
    )
    assert fetch("SELECT exchange, symbol, instrument_id, time, last FROM market.tickers") == [
        ("binance", "ETH/USDT", 2, moment(NOON), Decimal(5))
    ]


async def test_instrument_id_is_the_listed_one(
    database_url: str, instruments: dict[int, Instrument], fetch: Fetch
) -> None:
    one = "SELECT market.instrument_id(%s, %s)"
    assert fetch(one, "binance", "BTC/USDT") == [(1,)]
    assert fetch(one, "binance", "NO/SUCH") == [(None,)]
    assert fetch(one, "kraken", "BTC/USDT") == [(None,)]
    fetch("UPDATE ingest.instruments SET delisted_at = '2026-01-01' WHERE instrument_id = 1")
    assert fetch(one, "binance", "BTC/USDT") == [(1,)]  # the last one there was
    registry = Registry(database_url)
    try:
        again = await registry.register_instruments("binance", [BTC, ETH])
        kraken = await registry.register_instruments("kraken", [BTC])
    finally:
        await registry.close()
    assert again["ETH/USDT"] == 2
    assert again["BTC/USDT"] not in {1, 2}
    assert fetch(one, "binance", "BTC/USDT") == [(again["BTC/USDT"],)]
    assert fetch(one, "kraken", "BTC/USDT") == [(kraken["BTC/USDT"],)]
    assert fetch(
        "SELECT exchange, symbol, native_symbol, kind, base, quote FROM market.instruments WHERE instrument_id = 1"
    ) == [("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")]


# Plans

Node = dict[str, Any]


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _explain(url: str, query: str) -> list[Node]:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {query}".encode()).fetchone()
    assert row is not None
    return list(_nodes(row[0][0]["Plan"]))


def _chunk_scans(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.get("Relation Name", "").startswith("_hyper_")]


@pytest.fixture
async def history(writer: CopyWriter, database_url: str) -> str:
    """Ten days of two instruments' trades, 2,000 a day each."""
    for day in range(10):
        for instrument_id in (1, 2):
            start = NOON - day * DAY
            await writer.write(trades(2_000, first=day * 2_000 + 1, instrument_id=instrument_id, start_ns=start))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ANALYZE ingest.trades")
    return database_url


LAST_1000 = """
SELECT time, exchange, symbol, price, amount FROM market.trades
WHERE instrument_id = market.instrument_id('binance', 'BTC/USDT') ORDER BY time DESC LIMIT 1000
"""


def test_the_last_thousand_trades_come_from_the_key_of_the_newest_chunk(history: str, fetch: Fetch) -> None:
    nodes = _explain(history, LAST_1000)
    assert [node["Node Type"] for node in nodes if "Sort" in node["Node Type"]] == []
    scans = _chunk_scans(nodes)
    executed = [node for node in scans if node["Actual Loops"]]
    assert len(executed) == 1, [(node["Relation Name"], node["Actual Loops"]) for node in scans]
    assert executed[0]["Node Type"] == "Index Scan"
    assert executed[0]["Index Name"].endswith("trades_key")
    assert "instrument_id" in executed[0]["Index Cond"]
    assert executed[0]["Actual Rows"] <= 1_000
    newest = sorted(trades(2_000, start_ns=NOON), key=lambda t: -t.time_ns)[:1_000]
    assert fetch(LAST_1000) == [
        (moment(t.time_ns), "binance", "BTC/USDT", Decimal(t.price), Decimal(t.amount)) for t in newest
    ]


def test_a_window_looks_at_its_chunks_only(history: str, fetch: Fetch) -> None:
    query = f"""
    SELECT count(*), max(price) FROM market.trades
    WHERE instrument_id = market.instrument_id('binance', 'BTC/USDT')
      AND time >= '{moment(NOON - 3 * DAY)}' AND time < '{moment(NOON - 2 * DAY)}'
    """
    scans = _chunk_scans(_explain(history, query))
    assert 1 <= len(scans) <= 2  # noon to noon touches two days
    assert fetch(query) == [(2_000, max(Decimal(t.price) for t in trades(2_000, first=6_001)))]


def test_latest_candle_and_book_use_their_keys(history: str) -> None:
    for view, key in (("candles_1m", "candles_1m_key"), ("order_books", "order_books_key")):
        with psycopg.connect(history, autocommit=True) as connection:
            columns = (
                "open, high, low, close, volume, source"
                if view == "candles_1m"
                else ("bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync")
            )
            values = "1, 1, 1, 1, 1, 20" if view == "candles_1m" else "'{1}', '{1}', '{2}', '{1}', true"
            connection.execute(
                f"INSERT INTO ingest.{view} (time, instrument_id, received_at, {columns})"
                f" SELECT t, i, t, {values} FROM generate_series(timestamptz '2026-01-01', '2026-04-01', '1 hour') t,"
                " generate_series(1, 5) i".encode()
            )
            connection.execute(f"ANALYZE ingest.{view}".encode())
        nodes = _explain(
            history,
            f"SELECT * FROM market.{view} WHERE instrument_id = market.instrument_id('binance', 'BTC/USDT')"
            " ORDER BY time DESC LIMIT 1",
        )
        assert [node["Node Type"] for node in nodes if "Sort" in node["Node Type"]] == []
        executed = [node for node in _chunk_scans(nodes) if node["Actual Loops"]]
        assert [node["Index Name"].endswith(key) for node in executed] == [True]
