"""Half a minute of real traffic (2021) through the adapter and the feed, against a reading of the file by other means.

The other reading uses `json`, `Decimal` and a sorted dict, and the rule of
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly.
"""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from ingest.collect.feed import Feed, Wants
from ingest.exchanges.adapter import Ignored, Options
from ingest.exchanges.binance import Binance
from ingest.records import BookDelta, Candle, CandleSource, Instrument, OrderBook, Quote, Stream, Trade
from tests.exchanges.recordings import Line, lines, recording

IDS = {"NKNUSDT": 1, "BLZETH": 2, "LRCBTC": 3, "RUNEEUR": 4}
DELTAS = {"NKNUSDT": 150, "BLZETH": 10, "LRCBTC": 15, "RUNEEUR": 2}
QUOTES = {"NKNUSDT": 74, "BLZETH": 1, "LRCBTC": 9}
SECOND_NS = 1_000_000_000
DEPTH = 20


class PlainBook:
    """The independent book of one instrument."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, tuple[str, str]], dict[Decimal, tuple[str, str]]] = ({}, {})
        self.sequence = 0
        self.event_ns: int | None = None
        self.received_ns = 0
        self.early: list[tuple[dict[str, Any], int]] = []
        self.known = False

    def snapshot(self, reply: dict[str, Any], time_ns: int) -> None:
        for side, key in zip(self.sides, ("bids", "asks"), strict=True):
            side.update({Decimal(price): (price, amount) for price, amount in reply[key]})
        self.sequence, self.received_ns, self.known = reply["lastUpdateId"], time_ns, True
        for delta, received_ns in self.early:
            self.update(delta, received_ns)

    def update(self, delta: dict[str, Any], time_ns: int) -> None:
        if not self.known:
            self.early.append((delta, time_ns))
            return
        if delta["u"] <= self.sequence:
            return
        assert delta["U"] <= self.sequence + 1, "the recording is free of gaps"
        for side, key in zip(self.sides, ("b", "a"), strict=True):
            for price, amount in delta[key]:
                if Decimal(amount) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = (price, amount)
        self.sequence, self.event_ns, self.received_ns = delta["u"], delta["E"] * 1_000_000, time_ns

    def top(self) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        bids, asks = self.sides
        return (
            tuple(bids[price] for price in sorted(bids, reverse=True)[:DEPTH]),
            tuple(asks[price] for price in sorted(asks)[:DEPTH]),
        )


def traffic() -> list[Line]:
    """Frames and snapshots by time of receipt."""
    received = [line for line in lines(recording("BINANCE.ws.1.0.gz")) if not line.mark]
    replies = [line for line in lines(recording("BINANCE.http.0.0.gz")) if line.mark == "->"]
    assert len(replies) == 4
    return sorted(received + replies, key=lambda line: line.time_ns)


def frames(kind: str) -> list[tuple[Line, dict[str, Any]]]:
    found = []
    for line in traffic():
        message = json.loads(line.text)
        if not line.mark and message["stream"].partition("@")[2] == kind:
            found.append((line, message["data"]))
    return found


def test_the_reader_finds_what_the_file_holds() -> None:
    (opened, *rest) = list(lines(recording("BINANCE.ws.1.0.gz")))
    assert (opened.mark, opened.time_ns, opened.text) == ("<->", 1_633_998_511_159_679_000, "")
    assert opened.url.startswith("wss://stream.binance.com:9443/stream?streams=nknusdt@depth@100ms/")
    assert {line.mark for line in rest} == {""}
    assert rest[0].time_ns == 1_633_998_512_063_356_900
    kinds = Counter(json.loads(line.text)["stream"].partition("@")[2] for line in rest)
    assert kinds == {"depth@100ms": 177, "bookTicker": 84, "kline_1m": 2, "aggTrade": 2}
    (listing,) = list(lines(recording("BINANCE.0.gz")))
    assert listing.url == "https://api.binance.com/api/v3/exchangeInfo"
    symbols = {symbol["symbol"] for symbol in json.loads(listing.text)["symbols"]}
    assert symbols >= set(IDS)


def test_deltas_field_by_field() -> None:
    adapter, compared = Binance(IDS, Options()), Counter[str]()
    for line, data in frames("depth@100ms"):
        assert list(adapter.decode(line.text.encode(), line.time_ns)) == [
            BookDelta(
                IDS[data["s"]],
                data["U"],
                data["u"],
                None,
                [(price, amount) for price, amount in data["b"]],
                [(price, amount) for price, amount in data["a"]],
                data["E"] * 1_000_000,
                line.time_ns,
            )
        ]
        compared[data["s"]] += 1
    assert compared == DELTAS
    assert compared.total() == 177


def test_trades_and_candles_field_by_field() -> None:
    plain = Binance(IDS, Options())
    asked = Binance(IDS, Options(trade_stream="aggTrade", include_open_candles=True))
    compared = Counter[str]()
    for line, data in frames("aggTrade"):
        side = "sell" if data["m"] else "buy"
        assert [*asked.decode(line.text.encode(), line.time_ns)] == [
            Trade(IDS[data["s"]], data["T"] * 1_000_000, str(data["a"]), side, data["p"], data["q"], line.time_ns)  # type: ignore[arg-type]
        ]
        assert [*plain.decode(line.text.encode(), line.time_ns)] == [Ignored("aggTrade: trade_stream is 'trade'")]
        compared["aggTrade"] += 1
    for line, data in frames("kline_1m"):
        k = data["k"]
        assert k["x"] is False
        assert [*asked.decode(line.text.encode(), line.time_ns)] == [
            Candle(
                IDS[data["s"]], k["t"] * 1_000_000, k["o"], k["h"], k["l"], k["c"], k["v"], k["q"], k["n"], k["V"],
                k["Q"], CandleSource.OPEN, line.time_ns,
            )
        ]  # fmt: skip
        assert [*plain.decode(line.text.encode(), line.time_ns)] == [Ignored("candle: still open")]
        compared["kline"] += 1
    assert compared == {"aggTrade": 2, "kline": 2}


def test_quotes_field_by_field() -> None:
    adapter, compared = Binance(IDS, Options()), Counter[str]()
    for line, data in frames("bookTicker"):
        assert data.keys() == {"u", "s", "b", "B", "a", "A"}
        assert list(adapter.decode(line.text.encode(), line.time_ns)) == [_quote(line, data)]
        assert list(adapter.decode(json.dumps(data).encode(), line.time_ns)) == [_quote(line, data)]
        compared[data["s"]] += 1
    assert compared == QUOTES
    assert compared.total() == 84


def test_books_at_every_delta_and_every_tick() -> None:
    """Each frame is taken when it came, each snapshot joined when it came; top 20 and every stored row are compared."""
    adapter = Binance(IDS, Options(trade_stream="aggTrade"))
    stored: list[object] = []
    wanted: list[int] = []
    feed = Feed("binance", stored.extend, _wants(wanted), cadence_ns=SECOND_NS)
    instruments = {symbol: Instrument("binance", symbol, symbol, "spot", "", "") for symbol in IDS}
    feed.follow([Stream(IDS[symbol], instruments[symbol], "book") for symbol in IDS], DEPTH, adapter)
    plain = {symbol: PlainBook() for symbol in IDS}
    expected: list[OrderBook] = []
    tick_ns, compared = 0, Counter[str]()
    for line in traffic():
        if not tick_ns:
            tick_ns = line.time_ns // SECOND_NS * SECOND_NS
        while tick_ns <= line.time_ns:  # what is stored at a tick was received before it
            expected.extend(_row(symbol, book, tick_ns) for symbol, book in plain.items() if book.known)
            tick_ns += SECOND_NS
        message = json.loads(line.text)
        if line.mark:
            symbol = line.url.partition("symbol=")[2].partition("&")[0]
            assert IDS[symbol] in wanted
            feed.sample(line.time_ns)  # the collector's timer
            feed.join(adapter.decode_book(line.text.encode(), IDS[symbol], DEPTH, line.time_ns))
            plain[symbol].snapshot(message, line.time_ns)
        else:
            assert not feed.take(adapter, line.text.encode(), line.time_ns)
            if "depth" not in message["stream"]:
                continue
            symbol = message["data"]["s"]
            plain[symbol].update(message["data"], line.time_ns)
        book = feed.books[IDS[symbol]]
        assert book.in_sync is plain[symbol].known
        if book.in_sync:
            assert (book.sequence, book.event_ns) == (plain[symbol].sequence, plain[symbol].event_ns)
            assert book.top() == plain[symbol].top()
            compared[symbol] += 1
    # One delta of each instrument came before its snapshot, and the snapshot itself is compared in its stead.
    assert compared == DELTAS
    books = [row for row in stored if isinstance(row, OrderBook)]
    assert books == expected
    # NKNUSDT from 13 to 42, BLZETH from 15, LRCBTC from 17, RUNEEUR from 23.
    assert Counter(row.instrument_id for row in books) == {1: 30, 2: 28, 3: 26, 4: 20}
    assert sum(len(row.bids) + len(row.asks) for row in books) == 104 * 2 * DEPTH
    assert sorted(wanted) == [1, 2, 3, 4]
    assert feed.kinds == {"BookDelta": 177, "Trade": 2, "Quote": 84, "Ignored": 2}
    assert feed.ignored == {"candle: still open": 2}
    assert not feed.rejected
    assert feed.frames == 265
    assert Counter(type(row) for row in stored) == {OrderBook: 104, Trade: 2, Quote: 84}
    assert [row for row in stored if isinstance(row, Quote)] == [_quote(*frame) for frame in frames("bookTicker")]


def test_quotes_delivered_twice_are_stored_once() -> None:
    """As while a connection is replaced: two lines deliver each state, the second one a moment later."""
    stored: list[object] = []
    feed = Feed("binance", stored.extend, _wants(stored), cadence_ns=SECOND_NS)
    old, new = Binance(IDS, Options()), Binance(IDS, Options())
    for line, _ in frames("bookTicker"):
        assert feed.take(old, line.text.encode(), line.time_ns) == []
        assert feed.take(new, line.text.encode(), line.time_ns + 1_000) == []
    assert stored == [_quote(*frame) for frame in frames("bookTicker")]
    assert feed.ignored == {"quote: not newer than the last": 84}
    assert feed.kinds == {"Quote": 168}


@pytest.mark.parametrize("symbol", list(IDS))
def test_a_dropped_delta_is_found_at_the_next_one(symbol: str) -> None:
    """The recording is free of gaps; without one of its deltas the book must say so at once, and never be wrong."""
    adapter = Binance(IDS, Options())
    found = 0
    every = [line for line in traffic() if _symbol(line) == symbol]
    deltas = [line for line in every if not line.mark]
    for dropped in deltas[1:-1]:
        stored: list[object] = []
        wanted: list[int] = []
        feed = Feed("binance", stored.extend, _wants(wanted), cadence_ns=3600 * SECOND_NS)
        feed.follow(
            [Stream(IDS[symbol], Instrument("binance", symbol, symbol, "spot", "", ""), "book")], DEPTH, adapter
        )
        plain = PlainBook()
        lost = False
        for line in every:
            if line.mark:
                feed.join(adapter.decode_book(line.text.encode(), IDS[symbol], DEPTH, line.time_ns))
                plain.snapshot(json.loads(line.text), line.time_ns)
            else:
                data = json.loads(line.text)["data"]
                plain.update(data, line.time_ns)
                if line is dropped:
                    lost = data["u"] == plain.sequence and plain.event_ns is not None
                    continue
                feed.take(adapter, line.text.encode(), line.time_ns)
                if lost:
                    assert not feed.books[IDS[symbol]].in_sync
                    assert wanted == [IDS[symbol]] * 2
                    found += 1
                    break
                if plain.known:
                    assert feed.books[IDS[symbol]].in_sync
    assert found == {"NKNUSDT": 148, "BLZETH": 8, "LRCBTC": 12, "RUNEEUR": 0}[symbol]


def _wants(snapshots: list[Any]) -> Wants:
    """Asks for nothing but snapshots of books."""

    def never(*_: object) -> None:
        raise AssertionError

    return Wants(book=snapshots.append, candles=never, check=never, renew=never)


def _quote(line: Line, data: dict[str, Any]) -> Quote:
    at_ns = line.time_ns // 1000 * 1000
    return Quote(IDS[data["s"]], at_ns, data["u"], data["b"], data["B"], data["a"], data["A"], line.time_ns)


def _row(symbol: str, book: PlainBook, tick_ns: int) -> OrderBook:
    bids, asks = book.top()
    return OrderBook(IDS[symbol], tick_ns, book.event_ns, book.sequence, bids, asks, True, book.received_ns)


def _symbol(line: Line) -> str:
    if line.mark:
        return line.url.partition("symbol=")[2].partition("&")[0]
    message = json.loads(line.text)
    return str(message["data"]["s"]) if "depth" in message["stream"] else ""
