"""Half a minute of real traffic (2021), in today's form, through the adapter and the feed, against another reading.

The other reading uses `json`, `Decimal`, a dict and `zlib`, and the rules of
https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache

import pytest
from msgspec import structs

from ingest.collect.book import Book, Need
from ingest.collect.feed import Feed, Wants
from ingest.exchanges.adapter import Options
from ingest.exchanges.kraken import Kraken
from ingest.records import BookDelta, BookState, Gap, Instrument, Mark, OrderBook, Stream, Trade
from tests.exchanges.kraken_v2 import DEPTH, FIRST_TRADE_ID, Message, messages

BOOKS, TRADES = "KRAKEN.ws.50.0.gz", "KRAKEN.ws.48.0.gz"
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
IDS = {pair: number for number, pair in enumerate(PAIRS, 1)}
CHECKSUMS = 4_269
STORED = 20
SECOND_NS = 1_000_000_000
ALTERED_EVERY = 11


class PlainBook:
    """The independent book of one instrument."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, tuple[str, str]], dict[Decimal, tuple[str, str]]] = ({}, {})

    def take(self, message: Message) -> None:
        if message.kind == "snapshot":
            self.sides = ({}, {})
        for side, levels, best in zip(self.sides, (message.bids, message.asks), (max, min), strict=True):
            for price, amount in levels:
                if Decimal(amount):
                    side[Decimal(price)] = (price, amount)
                else:
                    side.pop(Decimal(price), None)
            worst = min if best is max else max
            while len(side) > DEPTH:
                del side[worst(side)]

    def top(self, depth: int) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        bids, asks = self.sides
        return (
            tuple(bids[price] for price in sorted(bids, reverse=True)[:depth]),
            tuple(asks[price] for price in sorted(asks)[:depth]),
        )

    def checksum(self) -> int:
        bids, asks = self.top(10)
        text = ""
        for price, amount in asks + bids:
            text += str(int(price.replace(".", ""))) + str(int(amount.replace(".", "")))
        return zlib.crc32(text.encode())


@cache
def told() -> list[tuple[Message, bytes, tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]]]:
    """Each message with its frame and the best levels after it; of a snapshot the checksum is this reading's."""
    plain = {pair: PlainBook() for pair in PAIRS}
    found = []
    for message in messages(BOOKS):
        book = plain[message.symbol]
        book.take(message)
        crc = book.checksum()
        assert message.checksum in (None, crc), "the recording is free of gaps"
        found.append((message, message.frame(crc), book.top(STORED)))
    return found


def adapter() -> Kraken:
    return Kraken(IDS, Options(book_depth=DEPTH))


def test_what_the_recording_holds() -> None:
    kinds = Counter(message.kind for message, _, _ in told())
    assert kinds == {"snapshot": 10, "update": CHECKSUMS}
    assert {message.symbol for message, _, _ in told()} == set(PAIRS)
    zeros = sum(amount.endswith("0") for message, _, _ in told() for _, amount in message.bids + message.asks)
    assert zeros > 5_000, "trailing zeros, without which no checksum is right"


def test_deltas_and_snapshots_field_by_field() -> None:
    at, numbers = adapter(), Counter[str]()
    for message, frame, _ in told():
        numbers[message.symbol] += 1
        number, instrument_id = numbers[message.symbol], IDS[message.symbol]
        event_ns = int(message.at * 1_000_000) * 1_000
        (event,) = at.decode(frame, message.time_ns)
        if message.kind == "snapshot":
            assert isinstance(event, BookState)
            whole = (message.bids, message.asks, None, message.time_ns, True, event_ns, event.checksum)
            assert event == BookState(instrument_id, number, *whole)
        else:
            levels = (message.bids, message.asks, event_ns, message.time_ns, message.checksum)
            assert event == BookDelta(instrument_id, number, number, None, *levels)
    assert numbers.total() == CHECKSUMS + 10


def test_every_checksum_and_every_row() -> None:
    at = adapter()
    stored: list[object] = []
    feed = Feed("kraken", stored.extend, _wants(), cadence_ns=SECOND_NS)
    feed.follow([_stream(pair) for pair in PAIRS], STORED, at)
    expected: list[tuple[int, int, object, object]] = []
    shown: dict[str, object] = {}
    tick_ns, verified = 0, 0
    for message, frame, top in told():
        tick_ns = tick_ns or message.time_ns // SECOND_NS * SECOND_NS
        while tick_ns <= message.time_ns:  # what is stored at a tick was received before it
            expected += [(tick_ns, IDS[pair], shown[pair], True) for pair in PAIRS if pair in shown]
            tick_ns += SECOND_NS
        assert feed.take(at, frame, message.time_ns) == []
        book = feed.books[IDS[message.symbol]]
        assert book.in_sync, book.cause
        assert book.top() == top
        shown[message.symbol] = top
        verified += message.checksum is not None
    assert verified == CHECKSUMS
    rows = [row for row in stored if isinstance(row, OrderBook)]
    assert [(row.time_ns, row.instrument_id, (row.bids, row.asks), row.in_sync) for row in rows] == expected
    assert len(rows) > 250
    assert not [item for item in stored if isinstance(item, Gap)]
    assert not feed.rejected
    assert not feed.ignored
    assert feed.kinds == {"BookDelta": CHECKSUMS, "BookState": 10}


def test_one_changed_digit_is_caught_at_that_message() -> None:
    """Wherever the changed level is among the ten that the checksum covers; below, nothing on the wire could tell."""
    found = Counter[bool]()
    for message, book, at in _places():
        covered, changed = False, message.frame(message.checksum or 0)
        for price, amount in message.bids + message.asks:
            if Decimal(amount):
                other = str(9 - int(amount[-1]))
                level = f'{{"price":{price},"qty":{amount}}}'.encode()
                digit = f'{{"price":{price},"qty":{amount[:-1]}{other}}}'.encode()
                covered = (price, amount) in _after(message, book, at)
                changed = changed.replace(level, digit, 1)
                break
        else:
            continue
        (delta,) = at.decode(changed, message.time_ns)
        assert isinstance(delta, BookDelta)
        need = book.apply(delta)
        found[covered] += 1
        assert book.in_sync is not covered
        assert need is (Need.RESYNC if covered else Need.NOTHING)
        assert not covered or re.match(r"checksum: \d+ is not the venue's \d+", book.cause)
    assert found == {True: 190, False: 52}


def test_one_dropped_delta_is_caught_at_the_next() -> None:
    """Where it changed the ten levels that the checksum covers, and the next one did not say the same again."""
    found = Counter[bool]()
    following = _following()
    for message, book, at in _places():
        after = following.get(id(message))
        if after is None:
            continue
        right = _copy(book, at)
        before = _ten(right)
        for each in (message, after):
            (delta,) = at.decode(each.frame(each.checksum or 0), each.time_ns)
            assert isinstance(delta, BookDelta)
            right.apply(delta)
            if each is message:
                covered = _ten(right) != before
        assert right.in_sync
        (late,) = at.decode(after.frame(after.checksum or 0), after.time_ns)
        assert isinstance(late, BookDelta)
        need = book.apply(late)
        noticed = _ten(book) != _ten(right)
        assert book.in_sync is not noticed
        assert need is (Need.RESYNC if noticed else Need.NOTHING)
        found[covered and noticed] += 1
    assert found == {True: 279, False: 108}


def test_trades_field_by_field() -> None:
    at, compared = adapter(), Counter[str]()
    for message in messages(TRADES):
        wanted = [
            Trade(
                IDS[message.symbol],
                int(time * 1_000) * 1_000_000,
                str(number),
                side,  # type: ignore[arg-type]  # buy or sell
                price,
                amount,
                message.time_ns,
            )
            for time, number, side, price, amount in message.trades
        ]
        assert list(at.decode(message.frame(0), message.time_ns)) == wanted
        compared[message.symbol] += len(wanted)
    assert compared == {"XMR/USD": 4, "SC/EUR": 6}


def test_a_skipped_trade_is_a_gap() -> None:
    at = adapter()
    stored: list[object] = []
    feed = Feed("kraken", stored.extend, _wants(), cadence_ns=SECOND_NS)
    feed.follow([_stream("SC/EUR", "trades")], STORED, at)
    sent = [message for message in messages(TRADES) if message.symbol == "SC/EUR"]
    for message in (*sent[:1], *sent[2:]):
        assert feed.take(at, message.frame(0), message.time_ns) == []
    feed.finish(sent[-1].time_ns + 60 * SECOND_NS)
    (gap,) = [item for item in stored if isinstance(item, Gap)]
    skipped = [number for _, number, *_ in sent[1].trades]
    assert (gap.from_id, gap.to_id) == (skipped[0], skipped[-1])
    assert skipped == [FIRST_TRADE_ID + 1, FIRST_TRADE_ID + 2]
    assert not [item for item in stored if isinstance(item, Mark) and (item.id or 0) >= skipped[0]]


def _places() -> Iterator[tuple[Message, Book, Kraken]]:
    """Every eleventh message, with a book as it was before it."""
    at = adapter()
    books = {pair: Book(number, STORED, at.follows, at.books) for pair, number in IDS.items()}
    for count, (message, frame, _) in enumerate(told()):
        book = books[message.symbol]
        if message.kind == "update" and count % ALTERED_EVERY == 0:
            yield message, _copy(book, at), at
        (event,) = at.decode(frame, message.time_ns)
        if isinstance(event, BookState):
            book.restart(event)
        elif isinstance(event, BookDelta):
            book.apply(event)


def _copy(book: Book, at: Kraken) -> Book:
    other = Book(book.instrument_id, book.depth, at.follows, at.books)
    bids, asks = (list(side.top(DEPTH)) for side in (book._bids, book._asks))
    other.restart(BookState(book.instrument_id, 1, bids, asks, None, book.received_ns, streamed=True))
    return other


def _ten(book: Book) -> tuple[object, object]:
    return book._bids.top(10), book._asks.top(10)


def _after(message: Message, book: Book, at: Kraken) -> list[tuple[str, str]]:
    """The ten levels a side after the message as it was."""
    right = _copy(book, at)
    (delta,) = at.decode(message.frame(message.checksum or 0), message.time_ns)
    assert isinstance(delta, BookDelta)
    right.apply(structs.replace(delta))
    return [*right._bids.top(10), *right._asks.top(10)]


def _following() -> dict[int, Message]:
    """By the identity of a message, the next one of its instrument."""
    latest: dict[str, Message] = {}
    following: dict[int, Message] = {}
    for message, _, _ in told():
        if message.symbol in latest:
            following[id(latest[message.symbol])] = message
        latest[message.symbol] = message
    return following


def _stream(pair: str, channel: str = "book") -> Stream:
    return Stream(IDS[pair], Instrument("kraken", pair, pair, "spot", "", ""), channel)  # type: ignore[arg-type]


def _wants() -> Wants:
    """Asks for nothing."""

    def never(*_: object) -> None:
        pytest.fail("nothing is missing")

    return Wants(book=never, candles=never, check=lambda _stream: None, renew=never)
