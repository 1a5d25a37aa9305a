"""Coinbase Advanced Trade's frames and replies as its documentation prints them, and what no venue should send.

The frames are those of `../shared/recordings/samples/coinbase` and of
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.clock import MINUTE, SECOND
from ingest.collect.book import Book, Need
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Bad, Event, Ignored, Options
from ingest.exchanges.coinbase import Coinbase
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Instrument,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)
from tests.exchanges.recordings import sample

BTC, ETH, BTC_USDC = 7, 8, 9
IDS = {"BTC-USD": BTC, "ETH-USD": ETH, "BTC-USDC": BTC_USDC}
NOW_NS = 1_775_572_220 * SECOND  # 2026-04-07T14:30:20Z
AT_NS = 1_775_572_203 * SECOND  # 2026-04-07T14:30:03Z
AT = "2026-04-07T14:30:03.123456789Z"
CUT_NS = AT_NS + 123_456_000

TRADE: dict[str, Any] = {
    "product_id": "BTC-USD", "trade_id": "929248663", "price": "88355.58", "size": "0.00003338",
    "time": "2026-04-07T14:30:02.654578Z", "side": "BUY",
}  # fmt: skip
A_TRADE = Trade(BTC, AT_NS - SECOND + 654_578_000, "929248663", "sell", "88355.58", "0.00003338", NOW_NS)
TICK: dict[str, Any] = {
    "type": "ticker", "product_id": "BTC-USD", "price": "21932.98", "volume_24_h": "16038.28770938",
    "low_24_h": "21835.29", "high_24_h": "23011.18", "low_52_w": "15460", "high_52_w": "48240",
    "price_percent_chg_24_h": "-4.15775596190603", "best_bid": "21931.98", "best_bid_quantity": "8000.21",
    "best_ask": "21933.98", "best_ask_quantity": "8038.07770938",
}  # fmt: skip
A_TICKER = Ticker(
    BTC, CUT_NS, "21932.98", "21931.98", "8000.21", "21933.98", "8038.07770938", None, "23011.18", "21835.29",
    "16038.28770938", None, NOW_NS,
)  # fmt: skip
A_QUOTE = Quote(BTC, CUT_NS, CUT_NS // 1000, "21931.98", "8000.21", "21933.98", "8038.07770938", NOW_NS)


def adapter(**options: Any) -> Coinbase:
    return Coinbase(IDS, Options(**options))


def instrument(native: str, alias: str = "") -> Instrument:
    base, quote = native.split("-")
    info = json.dumps({"product_id": native, "alias": alias}).encode()
    return Instrument("coinbase", f"{base}/{quote}", native, "spot", base, quote, info=info)


def stream(native: str, channel: Channel, alias: str = "") -> Stream:
    return Stream(IDS[native], instrument(native, alias), channel)


def subscribed(*streams: Stream) -> Coinbase:
    venue = adapter()
    venue.subscribe(streams, 1)
    return venue


def frame(channel: str, number: object, *events: dict[str, Any], timestamp: object = AT) -> bytes:
    message = {"channel": channel, "client_id": "", "timestamp": timestamp, "sequence_num": number, "events": events}
    return json.dumps(message).encode()


def trades(number: object, *entries: dict[str, Any], kind: str = "update") -> bytes:
    return frame("market_trades", number, {"type": kind, "trades": entries})


def ticks(number: object, *entries: dict[str, Any]) -> bytes:
    return frame("ticker", number, {"type": "update", "tickers": entries})


def change(side: str, price: object, amount: object) -> dict[str, Any]:
    return {"side": side, "event_time": "1970-01-01T00:00:00Z", "price_level": price, "new_quantity": amount}


def level2(number: object, kind: str, *updates: dict[str, Any], product: str = "BTC-USD") -> bytes:
    return frame("l2_data", number, {"type": kind, "product_id": product, "updates": updates})


def heartbeat(number: object) -> bytes:
    told = "2026-04-07 14:30:03.121961769 +0000 UTC m=+91717.525857105"
    return frame("heartbeats", number, {"current_time": told, "heartbeat_counter": "3049"})


def subscriptions(number: object, **held: list[str]) -> bytes:
    return frame("subscriptions", number, {"subscriptions": held})


def delta(number: int, previous: int, *, bids: Any = (), asks: Any = (), of: int = BTC) -> BookDelta:
    return BookDelta(of, number, number, previous, list(bids), list(asks), CUT_NS, NOW_NS)


def broken(number: int, of: int = BTC) -> BookDelta:
    """What tells a book that something is missing before this frame."""
    return BookDelta(of, number, number, -1, [], [], 0, NOW_NS)


def refused(text: bytes, venue: Coinbase | None = None) -> str:
    """The reason of the refusal."""
    with pytest.raises(Rejected) as caught:
        (venue or adapter()).decode(text, NOW_NS)
    return str(caught.value)


# The samples, whole


def decoded(name: str, venue: Coinbase | None = None) -> list[Event]:
    return list((venue or adapter()).decode(sample(f"coinbase/{name}"), NOW_NS))


def test_the_sample_of_trades() -> None:
    """Its sides are the makers', so the takers' are the others."""
    ns = 1_775_572_202 * SECOND
    assert decoded("ws_market_trades.json") == [
        Trade(BTC, ns + 789_012_000, "995098700", "sell", "68900.50", "0.00150000", NOW_NS),
        Trade(BTC, ns + 800_000_000, "995098701", "buy", "68900.00", "0.05000000", NOW_NS),
    ]


def test_the_samples_of_a_book() -> None:
    venue = adapter()
    first_ns, then_ns = 1_775_572_200 * SECOND + 123_456_000, 1_775_572_201 * SECOND + 456_789_000
    assert decoded("ws_l2_data_snapshot.json", venue) == [
        BookState(
            BTC, 0,
            [("68900.00", "1.50000000"), ("68899.50", "0.75000000"), ("68899.00", "2.30000000")],
            [("68901.00", "0.50000000"), ("68901.50", "1.20000000"), ("68902.00", "0.80000000")],
            None, NOW_NS, streamed=True, event_ns=first_ns,
        )
    ]  # fmt: skip
    assert decoded("ws_l2_data_update.json", venue) == [
        BookDelta(BTC, 1, 1, 0, [("68900.00", "2.00000000")], [("68901.00", "0.00000000")], then_ns, NOW_NS)
    ]


def test_the_sample_of_a_ticker_is_quote_and_ticker() -> None:
    best = ("68900.00", "1.50000000", "68901.00", "0.50000000")
    quote = Quote(BTC, AT_NS, AT_NS // 1000, *best, NOW_NS)
    ticker = Ticker(
        BTC, AT_NS, "68900.50", *best, None, "69200.00", "67500.00", "15328.12345678", None, NOW_NS
    )  # fmt: skip
    assert decoded("ws_ticker.json") == [quote, ticker]
    assert decoded("ws_ticker.json", subscribed(stream("BTC-USD", "ticker"))) == [ticker]
    assert decoded("ws_ticker.json", subscribed(stream("BTC-USD", "quotes"))) == [quote]


def test_samples_of_what_is_not_stored() -> None:
    assert decoded("ws_candles.json") == [Ignored("candles: channel not collected")]
    assert decoded("ws_heartbeats.json") == [Ignored("heartbeat: no data")]
    assert decoded("ws_subscriptions.json") == [Ignored("subscriptions: nothing that was asked for")]


def test_the_sample_of_a_subscription() -> None:
    venue = adapter()
    venue.subscribe([stream("BTC-USD", "book"), stream("BTC-USD", "trades"), stream("ETH-USD", "trades")], 5)
    assert decoded("ws_subscriptions.json", venue) == [Ack(6), Ack(7)]


def test_the_sample_of_latest_trades() -> None:
    """The newest was sold by its maker at the best ask: its taker bought."""
    body = sample("coinbase/http_ticker.json")
    ns = 1_775_521_737 * SECOND
    found = adapter().decode_reply("https://x/api/v3/brokerage/market/products/BTC-USD/ticker?limit=3", body, NOW_NS)
    assert list(found) == [
        Trade(BTC, ns + 296_283_000, "995098661", "sell", "68924.94", "0.01450854", NOW_NS),
        Trade(BTC, ns + SECOND + 250_358_000, "995098662", "buy", "68923.67", "0.00123858", NOW_NS),
        Trade(BTC, ns + SECOND + 544_778_000, "995098663", "buy", "68923.67", "0.00064", NOW_NS),
    ]
    assert json.loads(body)["best_ask"] == "68923.67"
    assert adapter().decode_latest_trade(body) == 995_098_663


def test_the_sample_of_candles() -> None:
    body = sample("coinbase/http_candles.json")
    first, second = 1_712_188_800 * SECOND, 1_712_192_400 * SECOND
    nothing = (None, None, None, None, CandleSource.REST, NOW_NS)
    expected = [
        Candle(BTC, first, "65984.18", "66387.77", "65857.35", "66314.59", "358.74851052", *nothing),
        Candle(BTC, second, "66312.4", "66331.99", "66055.14", "66181.6", "355.82896243", *nothing),
    ]
    found = adapter().decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS)
    assert found == (expected, [])
    found = adapter().decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=second + MINUTE - 1)
    assert found == (expected[:1], [])
    url = "https://x/api/v3/brokerage/market/products/BTC-USD/candles?granularity="
    assert list(adapter().decode_reply(f"{url}ONE_MINUTE", body, NOW_NS)) == expected
    assert list(adapter().decode_reply(f"{url}ONE_HOUR", body, NOW_NS)) == [Ignored("candle: not 1m")]


def test_the_sample_of_a_book_by_rest() -> None:
    state = adapter().decode_book(sample("coinbase/http_product_book.json"), BTC, 20, NOW_NS)
    assert state == BookState(
        BTC, 0,
        [("68923.66", "0.17189468"), ("68923", "0.05795895"), ("68922.99", "0.02177956"), ("68921.72", "0.000016"),
         ("68921.61", "0.04352771")],
        [("68923.67", "0.16987193"), ("68926", "0.058"), ("68926.09", "0.01015616"), ("68926.3", "0.0870495"),
         ("68928", "0.058")],
        80, NOW_NS, event_ns=1_775_521_739 * SECOND + 662_782_000,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["http_product", "http_products", "http_products_future"])
def test_samples_of_products_are_of_no_stream(name: str) -> None:
    path = "products/BTC-USD" if name == "http_product" else "products"
    found = adapter().decode_reply(
        f"https://x/api/v3/brokerage/market/{path}", sample(f"coinbase/{name}.json"), NOW_NS
    )  # fmt: skip
    assert [type(event) for event in found] == [Ignored]


# Frames


def test_trades_come_oldest_first_whatever_their_order() -> None:
    """The venue sends the newest first, and several products in one frame."""
    entries = [
        TRADE,
        TRADE | {"product_id": "ETH-USD", "trade_id": "12", "price": "1260.01", "side": "SELL"},
        TRADE | {"trade_id": "929248662", "time": "2026-04-07T14:30:02.6Z"},
    ]
    found = adapter().decode(trades(9, *entries, kind="snapshot"), NOW_NS)
    eth = Trade(ETH, A_TRADE.time_ns, "12", "buy", "1260.01", "0.00003338", NOW_NS)
    older = Trade(BTC, AT_NS - SECOND + 600_000_000, "929248662", "sell", "88355.58", "0.00003338", NOW_NS)
    assert list(found) == [eth, older, A_TRADE]


def test_several_events_and_none() -> None:
    two = frame("market_trades", 1, {"type": "snapshot", "trades": []}, {"type": "update", "trades": [TRADE]})
    assert list(adapter().decode(two, NOW_NS)) == [A_TRADE]
    for empty in ([], [{"type": "snapshot", "trades": None}], [{"type": "snapshot", "trades": []}]):
        assert list(adapter().decode(frame("market_trades", 1, *empty), NOW_NS)) == [Ignored("nothing in it")]


def test_digits_are_kept_as_sent() -> None:
    (trade,) = adapter().decode(trades(1, TRADE | {"price": "00.10", "size": "123456789012345678.1234567890"}), NOW_NS)
    assert isinstance(trade, Trade)
    assert (trade.price, trade.amount) == ("00.10", "123456789012345678.1234567890")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-04-07T14:30:03Z", 0),
        ("2026-04-07T14:30:03.1Z", 100_000_000),
        ("2026-04-07T14:30:03.44524Z", 445_240_000),
        ("2026-04-07T14:30:03.999999Z", 999_999_000),
        ("2026-04-07T14:30:03.9999999Z", 999_999_000),
        ("2026-04-07T14:30:03.123456789Z", 123_456_000),
    ],
)
def test_times_of_any_length_are_cut_to_microseconds(text: str, ns: int) -> None:
    (trade,) = adapter().decode(trades(1, TRADE | {"time": text}), NOW_NS)
    assert isinstance(trade, Trade)
    assert trade.time_ns == AT_NS + ns
    (state,) = adapter().decode(
        frame("l2_data", 1, {"type": "snapshot", "product_id": "BTC-USD", "updates": []}, timestamp=text), NOW_NS
    )
    assert isinstance(state, BookState)
    assert state.event_ns == AT_NS + ns


@pytest.mark.parametrize("key", ["best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"])
def test_a_quote_of_one_side_is_none(key: str) -> None:
    venue = subscribed(stream("BTC-USD", "quotes"))
    for text in ("", "0", "0.00"):
        if text and "quantity" in key:
            continue
        assert list(venue.decode(ticks(1, TICK | {key: text}), NOW_NS))[-1] == Ignored(
            "quote: a side of the book is empty"
        )
    rest = {name: value for name, value in TICK.items() if name != key}
    assert list(venue.decode(ticks(2, rest), NOW_NS))[-1] == Ignored("quote: a side of the book is empty")


def test_two_quotes_of_one_moment_are_two() -> None:
    """Their time is their number, but where another one has it already."""
    venue, us = subscribed(stream("BTC-USD", "quotes"), stream("ETH-USD", "quotes")), CUT_NS // 1000
    found = [event for n in (1, 2) for event in venue.decode(ticks(n, TICK, TICK), NOW_NS)]
    assert [event.sequence for event in found if isinstance(event, Quote)] == [us, us + 1, us + 2, us + 3]
    (other,) = venue.decode(ticks(3, TICK | {"product_id": "ETH-USD"}), NOW_NS)
    assert isinstance(other, Quote)
    assert other.sequence == us


def test_a_ticker_of_little_and_of_nothing() -> None:
    venue = subscribed(stream("BTC-USD", "ticker"))
    assert list(venue.decode(ticks(1, {"product_id": "BTC-USD", "price": "1"}), NOW_NS)) == [
        Ticker(BTC, CUT_NS, "1", None, None, None, None, None, None, None, None, None, NOW_NS)
    ]
    nothing = dict.fromkeys(TICK, "")
    assert list(venue.decode(ticks(2, nothing, TICK), NOW_NS)) == [Ignored("ticker: of no product"), A_TICKER]


def test_what_was_not_subscribed_is_not_made_of_a_ticker() -> None:
    assert list(adapter().decode(ticks(1, TICK), NOW_NS)) == [A_QUOTE, A_TICKER]
    assert list(subscribed(stream("BTC-USD", "quotes")).decode(ticks(1, TICK), NOW_NS)) == [A_QUOTE]
    both = subscribed(stream("BTC-USD", "quotes"), stream("BTC-USD", "ticker"))
    assert list(both.decode(ticks(1, TICK), NOW_NS)) == [A_QUOTE, A_TICKER]


def test_an_error_is_the_connections() -> None:
    """It carries neither an id nor a number: the count goes on."""
    venue = adapter()
    venue.decode(heartbeat(4), NOW_NS)
    said = "too many L2 streams requested in a single session"
    error = json.dumps({"type": "error", "message": said}).encode()
    assert list(venue.decode(error, NOW_NS)) == [Ack(0, said)]
    assert list(venue.decode(heartbeat(5), NOW_NS)) == [Ignored("heartbeat: no data")]
    assert list(venue.decode(b'{"type":"error"}', NOW_NS)) == [Ack(0, "no reason given")]


# Two names of one product


def test_a_product_under_its_other_name() -> None:
    """The venue streams BTC-USDC as BTC-USD, and its product says so."""
    venue = adapter()
    (_, asked) = venue.subscribe([stream("BTC-USDC", "trades", alias="BTC-USD")], 1)
    assert json.loads(asked.frame)["product_ids"] == ["BTC-USD"]
    assert list(venue.decode(subscriptions(0, heartbeats=["heartbeats"], market_trades=["BTC-USD"]), NOW_NS)) == [
        Ack(1),
        Ack(2),
    ]
    (trade,) = venue.decode(trades(1, TRADE), NOW_NS)
    assert trade == msgspec.structs.replace(A_TRADE, instrument_id=BTC_USDC)


def test_both_names_of_one_product_are_served() -> None:
    venue = adapter()
    channels: tuple[Channel, ...] = ("trades", "quotes", "ticker")
    streams = [stream("BTC-USD", channel) for channel in channels]
    streams += [stream("BTC-USDC", channel, alias="BTC-USD") for channel in channels]
    asked = venue.subscribe(streams, 1)
    assert [json.loads(one.frame).get("product_ids") for one in asked] == [None, ["BTC-USD"], ["BTC-USD"]]
    other = msgspec.structs.replace
    assert list(venue.decode(trades(1, TRADE), NOW_NS)) == [A_TRADE, other(A_TRADE, instrument_id=BTC_USDC)]
    assert list(venue.decode(ticks(2, TICK), NOW_NS)) == [
        A_QUOTE, other(A_QUOTE, instrument_id=BTC_USDC), A_TICKER, other(A_TICKER, instrument_id=BTC_USDC),
    ]  # fmt: skip
    books = subscribed(stream("BTC-USD", "book"), stream("BTC-USDC", "book", alias="BTC-USD"))
    states = books.decode(level2(1, "snapshot", change("bid", "1", "2")), NOW_NS)
    assert [state.instrument_id for state in states if isinstance(state, BookState)] == [BTC, BTC_USDC]
    assert list(books.decode(level2(2, "update", change("bid", "1", "0")), NOW_NS)) == [
        delta(2, 1, bids=[("1", "0")]),
        delta(2, 1, bids=[("1", "0")], of=BTC_USDC),
    ]
    assert list(books.decode(heartbeat(4), NOW_NS))[:2] == [broken(4), broken(4, BTC_USDC)]


def test_a_product_with_a_name_of_its_own() -> None:
    """USDT-USDC and EURC-USDC are streamed as such: they have no alias."""
    (_, asked) = Coinbase({}, Options()).subscribe([Stream(1, instrument("USDT-USDC"), "book")], 1)
    assert json.loads(asked.frame)["product_ids"] == ["USDT-USDC"]


# The numbers of a connection


def book_of(venue: Coinbase, instrument_id: int = BTC) -> Book:
    return Book(instrument_id, 20, venue.follows, venue.books)


def feed(books: dict[int, Book], events: Sequence[Event]) -> dict[int, Need]:
    needs: dict[int, Need] = {}
    for event in events:
        if isinstance(event, BookState):
            needs[event.instrument_id] = books[event.instrument_id].restart(event)
        elif isinstance(event, BookDelta):
            needs[event.instrument_id] = books[event.instrument_id].apply(event)
    return needs


def two_books() -> tuple[Coinbase, dict[int, Book]]:
    venue = subscribed(stream("BTC-USD", "book"), stream("ETH-USD", "book"))
    books = {BTC: book_of(venue), ETH: book_of(venue, ETH)}
    feed(books, venue.decode(subscriptions(0, level2=["BTC-USD", "ETH-USD"]), NOW_NS))
    feed(books, venue.decode(level2(1, "snapshot", change("bid", "10", "1"), change("offer", "11", "1")), NOW_NS))
    feed(books, venue.decode(level2(2, "snapshot", change("bid", "5", "1"), product="ETH-USD"), NOW_NS))
    assert books[BTC].in_sync
    assert books[ETH].in_sync
    return venue, books


def test_books_go_on_across_each_others_frames() -> None:
    venue, books = two_books()
    for number in range(3, 30):
        product = "BTC-USD" if number % 3 else "ETH-USD"
        needs = feed(
            books, venue.decode(level2(number, "update", change("bid", "4", str(number)), product=product), NOW_NS)
        )
        assert list(needs.values()) == [Need.NOTHING]
    assert (books[BTC].sequence, books[ETH].sequence) == (29, 27)
    assert books[ETH].top()[0] == (("5", "1"), ("4", "27"))


@pytest.mark.parametrize("missing", ["level2", "heartbeat"])
@pytest.mark.parametrize("then", ["level2", "heartbeat"])
def test_a_missing_frame_breaks_every_book_of_the_connection(missing: str, then: str) -> None:
    """Also those that are quiet, and whatever the frame was that shows it."""
    venue, books = two_books()
    assert missing  # number 3, of either channel, never comes: nobody can tell of which it was
    update = level2(4, "update", change("bid", "9", "1"))
    needs = feed(books, venue.decode(update if then == "level2" else heartbeat(4), NOW_NS))
    assert not books[BTC].in_sync
    assert not books[ETH].in_sync
    assert needs[ETH] is Need.RESYNC
    assert books[ETH].cause == "sequence 2 is followed by 4 to 4"


def test_only_a_snapshot_mends_a_book() -> None:
    venue, books = two_books()
    feed(books, venue.decode(heartbeat(4), NOW_NS))
    for number in (5, 6):
        feed(books, venue.decode(level2(number, "update", change("bid", "9", "1")), NOW_NS))
        assert not books[BTC].in_sync
    feed(books, venue.decode(level2(7, "snapshot", change("bid", "8", "1")), NOW_NS))
    feed(books, venue.decode(level2(8, "update", change("bid", "7", "1")), NOW_NS))
    assert books[BTC].in_sync
    assert books[BTC].top()[0] == (("8", "1"), ("7", "1"))
    assert not books[ETH].in_sync


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        level2(3, "update", change("middle", "1", "1")),
        level2(3, "update", change("bid", 1, "1")),
        level2(3, "replace", change("bid", "1", "1")),
        frame("l2_data", 3, {"type": "update", "product_id": "BTC-USD", "updates": []}, timestamp="today"),
        level2("x", "update", change("bid", "1", "1")),
        trades(3, TRADE | {"price": "NaN"}),
    ],
)
def test_a_refused_frame_is_a_missing_one(bad: bytes) -> None:
    venue, books = two_books()
    refused(bad, venue)
    feed(books, venue.decode(heartbeat(4), NOW_NS))
    assert not books[BTC].in_sync
    assert not books[ETH].in_sync


def test_a_frame_of_an_unknown_symbol_was_none_of_ours() -> None:
    venue, books = two_books()
    assert refused(level2(3, "update", change("bid", "1", "1"), product="DOGE-USD"), venue).startswith("unknown symbol")
    feed(books, venue.decode(level2(4, "update", change("bid", "9", "1")), NOW_NS))
    assert books[BTC].in_sync
    refused(level2(6, "update", product="DOGE-USD"), venue)  # but number 5 is missing
    feed(books, venue.decode(heartbeat(7), NOW_NS))
    assert not books[BTC].in_sync
    assert not books[ETH].in_sync


def test_a_level_that_is_no_number_desyncs_its_book() -> None:
    for text in ("NaN", "-1", "1e5", "", "١"):
        venue, books = two_books()
        with pytest.raises(Rejected):
            feed(books, venue.decode(level2(3, "update", change("bid", "9", text)), NOW_NS))
        assert not books[BTC].in_sync


def test_a_change_before_the_snapshot_is_in_it() -> None:
    venue = subscribed(stream("BTC-USD", "book"))
    found = venue.decode(level2(1, "update", change("bid", "1", "1")), NOW_NS)
    assert list(found) == [Ignored("book: no snapshot of this connection yet")]


def test_two_changes_of_one_book_in_one_frame() -> None:
    venue, books = two_books()
    events = [{"type": "update", "product_id": "BTC-USD", "updates": [change("bid", "9", str(n))]} for n in (1, 2)]
    feed(books, venue.decode(frame("l2_data", 3, *events), NOW_NS))
    assert books[BTC].in_sync
    assert books[BTC].top()[0] == (("10", "1"), ("9", "2"))


def test_any_channel_counts() -> None:
    venue = subscribed(stream("BTC-USD", "book"))
    venue.decode(level2(0, "snapshot"), NOW_NS)
    for number, text in enumerate(
        [heartbeat(1), subscriptions(2), trades(3, TRADE), ticks(4, TICK), frame("candles", 5), frame("status", 6)], 1
    ):
        assert not any(isinstance(event, BookDelta) for event in venue.decode(text, NOW_NS)), number
    assert list(venue.decode(level2(7, "update"), NOW_NS)) == [delta(7, 0)]
    assert list(venue.decode(frame("candles", 9), NOW_NS)) == [broken(9), Ignored("candles: channel not collected")]


def test_another_connection_of_a_recording_counts_anew() -> None:
    venue, _ = two_books()
    venue.recorded('{"type":"subscribe"}')
    assert list(venue.decode(level2(3, "update"), NOW_NS)) == [delta(3, 1)]
    venue.recorded("wss://advanced-trade-ws.coinbase.com")
    assert list(venue.decode(subscriptions(0), NOW_NS)) == [Ignored("subscriptions: nothing that was asked for")]
    assert list(venue.decode(level2(1, "update"), NOW_NS)) == [Ignored("book: no snapshot of this connection yet")]


def test_follows_is_asked_of_any_instance() -> None:
    assert adapter().follows(5, delta(9, 5)) is True
    assert adapter().follows(5, delta(9, 4)) is False
    assert adapter().follows(0, broken(9)) is False


# Subscribing


def test_subscriptions_are_one_a_channel_behind_the_heartbeats() -> None:
    venue = adapter()
    streams = [
        stream("BTC-USD", "trades"), stream("ETH-USD", "trades"), stream("BTC-USD", "quotes"),
        stream("BTC-USD", "ticker"), stream("ETH-USD", "ticker"),
    ]  # fmt: skip
    asked = venue.subscribe(streams, 3)
    assert [(one.request_id, json.loads(one.frame), one.streams) for one in asked] == [
        (3, {"type": "subscribe", "channel": "heartbeats"}, ()),
        (
            4, {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD", "ETH-USD"]},
            tuple(streams[:2]),
        ),
        (5, {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD", "ETH-USD"]}, tuple(streams[2:])),
    ]  # fmt: skip
    assert venue.url(streams) == "wss://advanced-trade-ws.coinbase.com"
    assert adapter(ws_url="ws://localhost:1/").url(streams) == "ws://localhost:1"


def test_a_request_is_acknowledged_when_all_of_it_is_subscribed() -> None:
    """Each answer lists all that the connection holds; a product that the venue does not know is just not there."""
    venue = adapter()
    venue.subscribe([stream("BTC-USD", "trades"), stream("ETH-USD", "trades"), stream("BTC-USD", "ticker")], 1)
    nothing = [Ignored("subscriptions: nothing that was asked for")]
    assert list(venue.decode(subscriptions(0, heartbeats=["heartbeats"]), NOW_NS)) == [Ack(1)]
    assert list(venue.decode(subscriptions(1, market_trades=["BTC-USD"]), NOW_NS)) == nothing
    assert list(venue.decode(subscriptions(2, market_trades=["ETH-USD", "BTC-USD"]), NOW_NS)) == [Ack(2)]
    held = {"heartbeats": ["heartbeats"], "market_trades": ["BTC-USD"], "ticker": ["BTC-USD"]}
    assert list(venue.decode(subscriptions(3, **held), NOW_NS)) == [Ack(3)]
    assert list(venue.decode(subscriptions(4, **held), NOW_NS)) == nothing


def test_a_book_is_subscribed_anew() -> None:
    book = stream("BTC-USDC", "book", alias="BTC-USD")
    (end, begin) = adapter().resubscribe(book, 8)
    product = {"channel": "level2", "product_ids": ["BTC-USD"]}
    assert (end.request_id, json.loads(end.frame), end.streams) == (8, {"type": "unsubscribe"} | product, ())
    assert (begin.request_id, json.loads(begin.frame), begin.streams) == (9, {"type": "subscribe"} | product, (book,))


def test_limits() -> None:
    limits, venue = Coinbase.limits, adapter()
    assert limits.streams_per_connection <= 30  # books of a connection
    assert limits.messages_per_second <= 8
    assert limits.connections_per_window / limits.connection_window_seconds <= 8
    assert limits.weight_per_minute == 600
    assert venue.group(stream("BTC-USD", "book")) != venue.group(stream("BTC-USD", "trades"))
    assert venue.polled(instrument("BTC-USD")) == {"candles": 60.0}
    assert set(venue.channels(instrument("BTC-USD"))) == set(venue.promises)
    assert all(venue.id_space(channel) for channel in venue.promises)


# REST


def test_candles_are_asked_for_by_their_first_and_last_second() -> None:
    venue = adapter()
    request = venue.candles_request(instrument("BTC-USD"), start_ns=1_712_188_800 * SECOND, limit=5)
    parts = urlsplit(request.url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == (
        "https://api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/candles"
    )
    assert parse_qs(parts.query) == {
        "start": ["1712188800"], "end": ["1712189099"], "granularity": ["ONE_MINUTE"], "limit": ["5"],
    }  # fmt: skip
    assert (request.weight, request.headers) == (1, (("Cache-Control", "no-cache"),))


def test_the_latest_candles_end_with_the_open_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coinbase, "now", staticmethod(lambda: 1_712_188_859 * SECOND))
    for limit, start in ((1, 1_712_188_800), (3, 1_712_188_680), (5000, 1_712_188_800 - 299 * 60)):
        query = parse_qs(
            urlsplit(adapter().candles_request(instrument("BTC-USD"), start_ns=None, limit=limit).url).query
        )
        assert (query["start"], query["end"]) == ([str(start)], ["1712188859"])


def test_trades_are_asked_for_downwards_by_id_under_the_name_that_both_hosts_know() -> None:
    request = adapter().trades_request(instrument("BTC-USDC", "BTC-USD"), start=101, end=1000, limit=900)
    assert request.url == "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=900&after=1001"
    latest = adapter().trades_request(instrument("BTC-USD"), start=None, end=None, limit=5000)
    assert latest.url == "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=1000"
    assert (
        adapter(rest_url="http://localhost:1")
        .trades_request(instrument("BTC-USD"), start=1, end=1, limit=1)
        .url.startswith("http://localhost:1/products/")
    )
    assert (Coinbase.history.by, Coinbase.history.upwards) == ("id", False)


def test_other_requests() -> None:
    market = "https://api.coinbase.com/api/v3/brokerage/market"
    assert adapter().latest_trade_request(instrument("BTC-USDC", "BTC-USD")).url == (
        f"{market}/products/BTC-USDC/ticker?limit=1"
    )
    assert adapter().book_request(instrument("BTC-USD"), 20).url == f"{market}/product_book?product_id=BTC-USD&limit=80"
    assert adapter().book_request(instrument("BTC-USD"), 900).url.endswith("&limit=1000")


def test_past_trades_as_the_page_prints_them() -> None:
    """https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades"""
    printed = {
        "time": "2020-03-20T00:36:59.860Z", "trade_id": 86327327, "price": "6225.32000000", "size": "0.06469797",
        "side": "sell",
    }  # fmt: skip
    older = printed | {"trade_id": 86327326, "side": "buy"}
    body = json.dumps([printed, older]).encode()
    ns = 1_584_664_619_860_000_000
    expected = [
        Trade(BTC, ns, "86327326", "sell", "6225.32000000", "0.06469797", NOW_NS),
        Trade(BTC, ns, "86327327", "buy", "6225.32000000", "0.06469797", NOW_NS),
    ]
    assert adapter().decode_trades(body, BTC, NOW_NS) == (expected, [])
    url = "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=2"
    assert list(adapter().decode_reply(url, body, NOW_NS)) == expected
    assert adapter().decode_trades(b"[]", BTC, NOW_NS) == ([], [])


def test_an_odd_row_costs_only_itself() -> None:
    row = {"time": "2020-03-20T00:36:59.860Z", "trade_id": 2, "price": "1", "size": "2", "side": "sell"}
    odd = row | {"price": "1e5"}
    trades_, bad = adapter().decode_trades(json.dumps([row, odd]).encode(), BTC, NOW_NS)
    assert [trade.trade_id for trade in trades_] == ["2"]
    assert [type(one) for one in bad] == [Bad]
    assert bad[0].reason.startswith("row of a reply: trade: ")
    found = adapter().decode_reply("https://x/products/BTC-USD/trades", json.dumps([odd]).encode(), NOW_NS)
    assert [type(event) for event in found] == [Reject]


CANDLE = {"start": "1712188800", "low": "1", "high": "4", "open": "2", "close": "3", "volume": "0"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("low", text) for text in ("0", "-1", "NaN", "2.5", "", "1e0")),
        *(("high", text) for text in ("2", "Infinity")),
        *(("open", text) for text in ("0.5", "5", "1_0")),
        *(("close", text) for text in ("0.5", "5")),
        *(("volume", text) for text in ("-1", "NaN", "")),
        *(("start", text) for text in ("1712188801", "0", "99999999999", "x", "1712188800.5")),
        ("start", None),
        ("volume", 5),
    ],
)
def test_a_candle_that_cannot_be(key: str, value: object) -> None:
    body = json.dumps({"candles": [CANDLE, CANDLE | {key: value}]}).encode()
    candles, bad = adapter().decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS)
    assert len(candles) == len(bad) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"trades":5}', b'{"pricebook":{}}', b"[" * 100_000])
def test_replies_that_are_none(body: bytes) -> None:
    venue = adapter()
    with pytest.raises(Rejected):
        venue.decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS)
    with pytest.raises(Rejected):
        venue.decode_latest_trade(body)
    with pytest.raises(Rejected):
        venue.decode_book(body, BTC, 20, NOW_NS)
    if body != b"[]":
        with pytest.raises(Rejected):
            venue.decode_trades(body, BTC, NOW_NS)
    assert venue.decode_latest_trade(b'{"trades":[]}') is None


def test_a_reply_of_an_unknown_symbol() -> None:
    with pytest.raises(Rejected, match="unknown symbol"):
        adapter().decode_reply("https://x/products/DOGE-USD/trades", b"[]", NOW_NS)


# What no venue should send


@pytest.mark.parametrize("key", ["price", "size"])
@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "-0.001", "0", "0.00", "-0", "", "abc", "0x10", "1,5", "1.2.3", "\x00"),
        *("1_000", " 1", "1 ", "1\n", "١٢", "１２", "1e5", "1E-3", "+1", "9" * 400, "."),
    ],
)
def test_a_price_or_an_amount_that_is_no_plain_positive_decimal(key: str, text: str) -> None:
    reason = refused(trades(1, TRADE | {key: text}))
    assert repr(text) in reason or text in reason


@pytest.mark.parametrize("value", [1, 0.5, None, True, [], {}])
@pytest.mark.parametrize("key", ["price", "size", "time", "product_id", "side"])
def test_text_is_text(key: str, value: object) -> None:
    assert key in refused(trades(1, TRADE | {key: value}))


@pytest.mark.parametrize("value", [-1, "-1", "x", "", 1.5, None, True, 2**63, "9" * 30, [1]])
def test_ids_and_numbers_are_integers_in_range(value: object) -> None:
    assert "trade_id" in refused(trades(1, TRADE | {"trade_id": value}))
    assert "sequence_num" in refused(heartbeat(value))


@pytest.mark.parametrize(
    "text",
    [
        *("", "Z", "today", "2026-04-07", "2026-04-07T14:30:02", "2026-04-07T14:30:02.123456", "2026-13-07T14:30:02Z"),
        *("2026-04-07T14:30:02.Z", "2026-04-07T14:30:02,123456Z", "2026-04-07T14:30:02.12a456Z"),
        *("2026-04-07T14:30:02.123456+Z", "2026-04-07T14:30:02.1.3456Z", "2026-04-07 14:30:02.123456Z"),
        *("2026-04-07T14:30:02.１23456Z", "1970-01-01T00:00:00Z", "2008-12-31T23:59:59.999999Z"),
        *(
            "2026-04-09T14:30:02.123456Z",
            "9999-12-31T23:59:59Z",
            "2026-04-07T24:30:02.123456Z",
            "2026-04-07T14:30:02ZZ",
        ),
    ],
)
def test_absurd_times(text: str) -> None:
    refused(trades(1, TRADE | {"time": text}))
    refused(frame("ticker", 1, {"type": "update", "tickers": [TICK]}, timestamp=text))


@pytest.mark.parametrize("side", ["buy", "sell", "", "MAKER"])
def test_a_side_is_one_of_two(side: str) -> None:
    assert "side" in refused(trades(1, TRADE | {"side": side}))


@pytest.mark.parametrize("key", ["best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"])
@pytest.mark.parametrize("text", ["-1", "1_0", " 1", "1e5", "NaN", "Infinity", "9" * 400, "١"])
def test_a_quote_or_a_ticker_that_cannot_be(key: str, text: str) -> None:
    assert refused(ticks(1, TICK | {key: text}), subscribed(stream("BTC-USD", "quotes"))).startswith("quote: ")
    assert refused(ticks(1, TICK | {key: text}), subscribed(stream("BTC-USD", "ticker"))).startswith("ticker: ")


@pytest.mark.parametrize("key", ["price", "high_24_h", "low_24_h", "volume_24_h"])
def test_a_ticker_that_cannot_be(key: str) -> None:
    for text in ("-1", "1e5", "NaN"):
        assert refused(ticks(1, TICK | {key: text}), subscribed(stream("BTC-USD", "ticker"))).startswith("ticker: ")


@pytest.mark.parametrize("text", [trades(1, TRADE | {"product_id": "DOGE-USD"}), ticks(1, TICK | {"product_id": "x"})])
def test_unknown_symbols(text: bytes) -> None:
    assert refused(text).startswith("unknown symbol: ")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"5", b'"x"', b"{}", b'{"channel":5}', b'{"channel":"l2_data"}', b'{"channel":"new"}',
        b'{"channel":"market_trades","sequence_num":1,"events":5}', b"\xff\xfe", b'{"channel":"\xff"}', b"[" * 100_000,
        b'{"channel":"l2_data","timestamp":"2026-04-07T14:30:03Z","sequence_num":1,"events":[{}]}',
        b'{"type":"subscribe"}', b'{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":[]}]}',
    ],
)  # fmt: skip
def test_frames_that_are_none(text: bytes) -> None:
    assert ":" in refused(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
GOOD = [
    trades(1, TRADE), ticks(1, TICK), level2(1, "update", change("bid", "1", "1")), heartbeat(1),
    subscriptions(1, level2=["BTC-USD"]),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(GOOD), st.data())
def test_nothing_but_rejected_is_raised(value: object, text: bytes, data: st.DataObject) -> None:
    """Any value in the place of any other one."""
    message = json.loads(text)
    place: Any = message
    while True:
        key = data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else 0
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    venue = subscribed(stream("BTC-USD", "book"), stream("BTC-USD", "trades"))
    changed = json.dumps(message).encode()
    try:
        events = venue.decode(changed, NOW_NS)
    except Rejected:
        venue.stream_of(changed)
    else:
        assert all(isinstance(event, Event) for event in events)


# Whose a frame is


def test_stream_of_a_frame_that_cannot_be_decoded() -> None:
    venue = subscribed(stream("BTC-USD", "book"), stream("BTC-USD", "trades"), stream("ETH-USD", "quotes"))
    assert venue.stream_of(level2(1, "update", change("bid", "x", "1"))) == (BTC, "book")
    assert venue.stream_of(trades(1, TRADE | {"price": "x"})[:-30]) == (BTC, "trades")
    assert venue.stream_of(ticks(1, TICK | {"product_id": "ETH-USD"})) == (ETH, "quotes")
    assert venue.stream_of(trades(1, TRADE, TRADE | {"product_id": "ETH-USD"})) is None
    assert venue.stream_of(level2(1, "update", product="DOGE-USD")) is None
    assert venue.stream_of(heartbeat(1)) is None
    assert venue.stream_of(b"\xff") is None
    both = subscribed(stream("BTC-USD", "quotes"), stream("BTC-USD", "ticker"))
    assert both.stream_of(ticks(1, TICK)) is None
    assert adapter().stream_of(trades(1, TRADE)) == (BTC, "trades")
    assert adapter().stream_of(trades(1, TRADE | {"product_id": "DOGE-USD"})) is None


def test_an_unaltered_frame_is_what_the_tests_alter() -> None:
    assert list(adapter().decode(trades(1, TRADE), NOW_NS)) == [A_TRADE]
    assert copy.deepcopy(TICK) == TICK


def test_a_product_that_is_refused_is_named_and_to_ask_again_for_the_others_repeats_nothing() -> None:
    """No page of Advanced Trade shows its words (`coinbase_topics.REFUSES`); these are those of Coinbase Exchange."""
    venue = adapter()
    streams = [stream("BTC-USD", "trades"), stream("ETH-USD", "trades")]
    venue.subscribe(streams, 1)
    body = {"type": "error", "message": "Failed to subscribe", "reason": "ETH-USD is not a valid product"}
    (found,) = venue.decode(json.dumps(body).encode(), NOW_NS)
    assert found == Ack(0, "Failed to subscribe: ETH-USD is not a valid product")
    topics = venue.refuses.topics("Failed to subscribe: ETH-USD is not a valid product")
    assert [s for s in streams if venue.topic(s) in topics] == streams[1:]
    venue.subscribe(streams[:1], 3)
    assert venue._served["trades"]["BTC-USD"] == (IDS["BTC-USD"],)
