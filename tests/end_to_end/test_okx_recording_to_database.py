"""A real recording of OKX (2022), through the adapter into TimescaleDB, against an independent reading of the file.

The reading here shares no code with the program: plain `json`, a dict for the book, `Decimal` to sort. The books of
that year have no sequence ids; the time of the book, in milliseconds, stands for it.
"""

import gzip
import json
import re
import shutil
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
FILE = STREAMS / "OKX.ws.1.0.gz"
DEPTH = 20
CADENCE = Decimal("0.1")
SYMBOLS = {"BTC-USDT": "SPOT", "UNI-USD-SWAP": "SWAP", "BTC-USD-220527": "FUTURES"}

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recordings (../shared/recordings) are not at hand")

Side = dict[Decimal, tuple[str, str]]
Expected = tuple[list[Any], list[Any], list[Any], dict[str, int]]


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt") as file:
        return file.readlines()


def listings() -> Iterator[tuple[str, Decimal, str]]:
    """(url, time, body) of the lists of instruments."""
    for line in lines(STREAMS / "OKX.0.gz"):
        url, separator, rest = line.partition(" -> ")
        if separator:
            time, _, body = rest.partition(": ")
            yield url, Decimal(time), body


def frames() -> Iterator[tuple[Decimal, Any]]:
    for line in lines(FILE):
        time, separator, text = line.partition(": ")
        if separator and re.fullmatch(r"[0-9.]+", time):
            yield Decimal(time), json.loads(text)


def listed() -> dict[str, list[Any]]:
    """The instruments of each type, as the venue listed them just before."""
    found: dict[str, list[Any]] = {}
    for url, _, body in listings():
        found.setdefault(url.partition("instType=")[2].partition("&")[0], json.loads(body)["data"])
    return found


def expected() -> Expected:
    """Trades, the latest tickers and the book samples that the file holds, and how many frames of each kind."""
    counts = {"answer": 0, "books": 0, "trades": 0, "tickers": 0}
    trades, samples = [], []
    tickers: dict[str, Any] = {}
    books: dict[str, tuple[Side, Side]] = {}
    ids: dict[str, int] = {}
    tick: Decimal | None = None
    for time, message in frames():
        last = time // CADENCE * CADENCE  # the lists came before: no book was known at their ticks
        tick = last if tick is None else tick
        while tick <= last:
            for symbol, (bids, asks) in books.items():
                best_bids = [bids[key] for key in sorted(bids, reverse=True)[:DEPTH]]
                samples.append((symbol, utc(tick), ids[symbol], best_bids, [asks[key] for key in sorted(asks)[:DEPTH]]))
            tick += CADENCE
        if "event" in message:
            counts["answer"] += 1
            continue
        channel, symbol, (data,) = message["arg"]["channel"], message["arg"]["instId"], message["data"]
        counts[channel] += 1
        at = utc(Decimal(data["ts"]) / 1000)
        if channel == "trades":
            trades.append((symbol, at, data["tradeId"], data["side"], data["px"], data["sz"], utc(time)))
        elif channel == "tickers":
            spot = data["instType"] == "SPOT"
            prices = [data[key] for key in ("last", "bidPx", "bidSz", "askPx", "askSz", "open24h", "high24h", "low24h")]
            volumes = (data["vol24h"], data["volCcy24h"]) if spot else (data["volCcy24h"], None)
            tickers[symbol] = (symbol, at, *prices, *volumes, utc(time))
        else:
            book = ({}, {}) if message["action"] == "snapshot" else books[symbol]
            for side, rows in zip(book, (data["bids"], data["asks"]), strict=True):
                for price, amount, *_ in rows:
                    side.pop(Decimal(price), None)
                    if Decimal(amount) != 0:
                        side[Decimal(price)] = (price, amount)
            books[symbol], ids[symbol] = book, int(data["ts"])
    return trades, sorted(tickers.values()), samples, counts


def utc(seconds: Decimal) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(seconds % 1 * 1_000_000))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The recording, beside it each list of instruments as one of all types: their URLs differ in the query alone."""
    shutil.copy(FILE, tmp_path)
    reply = json.dumps({"code": "0", "msg": "", "data": [each for some in listed().values() for each in some]})
    with gzip.open(tmp_path / "OKX.0.gz", "wt") as file:
        for kind in SYMBOLS.values():
            file.write(f"https://www.okx.com/api/v5/public/instruments?instType={kind} -> 1652458996.256593: {reply}\n")
    return tmp_path / FILE.name


@pytest.fixture
def replayed(database_url: str, recorded: Path) -> Iterator[psycopg.Connection]:
    config = load(None, environ={}, overrides={"book.cadence_seconds": float(CADENCE)}).config
    migrate(database_url)
    for _ in range(2):  # the second time changes nothing
        result = replay(config, [recorded], exchange=None, url=database_url)
        assert not result.rejected
        assert result.kinds == {"Ack": 18, "BookState": 3, "BookDelta": 287, "Trade": 74, "Ticker": 28, "Ignored": 3}
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection


def test_the_recording_is_stored_field_by_field(replayed: psycopg.Connection) -> None:
    trades, tickers, samples, counts = expected()
    assert counts == {"answer": 18, "books": 290, "trades": 74, "tickers": 28}

    stored_trades = replayed.execute(
        "SELECT i.native_symbol, t.time, t.trade_id, t.side::text, t.price::text, t.amount::text, t.received_at"
        " FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id) ORDER BY t.received_at"
    ).fetchall()
    assert stored_trades == trades
    assert len(trades) == 74

    stored_tickers = replayed.execute(
        "SELECT i.native_symbol, t.time, t.last::text, t.bid::text, t.bid_amount::text, t.ask::text,"
        " t.ask_amount::text, t.open_24h::text, t.high_24h::text, t.low_24h::text, t.volume_24h::text,"
        " t.quote_volume_24h::text, t.received_at"
        " FROM ingest.tickers t JOIN ingest.instruments i USING (instrument_id) ORDER BY i.native_symbol"
    ).fetchall()
    assert stored_tickers == tickers
    assert [row[0] for row in tickers] == sorted(SYMBOLS)

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
    assert {row[0] for row in wanted} == set(SYMBOLS)
    assert len(wanted) > 250
    assert stored_books == wanted
    print(f"{len(trades)} trades, {len(tickers)} tickers, {len(wanted)} books")  # noqa: T201 - shown by `pytest -s`


def arrays(levels: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [price for price, _ in levels], [amount for _, amount in levels]


def test_instruments_are_described_as_the_venue_described_them(replayed: psycopg.Connection) -> None:
    stored = replayed.execute(
        "SELECT native_symbol, symbol, kind, price_step, amount_step, contract_size"
        " FROM ingest.instruments ORDER BY native_symbol"
    ).fetchall()
    unified = {
        "BTC-USDT": ("BTC/USDT", "spot"),
        "UNI-USD-SWAP": ("UNI/USD:UNI", "swap"),
        "BTC-USD-220527": ("BTC/USD:BTC-220527", "future"),
    }
    wanted = []
    for native, kind in SYMBOLS.items():
        (market,) = (each for each in listed()[kind] if each["instId"] == native)
        size = Decimal(market["ctVal"]) if market["ctVal"] else None
        wanted.append((native, *unified[native], Decimal(market["tickSz"]), Decimal(market["lotSz"]), size))
    assert stored == sorted(wanted)
