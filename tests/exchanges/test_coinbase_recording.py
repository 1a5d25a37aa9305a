"""Half a minute of real traffic (2021) through the adapter and the feed, against a reading of the file by other means.

The recording is of Coinbase Pro, whose format is gone; its values are put into today's frames here, numbered as a
connection numbers them. The book's rule did not change: levels with the amounts that rest there, zero removes one.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from ingest.collect.book import Book
from ingest.collect.feed import Feed, Wants
from ingest.errors import Rejected
from ingest.exchanges.adapter import Options
from ingest.exchanges.coinbase import Coinbase
from ingest.records import BookDelta, BookState, Instrument, OrderBook, Quote, Stream, Ticker, Trade
from tests.exchanges.coinbase_today import AMOUNT, PRODUCTS, reframed
from tests.exchanges.recordings import nanoseconds

IDS = {product: number for number, product in enumerate(PRODUCTS, 1)}
CHANGES = {
    "SKL-USD": 2592, "DASH-BTC": 1925, "SKL-BTC": 1539, "BAND-BTC": 1005, "CRV-EUR": 670, "NMR-EUR": 665,
    "YFI-BTC": 487, "BAND-GBP": 471, "SKL-GBP": 289, "NU-GBP": 76,
}  # fmt: skip
SECOND_NS = 1_000_000_000
DEPTH = 20


class PlainBook:
    """The independent book of one product."""

    def __init__(self, old: dict[str, Any]) -> None:
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"buy": {}, "sell": {}}
        for side, levels in (("buy", old["bids"]), ("sell", old["asks"])):
            for price, amount in levels:
                self.change(side, price, amount)

    def change(self, side: str, price: str, amount: str) -> None:
        if Decimal(amount) == 0:
            self.sides[side].pop(Decimal(price), None)
        else:
            self.sides[side][Decimal(price)] = (price, amount)

    def top(self) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        bids, asks = self.sides["buy"], self.sides["sell"]
        return (
            tuple(bids[price] for price in sorted(bids, reverse=True)[:DEPTH]),
            tuple(asks[price] for price in sorted(asks)[:DEPTH]),
        )


def when(stamp: str) -> int:
    """Nanoseconds of a time of 2021-04-17, whose midnight was 1618617600."""
    hours, minutes, seconds = stamp.removeprefix("2021-04-17T").removesuffix("Z").split(":")
    return nanoseconds(str(1_618_617_600 + 3600 * int(hours) + 60 * int(minutes) + Decimal(seconds)))


def streams() -> list[Stream]:
    found = []
    for product, number in IDS.items():
        base, quote = product.split("-")
        instrument = Instrument("coinbase", f"{base}/{quote}", product, "spot", base, quote)
        found += [Stream(number, instrument, channel) for channel in ("trades", "book", "quotes", "ticker")]
    return found


def test_the_recording_holds_what_it_should() -> None:
    assert Counter(framed.old["type"] for framed in reframed()) == {
        "l2update": 9719, "ticker": 107, "match": 97, "snapshot": 10, "last_match": 10,
    }  # fmt: skip


def test_trade_ids_of_a_product_are_without_holes() -> None:
    """What the promise rests on."""
    latest: dict[str, int] = {}
    for framed in reframed():
        if framed.old["type"] in ("match", "last_match"):
            product, number = framed.old["product_id"], framed.old["trade_id"]
            assert number == latest.get(product, number - 1) + 1
            latest[product] = number
    assert set(latest) == set(PRODUCTS)
    assert Coinbase.promises["trades"] == "ids"


def test_trades_quotes_and_tickers_field_by_field() -> None:
    """Some tickers bear the same time as the one before: each is another quote, and has another number."""
    adapter, compared, numbers = Coinbase(IDS, Options()), Counter[str](), dict[int, int]()
    for time_ns, old, frame in reframed():
        if old["type"] not in ("match", "last_match", "ticker"):
            adapter.decode(frame, time_ns)
            continue
        number, at_ns = IDS[old["product_id"]], when(old["time"])
        compared[old["type"]] += 1
        if old["type"] == "ticker":
            best = (old["best_bid"], AMOUNT, old["best_ask"], AMOUNT)
            day = (None, old["high_24h"], old["low_24h"], old["volume_24h"], None)
            if at_ns // 1000 <= numbers.get(number, 0):
                compared["same time"] += 1
            numbers[number] = max(at_ns // 1000, numbers.get(number, 0) + 1)
            assert list(adapter.decode(frame, time_ns)) == [
                Quote(number, at_ns, numbers[number], *best, time_ns),
                Ticker(number, at_ns, old["price"], *best, *day, time_ns),
            ]
        else:
            taker = {"buy": "sell", "sell": "buy"}[old["side"]]  # it is the maker's that is named
            assert list(adapter.decode(frame, time_ns)) == [
                Trade(number, at_ns, str(old["trade_id"]), taker, old["price"], old["size"], time_ns)  # type: ignore[arg-type]
            ]
    assert compared == {"ticker": 107, "match": 97, "last_match": 10, "same time": 24}


def test_the_takers_side_is_the_one_that_moved_the_price() -> None:
    """Where a trade's price is that of the best bid or ask of the book before it, the side of its taker is known."""
    adapter, books, seen = Coinbase(IDS, Options()), dict[str, PlainBook](), Counter[str]()
    for time_ns, old, frame in reframed():
        product = old["product_id"]
        events = list(adapter.decode(frame, time_ns))
        if old["type"] == "match":
            bids, asks = books[product].top()
            price, (trade,) = Decimal(old["price"]), events
            assert isinstance(trade, Trade)
            if price <= Decimal(bids[0][0]):
                seen[f"{trade.side} at the bid"] += 1
            elif price >= Decimal(asks[0][0]):
                seen[f"{trade.side} at the ask"] += 1
        elif old["type"] == "snapshot":
            books[product] = PlainBook(old)
        elif old["type"] == "l2update":
            for change in old["changes"]:
                books[product].change(*change)
    right = seen["sell at the bid"] + seen["buy at the ask"]
    assert right > 10 * (seen["buy at the bid"] + seen["sell at the ask"])
    assert right > 20


def test_books_at_every_change_and_every_tick() -> None:
    """Top 20 and every stored row are compared; each frame is taken when it came."""
    adapter = Coinbase(IDS, Options())
    stored: list[object] = []
    feed = _feed(stored)
    plain: dict[str, PlainBook] = {}
    state: dict[str, tuple[int, int, int]] = {}  # event time, number, time of receipt
    expected: list[OrderBook] = []
    tick_ns, compared = 0, Counter[str]()
    for position, (time_ns, old, frame) in enumerate(reframed()):
        tick_ns = tick_ns or time_ns // SECOND_NS * SECOND_NS
        while tick_ns <= time_ns:  # what is stored at a tick was received before it
            for product in PRODUCTS:
                if product in plain:
                    event_ns, number, received_ns = state[product]
                    sides = plain[product].top()
                    expected.append(OrderBook(IDS[product], tick_ns, event_ns, number, *sides, True, received_ns))
            tick_ns += SECOND_NS
        assert feed.take(adapter, frame, time_ns) == []
        product = old["product_id"]
        if old["type"] == "snapshot":
            plain[product] = PlainBook(old)
        elif old["type"] == "l2update":
            for change in old["changes"]:
                plain[product].change(*change)
            compared[product] += 1
        else:
            continue
        state[product] = (when(old.get("time") or "2021-04-17T16:43:37Z"), position, time_ns)
        book = feed.books[IDS[product]]
        assert book.in_sync
        assert (book.event_ns, book.sequence, book.received_ns) == state[product]
        assert book.top() == plain[product].top()
    assert compared == CHANGES
    assert compared.total() == 9719
    rows = [row for row in stored if isinstance(row, OrderBook)]
    assert sorted(rows, key=_place) == sorted(expected, key=_place)
    assert len(rows) > 250
    assert sum(len(row.bids) + len(row.asks) for row in rows) > 30 * len(rows)
    assert not feed.rejected
    assert not feed.ignored
    assert feed.kinds == {"BookDelta": 9719, "BookState": 10, "Trade": 107, "Quote": 107, "Ticker": 107}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_dropped_frame_is_found_at_the_next_one(product: str) -> None:
    """Whatever it was and whatever follows, all books of the connection are out of sync at once."""
    every = list(reframed())[:1500]
    start = max(at for at, framed in enumerate(every) if framed.old["type"] == "snapshot") + 1
    found = 0
    for dropped in range(start, len(every) - 1, 97):
        adapter = Coinbase(IDS, Options())
        books = {number: Book(number, DEPTH, adapter.follows, adapter.books) for number in IDS.values()}
        for position, (time_ns, _, frame) in enumerate(every[: dropped + 2]):
            if position == dropped:
                continue
            for event in adapter.decode(frame, time_ns):
                if isinstance(event, BookState):
                    books[event.instrument_id].restart(event)
                elif isinstance(event, BookDelta):
                    books[event.instrument_id].apply(event)
            assert books[IDS[product]].in_sync is (position <= dropped and books[IDS[product]].known), position
        found += 1
    assert found > 10


def test_a_character_that_is_no_digit_is_caught_at_that_message() -> None:
    """The venue sends no checksum: another digit would be another level."""
    adapter, feed = Coinbase(IDS, Options()), _feed()
    done: set[str] = set()
    for time_ns, old, frame in reframed():
        if old["type"] != "l2update" or old["product_id"] in done:
            feed.take(adapter, frame, time_ns)
            continue
        price = old["changes"][0][1].encode()
        assert feed.take(adapter, frame.replace(b'"%s"' % price, b'"%sx"' % price), time_ns) is None
        assert not feed.books[IDS[old["product_id"]]].in_sync
        done.add(old["product_id"])
        assert feed.rejected.total() == len(done)
    assert done == set(PRODUCTS)


def test_altered_frames_are_refused_and_never_crash() -> None:
    for time_ns, _, frame in list(reframed())[20:200:7]:
        for cut in (1, len(frame) // 2, len(frame) - 1):
            with pytest.raises(Rejected):
                Coinbase(IDS, Options()).decode(frame[:cut], time_ns)


def _place(row: OrderBook) -> tuple[int, int]:
    return row.time_ns, row.instrument_id


def _feed(stored: list[object] | None = None) -> Feed:
    kept: list[object] = [] if stored is None else stored
    feed = Feed("coinbase", kept.extend, _wants([]), cadence_ns=SECOND_NS)
    feed.follow([stream for stream in streams() if stream.channel == "book"], DEPTH, Coinbase(IDS, Options()))
    return feed


def _wants(snapshots: list[Any]) -> Wants:
    """Asks for nothing but snapshots of books."""

    def never(*_: object) -> None:
        raise AssertionError

    return Wants(book=snapshots.append, candles=never, check=never, renew=never)
