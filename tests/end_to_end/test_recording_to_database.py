"""A real recording of Binance, through the adapter into TimescaleDB, against an independent reading of the file.

The reading here shares no code with the program: plain `json`, a dict for the book, `Decimal` to sort.
"""

import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.config.source import load
from ingest.replay import replay
from ingest.store.migrate import migrate

STREAMS = Path(__file__).resolve().parents[3] / "shared" / "recordings" / "streams"
FILE = STREAMS / "BINANCE.ws.1.0.gz"
DEPTH = 20
CADENCE = Decimal("0.1")

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recordings (../shared/recordings) are not at hand")

Book = dict[str, dict[Decimal, tuple[str, str]]]


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt") as file:
        return file.readlines()


def events() -> Iterator[tuple[Decimal, str, Any]]:
    """(time, kind, content) of the websocket's frames and the REST snapshots, by time."""
    found: list[tuple[Decimal, str, Any]] = []
    for line in lines(FILE):
        time, separator, text = line.partition(": ")
        if separator and re.fullmatch(r"[0-9.]+", time):
            found.append((Decimal(time), "frame", json.loads(text)["data"]))
    for line in lines(STREAMS / "BINANCE.http.0.0.gz"):
        if line.strip():
            url, _, rest = line.partition(" -> ")
            time, _, text = rest.partition(": ")
            symbol = url.partition("symbol=")[2].partition("&")[0]
            found.append((Decimal(time), "snapshot", {"s": symbol, **json.loads(text)}))
    listing = lines(STREAMS / "BINANCE.0.gz")[0]
    found.append((Decimal(listing.partition(" -> ")[2].partition(": ")[0]), "instruments", None))
    return iter(sorted(found, key=lambda event: event[0]))


def change(side: dict[Decimal, tuple[str, str]], levels: list[list[str]]) -> None:
    for price, amount in levels:
        if Decimal(amount) == 0:
            side.pop(Decimal(price), None)
        else:
            side[Decimal(price)] = (price, amount)


def expected() -> tuple[list[Any], list[Any], list[Any], dict[str, int]]:
    """Trades, open candles and book samples that the file holds, and how many frames of each kind."""
    counts = {"delta": 0, "trade": 0, "candle": 0}
    trades, candles, samples = [], [], []
    books: dict[str, Book] = {}
    ids: dict[str, int] = {}
    waiting: dict[str, list[Any]] = {}
    tick: Decimal | None = None
    for time, kind, data in events():
        last = time // CADENCE * CADENCE
        while tick is None or tick <= last:
            tick = last if tick is None else tick
            for symbol, book in books.items():
                best = [
                    [book["b"][key] for key in sorted(book["b"], reverse=True)[:DEPTH]],
                    [book["a"][key] for key in sorted(book["a"])[:DEPTH]],
                ]
                samples.append((symbol, utc(tick), ids[symbol], best[0], best[1]))
            tick += CADENCE
        if kind == "snapshot":
            book = books[data["s"]] = {"b": {}, "a": {}}
            change(book["b"], data["bids"])
            change(book["a"], data["asks"])
            ids[data["s"]] = data["lastUpdateId"]
            for delta in waiting.pop(data["s"], []):
                follow(book, ids, delta)
        elif kind == "frame" and data.get("e") == "depthUpdate":
            counts["delta"] += 1
            if data["s"] in books:
                follow(books[data["s"]], ids, data)
            else:
                waiting.setdefault(data["s"], []).append(data)
        elif kind == "frame" and data.get("e") == "aggTrade":
            counts["trade"] += 1
            side = "sell" if data["m"] else "buy"
            trades.append(
                (data["s"], utc(Decimal(data["T"]) / 1000), str(data["a"]), side, data["p"], data["q"], utc(time))
            )
        elif kind == "frame" and data.get("e") == "kline":
            counts["candle"] += 1
            k = data["k"]
            values = (k["o"], k["h"], k["l"], k["c"], k["v"], k["q"], k["n"], k["V"], k["Q"])
            candles.append((data["s"], utc(Decimal(k["t"]) / 1000), *values, 0, utc(time)))
    return trades, candles, samples, counts


def follow(book: Book, ids: dict[str, int], delta: Any) -> None:
    if delta["u"] > ids[delta["s"]]:
        assert delta["U"] <= ids[delta["s"]] + 1, "the recording is free of gaps"
        change(book["b"], delta["b"])
        change(book["a"], delta["a"])
        ids[delta["s"]] = delta["u"]


def utc(seconds: Decimal) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(seconds % 1 * 1_000_000))


@pytest.fixture
def replayed(database_url: str) -> Iterator[psycopg.Connection]:
    config = load(
        None,
        environ={},
        overrides={
            "exchanges.binance.trade_stream": "aggTrade",
            "book.cadence_seconds": float(CADENCE),
            "candles.include_open": True,
        },
    ).config
    migrate(database_url)
    for _ in range(2):  # the second time changes nothing
        result = replay(config, [FILE], exchange=None, url=database_url)
        assert not result.rejected
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection


def test_the_recording_is_stored_field_by_field(replayed: psycopg.Connection) -> None:
    trades, candles, samples, counts = expected()
    assert counts == {"delta": 177, "trade": 2, "candle": 2}

    stored_trades = replayed.execute(
        "SELECT i.native_symbol, t.time, t.trade_id, t.side::text, t.price::text, t.amount::text, t.received_at"
        " FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id) ORDER BY t.received_at"
    ).fetchall()
    assert stored_trades == trades
    assert len(trades) == 2

    stored_candles = replayed.execute(
        "SELECT i.native_symbol, c.time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text,"
        " c.quote_volume::text, c.trades, c.taker_buy_volume::text, c.taker_buy_quote_volume::text, c.source,"
        " c.received_at FROM ingest.candles_1m c JOIN ingest.instruments i USING (instrument_id) ORDER BY c.received_at"
    ).fetchall()
    assert stored_candles == candles
    assert len(candles) == 2

    stored_books = replayed.execute(
        "SELECT i.native_symbol, b.time, b.sequence, b.bid_prices::text[], b.bid_amounts::text[],"
        " b.ask_prices::text[], b.ask_amounts::text[], b.in_sync"
        " FROM ingest.order_books b JOIN ingest.instruments i USING (instrument_id)"
        " ORDER BY b.time, i.native_symbol"
    ).fetchall()
    wanted = [
        (symbol, time, sequence, *arrays(bids), *arrays(asks), True)
        for symbol, time, sequence, bids, asks in sorted(samples, key=lambda sample: (sample[1], sample[0]))
    ]
    assert {row[0] for row in wanted} == {"NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"}
    assert len(wanted) > 500
    assert stored_books == wanted


def arrays(levels: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [price for price, _ in levels], [amount for _, amount in levels]


def test_instruments_are_described_as_the_venue_described_them(replayed: psycopg.Connection) -> None:
    stored = replayed.execute(
        "SELECT symbol, native_symbol, kind, base, quote, price_step, amount_step, min_notional"
        " FROM ingest.instruments ORDER BY symbol"
    ).fetchall()
    listed = json.loads(lines(STREAMS / "BINANCE.0.gz")[0].partition(": ")[2])["symbols"]
    wanted = []
    for market in listed:
        if market["symbol"] in ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"):
            filters = {entry["filterType"]: entry for entry in market["filters"]}
            wanted.append(
                (
                    f"{market['baseAsset']}/{market['quoteAsset']}",
                    market["symbol"],
                    "spot",
                    market["baseAsset"],
                    market["quoteAsset"],
                    Decimal(filters["PRICE_FILTER"]["tickSize"]),
                    Decimal(filters["LOT_SIZE"]["stepSize"]),
                    Decimal(filters["MIN_NOTIONAL"]["minNotional"]),
                )
            )
    assert len(wanted) == 4
    assert stored == sorted(wanted)
