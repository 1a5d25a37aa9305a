"""Half a minute of real traffic (2022) through the adapter, the book and the feed, against a reading by other means.

The other reading uses `json`, `Decimal` and dicts. The books of that year carry a checksum of their best 25 levels and
no sequence ids: the page of then is https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel.
"""

import json
import zlib
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ingest.collect.book import Book, Need
from ingest.collect.feed import Feed, Wants
from ingest.exchanges.adapter import Ack, Options
from ingest.exchanges.okx import Okx
from ingest.records import BookDelta, BookState, Instrument, OrderBook, Stream, Ticker, Trade
from tests.exchanges.recordings import Line, lines, recording

IDS = {"BTC-USDT": 1, "UNI-USD-SWAP": 2, "BTC-USD-220527": 3}
BOOKS = {"BTC-USDT": 98, "UNI-USD-SWAP": 93, "BTC-USD-220527": 99}
TRADES = {"BTC-USDT": 69, "UNI-USD-SWAP": 1, "BTC-USD-220527": 4}
MS_NS, SECOND_NS = 1_000_000, 1_000_000_000
DEPTH = 25

Level = tuple[str, str]


class PlainBook:
    """The independent book of one instrument."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Level] = {}
        self.asks: dict[Decimal, Level] = {}
        self.ms = 0
        self.received_ns = 0

    def take(self, message: dict[str, Any], time_ns: int) -> None:
        (data,) = message["data"]
        if message["action"] == "snapshot":
            self.bids, self.asks = {}, {}
        for side, rows in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for price, amount, *_ in rows:
                side.pop(Decimal(price), None)
                if Decimal(amount):
                    side[Decimal(price)] = (price, amount)
        self.ms, self.received_ns = int(data["ts"]), time_ns

    def copy(self) -> "PlainBook":
        other = PlainBook()
        other.bids, other.asks, other.ms = dict(self.bids), dict(self.asks), self.ms
        return other

    def whole(self, message: dict[str, Any]) -> bytes:
        """As the venue would send it in a snapshot; `message` is any of its instrument."""
        sides = {"bids": [*self.bids.values()], "asks": [*self.asks.values()]}
        data = {**sides, "ts": str(self.ms), "checksum": self.checksum()}
        return json.dumps({"arg": message["arg"], "action": "snapshot", "data": [data]}).encode()

    def top(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)[:DEPTH]]
        asks = [self.asks[price] for price in sorted(self.asks)[:DEPTH]]
        return tuple(bids), tuple(asks)

    def checksum(self) -> int:
        """Of bid, ask, bid, ask …, each as `price:amount`; as a signed number of 32 bits."""
        bids, asks = self.top()
        texts = []
        for place in range(DEPTH):
            texts += [":".join(side[place]) for side in (bids, asks) if place < len(side)]
        return int.from_bytes(zlib.crc32(":".join(texts).encode()).to_bytes(4, "big"), "big", signed=True)


def received() -> list[tuple[Line, dict[str, Any]]]:
    return [(line, json.loads(line.text)) for line in lines(recording("OKX.ws.1.0.gz")) if not line.mark]


def messages(channel: str) -> list[tuple[Line, dict[str, Any]]]:
    """Those that bring data."""
    return [(line, each) for line, each in received() if each["arg"]["channel"] == channel and "data" in each]


def books_of(symbol: str) -> list[tuple[Line, dict[str, Any]]]:
    return [(line, each) for line, each in messages("books") if each["arg"]["instId"] == symbol]


def test_the_reader_finds_what_the_file_holds() -> None:
    kinds = Counter((each.get("event", "data"), each["arg"]["channel"]) for _, each in received())
    assert kinds == {
        ("subscribe", "tickers"): 9, ("subscribe", "trades"): 6, ("subscribe", "books"): 3,
        ("data", "tickers"): 28, ("data", "trades"): 74, ("data", "books"): 290,
    }  # fmt: skip
    assert Counter(each["arg"]["instId"] for _, each in messages("books")) == BOOKS
    assert Counter(each["action"] for _, each in messages("books")) == {"snapshot": 3, "update": 287}


def test_trades_field_by_field() -> None:
    """Their ids are contiguous."""
    adapter, ids = Okx(IDS, Options()), {symbol: list[int]() for symbol in IDS}
    for line, message in messages("trades"):
        (data,) = message["data"]
        assert data.keys() == {"instId", "tradeId", "px", "sz", "side", "ts"}
        assert [*adapter.decode(line.text.encode(), line.time_ns)] == [_trade(line, message)]
        ids[data["instId"]].append(int(data["tradeId"]))
    assert {symbol: len(found) for symbol, found in ids.items()} == TRADES
    for found in ids.values():
        assert found == [*range(found[0], found[0] + len(found))]


def test_tickers_field_by_field() -> None:
    adapter, compared = Okx(IDS, Options()), Counter[str]()
    for line, message in messages("tickers"):
        assert [*adapter.decode(line.text.encode(), line.time_ns)] == [_ticker(line, message)]
        compared[message["arg"]["instId"]] += 1
    assert compared.total() == 28
    assert compared.keys() == IDS.keys()


def test_books_at_every_message_and_every_tick() -> None:
    """The top and the checksum of each message, and every stored row."""
    adapter, stored = Okx(IDS, Options()), list[object]()
    feed = Feed("okx", stored.extend, _no_wants(), cadence_ns=SECOND_NS)
    streams = [Stream(number, _instrument(symbol), "book") for symbol, number in IDS.items()]
    feed.follow(streams, DEPTH, adapter)
    plain = {symbol: PlainBook() for symbol in IDS}
    expected: list[object] = []
    tick_ns, verified, answers = 0, Counter[str](), 0
    for line, message in received():
        tick_ns = tick_ns or line.time_ns // SECOND_NS * SECOND_NS
        while tick_ns <= line.time_ns:  # what is stored at a tick was received before it
            expected += [_row(symbol, book, tick_ns) for symbol, book in plain.items() if book.ms]
            tick_ns += SECOND_NS
        taken = feed.take(adapter, line.text.encode(), line.time_ns)
        if "event" in message:
            assert taken == [Ack(0)]
            answers += 1
            continue
        assert taken == []
        channel, symbol = message["arg"]["channel"], message["arg"]["instId"]
        if channel == "trades":
            expected.append(_trade(line, message))
        elif channel == "tickers":
            expected.append(_ticker(line, message))
        else:
            plain[symbol].take(message, line.time_ns)
            book = feed.books[IDS[symbol]]
            assert (book.in_sync, book.event_ns) == (True, plain[symbol].ms * MS_NS)
            assert book.top() == plain[symbol].top()
            checksum = message["data"][0]["checksum"]
            assert plain[symbol].checksum() == checksum
            assert adapter.books.checksum is not None
            assert adapter.books.checksum(*book.top()) == checksum
            verified[symbol] += 1
    assert verified == BOOKS
    assert verified.total() == 290
    assert answers == 18
    assert stored == expected
    assert Counter(type(row) for row in stored) == {OrderBook: 33, Trade: 74, Ticker: 28}
    assert feed.kinds == {"Ack": 18, "BookState": 3, "BookDelta": 287, "Trade": 74, "Ticker": 28}
    assert not feed.rejected
    assert not feed.ignored


@pytest.mark.parametrize("symbol", list(IDS))
def test_a_changed_digit_is_caught_at_that_message(symbol: str) -> None:
    """In each message in turn, of a level that it puts among the best 25: a checksum is of no others."""
    plain, changed = PlainBook(), 0
    for line, message in books_of(symbol):
        before = plain.whole(message) if plain.ms else None
        plain.take(message, line.time_ns)
        other = _with_another_digit(message, plain.top())
        if other is None:
            continue
        first = [] if before is None else [before]
        assert set(_needs([*first, line.text.encode()])) == {Need.NOTHING}
        assert _needs([*first, other]) == [*([Need.NOTHING] * len(first)), Need.RESYNC]
        changed += 1
    assert changed == {"BTC-USDT": 97, "UNI-USD-SWAP": 91, "BTC-USD-220527": 97}[symbol]


@pytest.mark.parametrize("symbol", list(IDS))
def test_a_dropped_change_is_found_at_the_next_one(symbol: str) -> None:
    """By its checksum, as these frames have no ids: where the next one leaves a trace of it among the best 25."""
    every, plain, found = books_of(symbol), PlainBook(), 0
    plain.take(every[0][1], every[0][0].time_ns)
    for (dropped_line, dropped), (line, message) in pairwise(every[1:]):
        before, without = plain.whole(message), plain.copy()
        plain.take(dropped, dropped_line.time_ns)
        with_it = plain.copy()
        with_it.take(message, line.time_ns)
        without.take(message, line.time_ns)
        leaves_a_trace = with_it.top() != without.top()
        assert _needs([before, line.text.encode()]) == [Need.NOTHING, Need.RESYNC if leaves_a_trace else Need.NOTHING]
        found += leaves_a_trace
    assert found == {"BTC-USDT": 96, "UNI-USD-SWAP": 80, "BTC-USD-220527": 96}[symbol]


def test_as_the_venue_sends_them_today_a_dropped_change_is_always_found() -> None:
    """The same books with sequence ids and without checksums, which no message can hide from."""
    for symbol in IDS:
        wires = [
            json.dumps(
                each | {"data": [each["data"][0] | {"checksum": 0, "prevSeqId": place * 5 - 1, "seqId": place * 5 + 4}]}
            ).encode()
            for place, (_, each) in enumerate(books_of(symbol))
        ]
        assert _needs(wires) == [Need.NOTHING] * BOOKS[symbol]
        for dropped in (1, len(wires) // 2, len(wires) - 2):
            needs = _needs([*wires[:dropped], *wires[dropped + 1 : dropped + 2]])
            assert needs == [*([Need.NOTHING] * dropped), Need.RESYNC]


def _needs(wires: list[bytes]) -> list[Need]:
    """What a book asks for at each message."""
    adapter, needs = Okx(IDS, Options()), []
    book = Book(0, DEPTH, adapter.follows, adapter.books)
    for wire in wires:
        (event,) = adapter.decode(wire, 1_700_000_000 * SECOND_NS)
        assert isinstance(event, BookState | BookDelta)
        needs.append(book.restart(event) if isinstance(event, BookState) else book.apply(event))
    return needs


def _with_another_digit(message: dict[str, Any], top: tuple[tuple[Level, ...], ...]) -> bytes | None:
    """One digit of one amount that is among the best 25; None where the message has none of those."""
    copy = json.loads(json.dumps(message))
    for side, best in zip(("bids", "asks"), top, strict=True):
        for row in copy["data"][0][side]:
            if (row[0], row[1]) in best:
                row[1] = row[1][:-1] + str((int(row[1][-1]) + 1) % 10)
                if Decimal(row[1]):
                    return json.dumps(copy).encode()
                row[1] += "1"
                return json.dumps(copy).encode()
    return None


def _no_wants() -> Wants:
    def never(*_: object) -> None:
        raise AssertionError

    return Wants(book=never, candles=never, check=never, renew=never)


def _instrument(symbol: str) -> Instrument:
    return Instrument("okx", symbol, symbol, "spot", "", "")


def _trade(line: Line, message: dict[str, Any]) -> Trade:
    (data,) = message["data"]
    ids = IDS[data["instId"]], int(data["ts"]) * MS_NS, data["tradeId"]
    return Trade(*ids, data["side"], data["px"], data["sz"], line.time_ns)


def _ticker(line: Line, message: dict[str, Any]) -> Ticker:
    (data,) = message["data"]
    spot = data["instType"] == "SPOT"
    return Ticker(
        IDS[data["instId"]], int(data["ts"]) * MS_NS, data["last"], data["bidPx"], data["bidSz"], data["askPx"],
        data["askSz"], data["open24h"], data["high24h"], data["low24h"], data["vol24h"] if spot else data["volCcy24h"],
        data["volCcy24h"] if spot else None, line.time_ns,
    )  # fmt: skip


def _row(symbol: str, book: PlainBook, tick_ns: int) -> OrderBook:
    """Where there are no ids the time of the book stands for them."""
    return OrderBook(
        IDS[symbol], tick_ns, book.ms * MS_NS, book.ms, *book.top(), True, book.received_ns, checksum_ok=True
    )
