"""A real recording of Coinbase, in today's form, through the adapter into TimescaleDB, against another reading of it.

The reading here shares no code with the program: plain `json`, a dict for the book, `Decimal` to sort.
"""

import gzip
import json
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
from tests.exchanges.coinbase_today import AMOUNT, PRODUCTS, reframed
from tests.exchanges.recordings import FOLDER, lines

FILE = "COINBASE.ws.28.0.gz"
DEPTH = 20
CADENCE_NS = 100_000_000
WS_URL = "wss://advanced-trade-ws.coinbase.com"
MARKET = "https://api.coinbase.com/api/v3/brokerage/market/products"
BEGAN = "1618677816.8"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "streams" / FILE).exists(), reason="the recordings (../shared/recordings) are not at hand"
)

Side = dict[Decimal, tuple[str, str]]
Row = tuple[Any, ...]


class Expected:
    """What the recording says: rows as the database shows them."""

    def __init__(self) -> None:
        self.trades: list[Row] = []
        self.quotes: list[Row] = []
        self.tickers: dict[str, Row] = {}
        self.books: list[Row] = []
        self._sides: dict[str, tuple[Side, Side]] = {}
        self._numbers: dict[str, int] = {}
        self._tick_ns = 0

    def take(self, number: int, time_ns: int, old: dict[str, Any]) -> None:
        self._sample(time_ns)
        product, at = old["product_id"], old.get("time")
        if old["type"] in ("match", "last_match"):
            taker = "sell" if old["side"] == "buy" else "buy"  # the maker's is named
            row = (product, utc(at), str(old["trade_id"]), taker, old["price"], old["size"], moment(time_ns))
            self.trades.append(row)
        elif old["type"] == "ticker":
            best = (old["best_bid"], AMOUNT, old["best_ask"], AMOUNT)
            self.quotes.append((product, utc(at), *best, moment(time_ns)))
            day = (old["high_24h"], old["low_24h"], old["volume_24h"])
            self.tickers[product] = (product, utc(at), old["price"], *best, *day, moment(time_ns))
        else:
            changes = [(0, *level) for level in old.get("bids", ())] + [(1, *level) for level in old.get("asks", ())]
            changes += [(0 if side == "buy" else 1, price, amount) for side, price, amount in old.get("changes", ())]
            if old["type"] == "snapshot":
                self._sides[product] = ({}, {})
            for place, price, amount in changes:
                if Decimal(amount) == 0:
                    self._sides[product][place].pop(Decimal(price), None)
                else:
                    self._sides[product][place][Decimal(price)] = (price, amount)
            self._numbers[product] = number

    def _sample(self, time_ns: int) -> None:
        """What is stored at a tick was received before it."""
        self._tick_ns = self._tick_ns or time_ns // CADENCE_NS * CADENCE_NS
        while self._tick_ns <= time_ns:
            for product, (bids, asks) in sorted(self._sides.items()):
                best = [bids[key] for key in sorted(bids, reverse=True)], [asks[key] for key in sorted(asks)]
                arrays = [[level[place] for level in side[:DEPTH]] for side in best for place in (0, 1)]
                self.books.append((product, moment(self._tick_ns), self._numbers[product], *arrays, True))
            self._tick_ns += CADENCE_NS


def utc(stamp: str | None) -> datetime:
    assert stamp is not None
    return datetime.fromisoformat(stamp)


def moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC) + timedelta(microseconds=time_ns % 10**9 // 1000)


def listing() -> dict[str, Any]:
    """The recorded list of products, as the venue would show it now."""
    (line,) = lines(FOLDER / "streams" / "COINBASE.0.gz")
    products = []
    for old in json.loads(line.text):
        sizes = {"quote_min_size": old["min_market_funds"], "quote_max_size": old["max_market_funds"]}
        products.append(
            {
                "product_id": old["id"], "product_type": "SPOT", "base_currency_id": old["base_currency"],
                "quote_currency_id": old["quote_currency"], "base_increment": old["base_increment"],
                "quote_increment": old["quote_increment"], "price_increment": old["quote_increment"],
                "base_min_size": old["base_min_size"], "base_max_size": old["base_max_size"],
                "trading_disabled": old["trading_disabled"], "status": old["status"], "alias": "", "alias_to": [],
                **sizes,
            }
        )  # fmt: skip
    return {"products": products, "num_products": len(products)}


def written(folder: Path) -> tuple[list[Path], Expected]:
    """The recording in today's form as files, and what it holds."""
    expected = Expected()
    text = [f"{WS_URL} <-> {BEGAN}"]
    for channel in ("level2", "market_trades", "ticker"):
        asked = {"type": "subscribe", "channel": channel, "product_ids": PRODUCTS}
        text.append(f"{WS_URL} <- {BEGAN}: {json.dumps(asked)}")
    for number, (time_ns, old, frame) in enumerate(reframed()):
        expected.take(number, time_ns, old)
        text.append(f"{time_ns // 10**9}.{time_ns % 10**9:09}: {frame.decode()}")
    path = folder / "COINBASE.ws.1.0.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("\n".join(text) + "\n")
    nothing = '{"data":[]}'
    replies = [
        (MARKET, json.dumps(listing())), (f"{MARKET}?product_type=FUTURE", '{"products":[]}'),
        ("https://api.coinbase.com/v2/currencies", nothing), ("https://api.coinbase.com/v2/currencies/crypto", nothing),
        ("https://api.coinbase.com/v2/exchange-rates", '{"data":{"rates":{}}}'),
    ]  # fmt: skip
    with gzip.open(folder / "COINBASE.0.gz", "wt") as file:
        file.writelines(f"{url} -> {BEGAN}: {body}\n" for url, body in replies)
    return [path], expected


Replayed = tuple[psycopg.Connection, Expected]


@pytest.fixture
def replayed(database_url: str, tmp_path: Path) -> Iterator[Replayed]:
    files, expected = written(tmp_path)
    config = load(None, environ={}, overrides={"book.cadence_seconds": CADENCE_NS / 10**9}).config
    migrate(database_url)
    for _ in range(2):  # the second time changes nothing
        result = replay(config, files, exchange=None, url=database_url)
        assert not result.rejected
        counts = {"BookDelta": 9719, "BookState": 10, "Trade": 107, "Quote": 107, "Ticker": 107}
        assert result.kinds == counts | {"Ignored": 5}  # the listing
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection, expected


def test_the_recording_is_stored_field_by_field(replayed: Replayed) -> None:
    connection, expected = replayed
    named = "JOIN ingest.instruments i USING (instrument_id)"

    trades = connection.execute(
        "SELECT i.native_symbol, t.time, t.trade_id, t.side::text, t.price::text, t.amount::text, t.received_at"
        f" FROM ingest.trades t {named} ORDER BY t.received_at"
    ).fetchall()
    assert trades == expected.trades
    assert len(trades) == 107

    quotes = connection.execute(
        "SELECT i.native_symbol, q.time, q.bid::text, q.bid_amount::text, q.ask::text, q.ask_amount::text,"
        f" q.received_at FROM ingest.quotes q {named} ORDER BY q.received_at"
    ).fetchall()
    assert quotes == expected.quotes
    assert len(quotes) == 107

    tickers = connection.execute(
        "SELECT i.native_symbol, t.time, t.last::text, t.bid::text, t.bid_amount::text, t.ask::text,"
        " t.ask_amount::text, t.high_24h::text, t.low_24h::text, t.volume_24h::text, t.received_at"
        f" FROM ingest.tickers t {named} ORDER BY i.native_symbol"
    ).fetchall()
    assert tickers == [expected.tickers[product] for product in sorted(PRODUCTS)]
    assert len(tickers) == 10

    books = connection.execute(
        "SELECT i.native_symbol, b.time, b.sequence, b.bid_prices::text[], b.bid_amounts::text[],"
        " b.ask_prices::text[], b.ask_amounts::text[], b.in_sync"
        f" FROM ingest.order_books b {named} ORDER BY b.time, i.native_symbol"
    ).fetchall()
    assert books == expected.books
    assert {row[0] for row in books} == set(PRODUCTS)
    assert len(books) > 2_500


def test_instruments_are_described_as_the_venue_described_them(replayed: Replayed) -> None:
    connection, _ = replayed
    stored = connection.execute(
        "SELECT symbol, native_symbol, kind, base, quote, price_step, amount_step FROM ingest.instruments"
        " ORDER BY symbol"
    ).fetchall()
    wanted = [
        (
            f"{product['base_currency_id']}/{product['quote_currency_id']}", product["product_id"], "spot",
            product["base_currency_id"], product["quote_currency_id"], Decimal(product["price_increment"]),
            Decimal(product["base_increment"]),
        )
        for product in listing()["products"]
        if product["product_id"] in PRODUCTS
    ]  # fmt: skip
    assert stored == sorted(wanted)
    assert len(stored) == 10
