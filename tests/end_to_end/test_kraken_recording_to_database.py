"""A real recording of Kraken, in today's form, through the adapter into TimescaleDB, against another reading of it.

The reading here shares no code with the program: plain `json`, a dict for the book, `Decimal` to sort, `zlib`.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from ingest.config.source import load
from ingest.replay import replay
from ingest.store.migrate import migrate
from tests.exchanges.kraken_v2 import DEPTH, Message, messages
from tests.exchanges.recordings import FOLDER

FILES = ("KRAKEN.ws.48.0.gz", "KRAKEN.ws.50.0.gz")  # trades, books
PAIRS = (
    "WAVES/EUR",
    "XMR/USD",
    "KSM/BTC",
    "GRT/ETH",
    "SC/EUR",
    "ETH/CHF",
    "OCEAN/BTC",
    "OMG/USD",
    "BTC/CHF",
    "ADA/BTC",
)
STORED = 600  # levels: of this depth the venue's 1000 are asked for, as they were in the recording
CADENCE_NS = 1_000_000_000
URL = "wss://ws.kraken.com/v2"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "streams" / FILES[0]).exists(), reason="the recordings (../shared/recordings) are not at hand"
)

Side = dict[Decimal, tuple[str, str]]
Sample = tuple[str, datetime, list[str], list[str], list[str], list[str], bool]


class Books:
    """By pair, what the recording says of both sides; `checksums` counts those that agree."""

    def __init__(self) -> None:
        self.sides: dict[str, tuple[Side, Side]] = {}
        self.checksums = 0

    def take(self, message: Message) -> int:
        if message.kind == "snapshot":
            self.sides[message.symbol] = ({}, {})
        bids, asks = self.sides[message.symbol]
        for levels_of, levels in ((bids, message.bids), (asks, message.asks)):
            for price, amount in levels:
                if Decimal(amount) == 0:
                    levels_of.pop(Decimal(price), None)
                else:
                    levels_of[Decimal(price)] = (price, amount)
        for key in sorted(bids)[:-DEPTH]:
            del bids[key]
        for key in sorted(asks)[DEPTH:]:
            del asks[key]
        text = "".join(
            value.replace(".", "").lstrip("0")
            for side, keys in ((asks, sorted(asks)[:10]), (bids, sorted(bids, reverse=True)[:10]))
            for key in keys
            for value in side[key]
        )
        checksum = zlib.crc32(text.encode())
        self.checksums += checksum == message.checksum
        return checksum

    def sample(self, pair: str, tick_ns: int) -> Sample:
        bids, asks = self.sides[pair]
        best = [bids[key] for key in sorted(bids, reverse=True)[:STORED]], [asks[key] for key in sorted(asks)[:STORED]]
        arrays = [[level[place] for level in side] for side in best for place in (0, 1)]
        return (pair, utc(tick_ns), arrays[0], arrays[1], arrays[2], arrays[3], True)


def utc(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC) + timedelta(microseconds=time_ns % 10**9 // 1000)


def reframed(folder: Path) -> tuple[list[Path], list[Sample], list[tuple[object, ...]], Books]:
    """The recording in today's form, written to files, and what it holds: samples of books, and trades."""
    books = Books()
    samples: list[Sample] = []
    trades: list[tuple[object, ...]] = []
    every = sorted((message for name in FILES for message in messages(name)), key=lambda message: message.time_ns)
    tick_ns = 0
    text = [f"{URL} <-> 1618678132.0", f"{URL} <- 1618678132.1: {json.dumps({'symbol': PAIRS})}"]
    for message in every:
        tick_ns = tick_ns or message.time_ns // CADENCE_NS * CADENCE_NS
        while tick_ns <= message.time_ns:  # what is stored at a tick was received before it
            samples += [books.sample(pair, tick_ns) for pair in PAIRS if pair in books.sides]
            tick_ns += CADENCE_NS
        checksum = 0
        if message.kind == "trade":
            for at, number, side, price, amount in message.trades:
                at_ns = int(at * 1000) * 1_000_000
                trades.append((message.symbol, utc(at_ns), str(number), side, price, amount, utc(message.time_ns)))
        else:
            checksum = books.take(message)
        stamp = f"{message.time_ns // 10**9}.{message.time_ns % 10**9:09}"
        text.append(f"{stamp}: {message.frame(checksum).decode()}")
    path = folder / "KRAKEN.ws.1.0.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("\n".join(text) + "\n")
    with gzip.open(FOLDER / "streams" / "KRAKEN.0.gz", "rt") as file:
        listing = file.readline()
    with gzip.open(folder / "KRAKEN.0.gz", "wt") as file:  # ccxt asks for the currencies, too
        nothing = '{"error":[],"result":{}}'
        file.write(f"{listing}https://api.kraken.com/0/public/Assets -> 1618678132.4: {nothing}\n")
    return [path], samples, trades, books


Replayed = tuple[psycopg.Connection, list[Sample], list[tuple[object, ...]]]


@pytest.fixture
def replayed(database_url: str, tmp_path: Path) -> Iterator[Replayed]:
    files, samples, trades, books = reframed(tmp_path)
    assert books.checksums == 4_269
    config = load(None, environ={}, overrides={"book.depth": STORED}).config
    migrate(database_url)
    for _ in range(2):  # the second time changes nothing
        result = replay(config, files, exchange=None, url=database_url)
        assert not result.rejected
        assert result.kinds["BookDelta"] == 4_269
        assert result.kinds["BookState"] == len(PAIRS)
        assert result.kinds["Trade"] == len(trades)
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection, samples, trades


def test_the_recording_is_stored_field_by_field(replayed: Replayed) -> None:
    connection, samples, trades = replayed
    stored = connection.execute(
        "SELECT i.symbol, t.time, t.trade_id, t.side::text, t.price::text, t.amount::text, t.received_at"
        " FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id)"
        " ORDER BY t.received_at, t.trade_id::bigint"
    ).fetchall()
    assert stored == sorted(trades, key=lambda row: (row[6], int(str(row[2]))))
    assert len(stored) == 10
    assert {row[0] for row in stored} == {"XMR/USD", "SC/EUR"}

    books = connection.execute(
        "SELECT i.symbol, b.time, b.bid_prices::text[], b.bid_amounts::text[], b.ask_prices::text[],"
        " b.ask_amounts::text[], b.in_sync"
        " FROM ingest.order_books b JOIN ingest.instruments i USING (instrument_id) ORDER BY b.time, i.symbol"
    ).fetchall()
    assert {row[0] for row in books} == set(PAIRS)
    assert len(books) > 250
    assert books == sorted(samples, key=lambda sample: (sample[1], sample[0]))


def test_nothing_is_named_as_missing(replayed: Replayed) -> None:
    """Every id, and every checksum, is in the recording."""
    connection, _, _ = replayed
    assert connection.execute("SELECT count(*) FROM ingest.gaps").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM ingest.rejected").fetchone() == (0,)
    instruments = connection.execute(
        "SELECT symbol, native_symbol, kind, price_step, amount_step FROM ingest.instruments ORDER BY symbol"
    ).fetchall()
    assert {row[0] for row in instruments} == set(PAIRS)
    assert ("BTC/CHF", "XBTCHF", "spot", Decimal("0.1"), Decimal("0.00000001")) in instruments
