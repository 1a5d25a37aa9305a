"""OKX's frames and replies as its documentation prints them, and what no venue should send.

The page is https://www.okx.com/docs-v5/en/; its anchors are named in `ingest.exchanges.okx`.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.collect.book import Book, Need
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Bad, Event, Ignored, Options, Ping, Shutdown
from ingest.exchanges.okx import Okx
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Funding,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)
from tests.exchanges.recordings import sample

SPOT, SWAP, INVERSE, FUTURE = 1, 2, 3, 4
IDS = {"BTC-USDT": SPOT, "BTC-USDT-SWAP": SWAP, "BTC-USD-SWAP": INVERSE, "LTC-USD-190628": FUTURE}
NOW_NS = 1_750_000_000 * SECOND
TRADE_MS = 1_630_048_897_897
BOOK_MS = 1_597_026_383_085
OPEN_MS = 1_747_094_040_000

INSTRUMENTS = {
    "BTC-USDT": Instrument("okx", "BTC/USDT", "BTC-USDT", "spot", "BTC", "USDT"),
    "BTC-USDT-SWAP": Instrument("okx", "BTC/USDT:USDT", "BTC-USDT-SWAP", "swap", "BTC", "USDT", "USDT"),
    "BTC-USD-SWAP": Instrument("okx", "BTC/USD:BTC", "BTC-USD-SWAP", "swap", "BTC", "USD", "BTC"),
    "LTC-USD-190628": Instrument("okx", "LTC/USD:LTC-190628", "LTC-USD-190628", "future", "LTC", "USD", "LTC"),
}

TRADE: dict[str, Any] = {
    "instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306", "side": "buy", "source": "0",
    "ts": str(TRADE_MS),
}  # fmt: skip
AGGREGATE: dict[str, Any] = {**TRADE, "count": "3", "seqId": 1234}
CANDLE = [str(OPEN_MS), "102806.1", "102820.4", "102806.1", "102820.4", "1040.37", "10.4037", "1069603.34883", "1"]
ASKS = [
    ["8476.98", "415", "0", "13"], ["8477", "7", "0", "2"], ["8477.34", "85", "0", "1"], ["8477.56", "1", "0", "1"],
    ["8505.84", "8", "0", "1"], ["8506.37", "85", "0", "1"], ["8506.49", "2", "0", "1"], ["8506.96", "100", "0", "2"],
]  # fmt: skip
BIDS = [
    ["8476.97", "256", "0", "12"], ["8475.55", "101", "0", "1"], ["8475.54", "100", "0", "1"],
    ["8475.3", "1", "0", "1"], ["8447.32", "6", "0", "1"], ["8447.02", "246", "0", "1"], ["8446.83", "24", "0", "1"],
    ["8446", "95", "0", "3"],
]  # fmt: skip
BOOK: dict[str, Any] = {
    "asks": ASKS, "bids": BIDS, "ts": str(BOOK_MS), "checksum": 0, "prevSeqId": -1, "seqId": 123456,
}  # fmt: skip
CHANGE = BOOK | {"prevSeqId": 123456, "seqId": 123457}
BBO: dict[str, Any] = {
    "asks": [["111.06", "55154", "0", "2"]], "bids": [["111.05", "57745", "0", "2"]], "ts": "1670324386802",
    "seqId": 363996337,
}  # fmt: skip
TICKER: dict[str, Any] = {
    "instType": "SPOT", "instId": "BTC-USDT", "last": "9999.99", "lastSz": "0.1", "askPx": "9999.98", "askSz": "11",
    "bidPx": "8888.88", "bidSz": "5", "open24h": "9000", "high24h": "10000", "low24h": "8888.87", "volCcy24h": "2223",
    "vol24h": "2222", "sodUtc0": "2224", "sodUtc8": "2225", "ts": str(BOOK_MS),
}  # fmt: skip
FUNDING: dict[str, Any] = {
    "formulaType": "noRate", "fundingRate": "0.0001875391284828", "fundingTime": "1700726400000", "impactValue": "",
    "instId": "BTC-USD-SWAP", "instType": "SWAP", "interestRate": "", "method": "current_period",
    "maxFundingRate": "0.00375", "minFundingRate": "-0.00375", "nextFundingRate": "",
    "nextFundingTime": "1700755200000", "premium": "0.0001233824646391", "settFundingRate": "0.0001699799259033",
    "settState": "settled", "ts": "1700724675402",
}  # fmt: skip
OPEN_INTEREST: dict[str, Any] = {
    "instId": "BTC-USDT-SWAP", "instType": "SWAP", "oi": "2216113.01000000309", "oiCcy": "22161.1301000000309",
    "oiUsd": "1939251795.54769270396321", "ts": "1743041250440",
}  # fmt: skip
MARK: dict[str, Any] = {
    "instType": "FUTURES", "instId": "LTC-USD-190628", "markPx": "0.1", "ts": str(BOOK_MS),
}  # fmt: skip
DETAIL: dict[str, Any] = {
    "bkLoss": "0", "bkPx": "0.007831", "ccy": "", "posSide": "short", "side": "buy", "sz": "13", "ts": "1692266434010",
}  # fmt: skip
LIQUIDATION: dict[str, Any] = {
    "details": [DETAIL], "instFamily": "BTC-USDT", "instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT",
}  # fmt: skip

A_TRADE = Trade(SPOT, TRADE_MS * MILLISECOND, "130639474", "buy", "42219.9", "0.12060306", NOW_NS)
A_CANDLE = Candle(
    SWAP, OPEN_MS * MILLISECOND, "102806.1", "102820.4", "102806.1", "102820.4", "10.4037", "1069603.34883", None, None,
    None, CandleSource.STREAM, NOW_NS,
)  # fmt: skip
LEVELS_ASKED = [(price, amount) for price, amount, _, _ in ASKS]
LEVELS_BID = [(price, amount) for price, amount, _, _ in BIDS]
A_STATE = BookState(
    SPOT, 123456, LEVELS_BID, LEVELS_ASKED, None, NOW_NS, streamed=True, event_ns=BOOK_MS * MILLISECOND
)  # fmt: skip
A_DELTA = BookDelta(SPOT, 123457, 123457, 123456, LEVELS_BID, LEVELS_ASKED, BOOK_MS * MILLISECOND, NOW_NS)
QUOTE_MS = 1_670_324_386_802
A_QUOTE = Quote(SPOT, QUOTE_MS * MILLISECOND, QUOTE_MS * 1000, "111.05", "57745", "111.06", "55154", NOW_NS)
A_TICKER = Ticker(
    SPOT, BOOK_MS * MILLISECOND, "9999.99", "8888.88", "5", "9999.98", "11", "9000", "10000", "8888.87", "2222", "2223",
    NOW_NS,
)  # fmt: skip
A_FUNDING = Funding(INVERSE, 1_700_724_675_402 * MILLISECOND, "0.0001875391284828", 1_700_726_400 * SECOND, NOW_NS)
AN_OPEN_INTEREST = OpenInterest(SWAP, 1_743_041_250_440 * MILLISECOND, "2216113.01000000309", None, NOW_NS)
A_MARK = MarkPrice(FUTURE, BOOK_MS * MILLISECOND, "0.1", None, NOW_NS)
A_LIQUIDATION = Liquidation(SWAP, 1_692_266_434_010 * MILLISECOND, "buy", "0.007831", "13", NOW_NS)


def adapter(**options: Any) -> Okx:
    return Okx(IDS, Options(**options))


def frame(channel: str, *rows: object, native: str = "BTC-USDT", **more: object) -> bytes:
    """As the venue writes it: without blanks, the channel first."""
    message = {"arg": {"channel": channel, "instId": native}, **more, "data": rows}
    return json.dumps(message, separators=(",", ":")).encode()


def other_words(wire: bytes) -> bytes:
    """The same in another order and with blanks: nothing promises the venue's."""
    message = json.loads(wire)
    message["arg"] = dict(reversed(message["arg"].items()))
    return json.dumps(dict(reversed(message.items())), indent=1).encode()


def stream(native: str, channel: Channel) -> Stream:
    return Stream(IDS[native], INSTRUMENTS[native], channel)


def refused(wire: bytes, **options: Any) -> str:
    """The reason of the refusal."""
    with pytest.raises(Rejected) as caught:
        adapter(**options).decode(wire, NOW_NS)
    return str(caught.value)


# What the documentation prints


DOCUMENTED: list[tuple[bytes, Event]] = [
    (frame("trades-all", TRADE), A_TRADE),
    (frame("trades", AGGREGATE | {"count": "1"}), A_TRADE),
    (frame("trades", TRADE), A_TRADE),  # as it was before there were aggregates
    (frame("trades", AGGREGATE), Ignored("trades: several as one")),
    (frame("candle1m", CANDLE, native="BTC-USDT-SWAP"), A_CANDLE),
    (frame("candle1m", [*CANDLE[:8], "0"], native="BTC-USDT-SWAP"), Ignored("candle: still open")),
    (frame("candle1D", CANDLE), Ignored("candle: not 1m")),
    (frame("candle1M", CANDLE), Ignored("candle: not 1m")),
    (frame("books", BOOK, action="snapshot"), A_STATE),
    (frame("books", CHANGE, action="update"), A_DELTA),
    (frame("bbo-tbt", BBO), A_QUOTE),
    (frame("tickers", TICKER), A_TICKER),
    (frame("funding-rate", FUNDING, native="BTC-USD-SWAP"), A_FUNDING),
    (frame("open-interest", OPEN_INTEREST, native="BTC-USDT-SWAP"), AN_OPEN_INTEREST),
    (frame("mark-price", MARK, native="LTC-USD-190628"), A_MARK),
    (
        json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [LIQUIDATION]}).encode(),
        A_LIQUIDATION,
    ),
    *(
        (frame(channel, BOOK), Ignored("channel not collected"))
        for channel in ("books5", "books-l2-tbt", "books50-l2-tbt", "books-elp", "index-tickers", "price-limit")
    ),
    (frame("mark-price-candle1m", CANDLE[:6]), Ignored("channel not collected")),
    (frame("instruments", {}), Ignored("channel not collected")),
]


@pytest.mark.parametrize(("wire", "event"), DOCUMENTED)
def test_documented_frames(wire: bytes, event: Event) -> None:
    assert list(adapter().decode(wire, NOW_NS)) == [event]
    assert list(adapter().decode(other_words(wire), NOW_NS)) == [event]


def test_several_rows_of_one_frame() -> None:
    wire = frame("trades", TRADE, AGGREGATE | {"tradeId": "130639477"}, TRADE | {"tradeId": "130639478"})
    last = Trade(SPOT, TRADE_MS * MILLISECOND, "130639478", "buy", "42219.9", "0.12060306", NOW_NS)
    assert list(adapter().decode(wire, NOW_NS)) == [A_TRADE, Ignored("trades: several as one"), last]


def test_volumes_are_base_and_quote_currency() -> None:
    """Of derivatives the first volume counts contracts; of spot it is the base currency."""
    (spot,) = adapter().decode(frame("candle1m", CANDLE), NOW_NS)
    assert isinstance(spot, Candle)
    assert (spot.volume, spot.quote_volume) == ("1040.37", "1069603.34883")
    (swap,) = adapter().decode(frame("tickers", TICKER | {"instId": "BTC-USDT-SWAP"}), NOW_NS)
    assert isinstance(swap, Ticker)
    assert (swap.volume_24h, swap.quote_volume_24h) == ("2223", None)


def test_an_open_candle_when_it_is_asked_for() -> None:
    (candle,) = adapter(include_open_candles=True).decode(frame("candle1m", [*CANDLE[:8], "0"]), NOW_NS)
    assert isinstance(candle, Candle)
    assert (candle.source, candle.close) == (CandleSource.OPEN, "102820.4")


def test_a_checksum_of_zero_is_none() -> None:
    for value, kept in ((0, None), (-855196043, -855196043), (2**31 - 1, 2**31 - 1)):
        (state,) = adapter().decode(frame("books", BOOK | {"checksum": value}, action="snapshot"), NOW_NS)
        (delta,) = adapter().decode(frame("books", CHANGE | {"checksum": value}, action="update"), NOW_NS)
        assert isinstance(state, BookState)
        assert isinstance(delta, BookDelta)
        assert (state.checksum, delta.checksum) == (kept, kept)


def test_the_value_of_open_interest_where_it_is_told_in_the_quote_currency() -> None:
    (found,) = adapter().decode(frame("open-interest", OPEN_INTEREST | {"instId": "BTC-USD-SWAP"}), NOW_NS)
    assert isinstance(found, OpenInterest)
    assert found.value == "1939251795.54769270396321"


def test_a_rate_below_zero() -> None:
    (found,) = adapter().decode(frame("funding-rate", FUNDING | {"fundingRate": "-0.0000256984705178"}), NOW_NS)
    assert isinstance(found, Funding)
    assert found.rate == "-0.0000256984705178"


def test_a_ticker_of_what_was_never_traded_and_has_no_bid() -> None:
    nothing = dict.fromkeys(("last", "bidPx", "bidSz", "open24h", "high24h", "low24h"), "")
    (found,) = adapter().decode(frame("tickers", TICKER | nothing), NOW_NS)
    absent = (None, None, None, "9999.98", "11", None, None, None, "2222", "2223")
    assert found == Ticker(SPOT, BOOK_MS * MILLISECOND, *absent, NOW_NS)


def test_a_quote_of_one_side() -> None:
    for side in ("asks", "bids"):
        (found,) = adapter().decode(frame("bbo-tbt", BBO | {side: []}), NOW_NS)
        assert found == Ignored("quote: a side of the book is empty")


def test_quotes_are_numbered_by_their_time() -> None:
    """Two states of a millisecond are told apart, a repeated one is not; a reset of the venue's ids is no matter."""
    venue = adapter()

    def sequence(ms: int, seq_id: int) -> int:
        (found,) = venue.decode(frame("bbo-tbt", BBO | {"ts": str(ms), "seqId": seq_id}), NOW_NS)
        assert isinstance(found, Quote)
        return found.sequence

    given = [(QUOTE_MS, 7), (QUOTE_MS, 7), (QUOTE_MS, 9), (QUOTE_MS, 12), (QUOTE_MS + 1, 3), (QUOTE_MS + 61_000, 4)]
    first = QUOTE_MS * 1000
    assert [sequence(*each) for each in given] == [
        first, first, first + 1, first + 2, first + 1000, first + 61_000_000,
    ]  # fmt: skip


# Answers


def answer(**fields: object) -> bytes:
    return json.dumps({"connId": "a4d3ae55", **fields}).encode()


def test_a_request_is_acknowledged_when_each_of_its_arguments_is() -> None:
    venue = adapter()
    streams = [stream("BTC-USDT", "book"), stream("BTC-USDT", "ticker"), stream("BTC-USDT-SWAP", "liquidations")]
    (subscription,) = venue.subscribe(streams, 5)
    sent = json.loads(subscription.frame)
    assert (sent["id"], sent["op"], subscription.request_id) == ("5", "subscribe", 5)
    waits, done = [Ignored("subscribe: not all is answered yet")], [Ack(5)]
    first, second, third = (answer(id="5", event="subscribe", arg=argument) for argument in sent["args"])
    assert [*venue.decode(first, NOW_NS)] == waits
    assert [*venue.decode(first, NOW_NS)] == waits
    assert [*venue.decode(third, NOW_NS)] == waits
    assert [*venue.decode(second, NOW_NS)] == done


def test_a_refusal_of_any_argument_is_one_of_the_request() -> None:
    venue = adapter()
    venue.subscribe([stream("BTC-USDT", "book"), stream("BTC-USDT", "ticker")], 1)
    text = "Wrong URL or channel:ticker,instId:BTC-USDT doesn't exist."
    (found,) = venue.decode(answer(id="1", event="error", code="60018", msg=text), NOW_NS)
    assert found == Ack(1, f"60018: {text}")
    assert [*venue.decode(answer(event="error", code="60012", msg="Invalid request"), NOW_NS)] == [
        Ack(0, "60012: Invalid request")
    ]


_NO = "channel:{},inst{}:{} doesn't exist"
_ADVICE = ". Please use the correct URL, channel and parameters referring to API document."


@pytest.mark.parametrize("shape", [_NO, f"Wrong URL or {_NO}{_ADVICE}"])
def test_an_argument_that_is_refused_is_named_and_counts_as_answered(shape: str) -> None:
    """The shapes of 2023, and of 2025: https://github.com/okxapi/python-okx/issues/21, sieblyio/okx-api/issues/106."""
    venue = adapter()
    streams = [stream("BTC-USDT", "book"), stream("BTC-USDT", "ticker"), stream("BTC-USDT-SWAP", "liquidations")]
    (subscription,) = venue.subscribe(streams, 1)
    arguments = json.loads(subscription.frame)["args"]
    texts = [shape.format("tickers", "Id", "BTC-USDT"), shape.format("liquidation-orders", "Type", "SWAP")]
    book, ticker, liquidations = (
        answer(id="1", event="subscribe", arg=arguments[0]),
        *(answer(id="1", event="error", code="60018", msg=text) for text in texts),
    )
    assert [*venue.decode(ticker, NOW_NS)] == [Ack(1, f"60018: {texts[0]}")]
    assert [*venue.decode(book, NOW_NS)] == [Ignored("subscribe: not all is answered yet")]
    assert [*venue.decode(liquidations, NOW_NS)] == [Ack(1, f"60018: {texts[1]}"), Ack(1)]
    topics = [venue.refuses.topics(text) for text in texts]
    assert [[found for found in streams if venue.topic(found) in named] for named in topics] == [
        [s] for s in streams[1:]
    ]
    assert venue.refuses.topics("Requests too frequent.") == set()


def test_other_words_of_the_venue() -> None:
    upgrade = answer(event="notice", code="64008", msg="The connection will soon be closed for a service upgrade.")
    assert [*adapter().decode(upgrade, NOW_NS)] == [Shutdown()]
    assert [*adapter().decode(answer(event="notice", code="1"), NOW_NS)] == [Ignored("channel not collected")]
    assert [*adapter().decode(b"pong", NOW_NS)] == [Ignored("pong")]
    argument = {"channel": "trades", "instId": "BTC-USDT"}
    assert [*adapter().decode(answer(event="subscribe", arg=argument), NOW_NS)] == [Ack(0)]  # a recording without ids


# Subscribing


def test_what_is_offered() -> None:
    venue = adapter()
    assert [*venue.channels(INSTRUMENTS["BTC-USDT"])] == ["trades", "candles", "book", "quotes", "ticker"]
    derivatives = ["open_interest", "mark_price", "liquidations"]
    assert [*venue.channels(INSTRUMENTS["LTC-USD-190628"])][5:] == derivatives
    assert [*venue.channels(INSTRUMENTS["BTC-USDT-SWAP"])][5:] == ["funding", *derivatives]
    assert venue.ping == Ping("ping", 20)
    assert all(channel in venue.promises for channel in venue.channels(INSTRUMENTS["BTC-USDT-SWAP"]))
    assert [venue.id_space(channel) for channel in ("trades", "candles", "book", "quotes")] == [
        "trade", "minute", "seqId", "time",
    ]  # fmt: skip
    assert not venue.polled(INSTRUMENTS["BTC-USDT-SWAP"])


def test_candles_and_single_trades_have_another_address() -> None:
    venue, mine = adapter(), adapter(ws_url="ws://localhost:1/")
    business, public = [stream("BTC-USDT", "trades")], [stream("BTC-USDT", "book")]
    assert venue.url(business) == "wss://ws.okx.com:8443/ws/v5/business"
    assert venue.url(public) == "wss://ws.okx.com:8443/ws/v5/public"
    assert mine.url(business) == "ws://localhost:1/business"
    groups = {channel: venue.group(stream("BTC-USDT-SWAP", channel)) for channel in venue.promises}
    assert [channel for channel, group in groups.items() if group == "business"] == ["trades", "candles"]


def test_the_topics_of_each_channel() -> None:
    channels = adapter().channels(INSTRUMENTS["BTC-USDT-SWAP"])
    (subscription,) = adapter().subscribe([stream("BTC-USDT-SWAP", channel) for channel in channels], 1)
    native = {"instId": "BTC-USDT-SWAP"}
    assert json.loads(subscription.frame) == {
        "id": "1",
        "op": "subscribe",
        "args": [
            {"channel": "trades-all", **native},
            {"channel": "candle1m", **native},
            {"channel": "books", **native},
            {"channel": "bbo-tbt", **native},
            {"channel": "tickers", **native},
            {"channel": "funding-rate", **native},
            {"channel": "open-interest", **native},
            {"channel": "mark-price", **native},
            {"channel": "liquidation-orders", "instType": "SWAP"},
        ],
    }


def test_subscriptions_stay_within_the_limits() -> None:
    instruments = [
        Instrument("okx", f"X{n}/USDT", f"X{n}-USDT-{'9' * 40}", "swap", f"X{n}", "USDT") for n in range(450)
    ]
    streams = [Stream(n, i, channel) for n, i in enumerate(instruments) for channel in ("book", "liquidations")]
    subscriptions = adapter().subscribe(streams, 7)
    assert [each.request_id for each in subscriptions] == [7, 8, 9]
    assert all(len(each.frame) < 64 * 1024 for each in subscriptions)
    covered = [covered for each in subscriptions for covered in each.streams]
    assert sorted(map(str, covered)) == sorted(map(str, streams))
    arguments = [str(argument) for each in subscriptions for argument in json.loads(each.frame)["args"]]
    assert len(arguments) == len(set(arguments)) == 451


def test_a_book_is_subscribed_anew() -> None:
    venue = adapter()
    first, second = venue.resubscribe(stream("BTC-USDT", "book"), 3)
    argument = {"channel": "books", "instId": "BTC-USDT"}
    assert json.loads(first.frame) == {"id": "3", "op": "unsubscribe", "args": [argument]}
    assert json.loads(second.frame) == {"id": "4", "op": "subscribe", "args": [argument]}
    assert (first.request_id, second.request_id) == (3, 4)
    assert [*venue.decode(answer(id="3", event="unsubscribe", arg=argument), NOW_NS)] == [Ack(3)]
    assert [*venue.decode(answer(id="4", event="subscribe", arg=argument), NOW_NS)] == [Ack(4)]


def test_liquidations_of_those_that_are_subscribed() -> None:
    """The channel brings a whole type of instruments; a recording, where nothing was subscribed, all that are known."""
    venue = adapter()
    rows = [LIQUIDATION, LIQUIDATION | {"instId": "BTC-USD-SWAP"}, LIQUIDATION | {"instId": "DOGE-USDT-SWAP"}]
    wire = json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": rows}).encode()
    inverse = Liquidation(INVERSE, 1_692_266_434_010 * MILLISECOND, "buy", "0.007831", "13", NOW_NS)
    assert [*venue.decode(wire, NOW_NS)] == [A_LIQUIDATION, inverse]
    venue.subscribe([stream("BTC-USD-SWAP", "liquidations")], 1)
    assert [*venue.decode(wire, NOW_NS)] == [inverse]
    nobody = json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": rows[:1]}).encode()
    assert [*venue.decode(nobody, NOW_NS)] == [Ignored("liquidation: of an instrument that is not collected")]


# The book, by the example of the page: snapshot, change, one that changes nothing, a reset, and a change after it


def delta(previous: int, sequence: int, **changes: object) -> bytes:
    row = {"asks": [], "bids": [], "ts": str(BOOK_MS), "checksum": 0, "prevSeqId": previous, "seqId": sequence}
    return frame("books", row | changes, action="update")


def fed(frames: Sequence[bytes]) -> tuple[Book, list[Need]]:
    venue = adapter()
    book, needs = Book(SPOT, 20, venue.follows, venue.books), []
    for each in frames:
        (event,) = venue.decode(each, NOW_NS)
        assert isinstance(event, BookState | BookDelta)
        needs.append(book.restart(event) if isinstance(event, BookState) else book.apply(event))
    return book, needs


SNAPSHOT = frame("books", BOOK | {"seqId": 10}, action="snapshot")
SEQUENCE = [
    SNAPSHOT,
    delta(10, 15, bids=[["8476.97", "0", "0", "0"]]),
    delta(15, 15),
    delta(15, 3),
    delta(3, 5, asks=[["8476.98", "1", "0", "1"]]),
]


def test_keep_alives_and_a_reset_continue_the_book() -> None:
    book, needs = fed(SEQUENCE)
    assert needs == [Need.NOTHING] * 5
    assert (book.in_sync, book.sequence) == (True, 5)
    assert book.top() == (tuple(LEVELS_BID[1:]), (("8476.98", "1"), *LEVELS_ASKED[1:]))


@pytest.mark.parametrize("dropped", [1, 3])
def test_a_lost_change_or_reset_is_found_at_the_next_message(dropped: int) -> None:
    """Also where the ids that follow are smaller than the book's: they are not old news."""
    kept = [each for index, each in enumerate(SEQUENCE) if index != dropped]
    book, needs = fed(kept[: dropped + 1])
    assert not book.in_sync
    assert needs[-1] is Need.RESYNC
    assert not fed(kept)[0].in_sync


def test_a_crossed_book_is_out_of_sync() -> None:
    """Before trading opens the best ask may be below the best bid, says the page."""
    book, needs = fed([SNAPSHOT, delta(10, 11, bids=[["8500", "1", "0", "1"]])])
    assert (book.in_sync, needs) == (False, [Need.NOTHING, Need.RESYNC])


def test_rest_tells_of_trades_and_quotes() -> None:
    venue = adapter()
    assert [c for c in venue.promises if venue.tells_latest(stream("BTC-USDT", c))] == ["trades", "quotes"]


# REST


def query(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


def reply(*rows: object, code: str = "0", msg: str = "") -> bytes:
    return json.dumps({"code": code, "msg": msg, "data": rows}).encode()


def test_requests() -> None:
    venue, market = adapter(), "https://openapi.okx.com/api/v5/market/"
    btc = INSTRUMENTS["BTC-USDT"]
    assert query(venue.book_request(btc, 20).url) == (f"{market}books", {"instId": "BTC-USDT", "sz": "400"})
    latest = venue.latest_trade_request(btc)
    assert query(latest.url) == (f"{market}trades", {"instId": "BTC-USDT", "limit": "1"})
    candles = venue.candles_request(btc, start_ns=None, limit=121)
    assert query(candles.url) == (f"{market}candles", {"instId": "BTC-USDT", "bar": "1m", "limit": "121"})
    past = venue.candles_request(btc, start_ns=OPEN_MS * MILLISECOND, limit=1000)
    assert query(past.url) == (
        f"{market}history-candles",
        {
            "instId": "BTC-USDT", "bar": "1m", "limit": "300", "before": str(OPEN_MS - 1),
            "after": str(OPEN_MS + 300 * 60_000),
        },
    )  # fmt: skip
    one = venue.candles_request(btc, start_ns=OPEN_MS * MILLISECOND, limit=1)
    assert query(one.url)[1]["after"] == str(OPEN_MS + 60_000)
    for start, end, limit, after, rows in (
        (1, 50, 50, 51, 50), (None, 500, 1000, 501, 100), (101, None, 20, 121, 20), (101, 150, 500, 151, 100),
    ):  # fmt: skip
        trades = venue.trades_request(btc, start=start, end=end, limit=limit)
        params = {"instId": "BTC-USDT", "type": "1", "limit": str(rows), "after": str(after)}
        assert query(trades.url) == (f"{market}history-trades", params)
    assert "after" not in query(venue.trades_request(btc, start=None, end=None, limit=5).url)[1]
    assert adapter(rest_url="http://localhost:1/").book_request(btc, 20).url.startswith("http://localhost:1/api/v5/")


def test_no_call_goes_beyond_its_own_limit_within_two_seconds() -> None:
    """The bucket holds a sixth of a minute's weight, and history leaves half of it; 80 % of the limit are used."""
    venue, btc = adapter(), INSTRUMENTS["BTC-USDT"]
    per_second = venue.limits.weight_per_minute * 0.8 / 60
    full, half = 10 * per_second, 5 * per_second
    history = [
        venue.trades_request(btc, start=1, end=2, limit=2),
        venue.candles_request(btc, start_ns=OPEN_MS * MILLISECOND, limit=1),
    ]
    assert all((half + 2 * per_second) / request.weight <= 20 for request in history)
    assert (full + 2 * per_second) / venue.candles_request(btc, start_ns=None, limit=1).weight <= 40
    assert (full + 2 * per_second) / venue.book_request(btc, 20).weight <= 40
    assert (full + 2 * per_second) / venue.latest_trade_request(btc).weight <= 100


def test_trades_come_latest_first() -> None:
    second = TRADE | {"tradeId": "130639475", "side": "sell", "ts": str(TRADE_MS + 1)}
    later = Trade(SPOT, (TRADE_MS + 1) * MILLISECOND, "130639475", "sell", "42219.9", "0.12060306", NOW_NS)
    body = reply(second, TRADE)
    assert adapter().decode_trades(body, SPOT, NOW_NS) == ([A_TRADE, later], [])
    assert adapter().decode_latest_trade(body) == 130639475
    assert adapter().decode_latest_trade(reply()) is None
    url = adapter().trades_request(INSTRUMENTS["BTC-USDT"], start=1, end=9, limit=9).url
    assert [*adapter().decode_reply(url, body, NOW_NS)] == [A_TRADE, later]


def test_a_bad_row_costs_only_itself() -> None:
    bad = TRADE | {"tradeId": "130639475", "px": "-1"}
    trades, [row] = adapter().decode_trades(reply(bad, TRADE), SPOT, NOW_NS)
    assert trades == [A_TRADE]
    assert row.reason.startswith("row of a reply: trade: price '-1'")
    assert json.loads(row.payload) == bad
    with pytest.raises(Rejected, match="row of a reply: trade"):
        adapter().decode_latest_trade(reply(bad))
    url = "https://openapi.okx.com/api/v5/market/history-trades?instId=BTC-USDT"
    assert [*adapter().decode_reply(url, reply(bad, TRADE), NOW_NS)] == [
        A_TRADE, Reject("okx", "", row.reason, row.payload, NOW_NS),
    ]  # fmt: skip
    assert isinstance(row, Bad)


def test_candles_that_the_venue_calls_complete() -> None:
    open_ms = OPEN_MS + 60_000
    rows = [[str(open_ms), *CANDLE[1:8], "0"], CANDLE, [str(OPEN_MS - 60_000), *CANDLE[1:]]]
    body = reply(*rows)

    def opened(as_of_ns: int) -> list[int]:
        candles, bad = adapter().decode_candles(body, SWAP, NOW_NS, CandleSource.REST, as_of_ns=as_of_ns)
        assert not bad
        assert all((candle.source, candle.volume) == (CandleSource.REST, "10.4037") for candle in candles)
        return [candle.time_ns // MILLISECOND for candle in candles]

    assert opened(2**63 - 1) == [OPEN_MS - 60_000, OPEN_MS]
    assert opened(OPEN_MS * MILLISECOND + MINUTE) == [OPEN_MS - 60_000, OPEN_MS]
    assert opened(OPEN_MS * MILLISECOND + MINUTE - 1) == [OPEN_MS - 60_000]
    with pytest.raises(Rejected, match="unknown instrument: 99"):
        adapter().decode_candles(body, 99, NOW_NS, CandleSource.REST, as_of_ns=0)
    url = "https://openapi.okx.com/api/v5/market/candles?instId=BTC-USDT-SWAP"
    assert len(adapter().decode_reply(url, body, NOW_NS)) == 2
    assert [*adapter().decode_reply(f"{url}&bar=1H", body, NOW_NS)] == [Ignored("candle: not 1m")]


def test_a_book_of_rest() -> None:
    row = {"asks": ASKS[:1], "bids": BIDS[:1], "ts": "1629966436396", "seqId": 3235851742}
    assert adapter().decode_book(reply(row), SPOT, 20, NOW_NS) == BookState(
        SPOT, 3235851742, LEVELS_BID[:1], LEVELS_ASKED[:1], 400, NOW_NS, event_ns=1_629_966_436_396 * MILLISECOND
    )
    for wrong in (reply(), reply(row, row), reply(row | {"seqId": None}), reply(row | {"ts": "1"}), b"[]", b""):
        with pytest.raises(Rejected):
            adapter().decode_book(wrong, SPOT, 20, NOW_NS)
    url = "https://openapi.okx.com/api/v5/market/books?instId=BTC-USDT"
    assert [*adapter().decode_reply(url, reply(row), NOW_NS)] == [Ignored("REST books: not collected")]


def test_refusals_of_rest() -> None:
    """Some pass, and are no fault of what was asked."""
    body = reply(code="51001", msg="Instrument ID doesn't exist")
    with pytest.raises(Rejected, match=r"^refused: 51001: Instrument ID"):
        adapter().decode_trades(body, SPOT, NOW_NS)
    with pytest.raises(Retryable, match="50011"):
        adapter().decode_trades(reply(code="50011", msg="Too Many Requests"), SPOT, NOW_NS)
    for url in ("https://x/api/v5/market/trades?instId=DOGE-USDT", "https://x/api/v5/market/trades", "http://[x"):
        with pytest.raises(Rejected):
            adapter().decode_reply(url, reply(TRADE), NOW_NS)


# The samples


SAMPLES: list[tuple[str, Sequence[Event]]] = [
    ("ws_trades", [Ignored("trades: several as one")]),
    ("ws_candle", [Ignored("candle: not 1m")]),
    ("ws_bbo_tbt", [Quote(1, BOOK_MS * MILLISECOND, BOOK_MS * 1000, "8476.97", "256", "8476.98", "415", NOW_NS)]),
    (
        "ws_books_snapshot",
        [
            BookState(
                SPOT, 123456, LEVELS_BID, LEVELS_ASKED, None, NOW_NS, streamed=True, event_ns=BOOK_MS * MILLISECOND,
                checksum=-855196043,
            )
        ],
    ),
    (
        "ws_books_update",
        [
            BookDelta(
                SPOT, 123457, 123457, 123456, LEVELS_BID, LEVELS_ASKED, BOOK_MS * MILLISECOND, NOW_NS, -855196043
            )
        ],
    ),
    (
        "ws_funding_rate",
        [Funding(SWAP, 1_744_590_349_506 * MILLISECOND, "0.0001", 1_744_590_349_506 * MILLISECOND, NOW_NS)],
    ),
    ("ws_instruments", [Ignored("channel not collected")]),
    (
        "ws_tickers",
        [
            Ticker(
                SPOT, BOOK_MS * MILLISECOND, "9999.99", "8888.88", "5", "9999.99", "11", "9000", "10000", "8888.88",
                "2222", "2222", NOW_NS,
            )
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "events"), SAMPLES)
def test_samples_of_the_stream(name: str, events: Sequence[Event]) -> None:
    assert list(adapter().decode(sample(f"okx/{name}.json"), NOW_NS)) == events


def test_samples_of_rest() -> None:
    """Of the older reply of candles the page had both still open."""
    trades, bad = adapter().decode_trades(sample("okx/http_get_trades.json"), SPOT, NOW_NS)
    assert (trades, bad) == (
        [
            Trade(SPOT, 1_747_087_161_666 * MILLISECOND, "734864332", "buy", "102537.9", "0.0000125", NOW_NS),
            Trade(SPOT, 1_747_087_163_557 * MILLISECOND, "734864333", "sell", "102537.9", "0.00013669", NOW_NS),
        ],
        [],
    )
    rest, all_ns = CandleSource.REST, 2**63 - 1
    candles = adapter().decode_candles(
        sample("okx/http_get_candlesticks_full.json"), SWAP, NOW_NS, rest, as_of_ns=all_ns
    )
    earlier = ("102806", "102820.5", "102783.1", "102806.1", "71.6404", "7364701.57952")
    latest = ("102806.1", "102820.4", "102806.1", "102820.4", "10.4037", "1069603.34883")
    assert candles == (
        [
            Candle(SWAP, 1_747_093_980 * SECOND, *earlier, None, None, None, rest, NOW_NS),
            Candle(SWAP, 1_747_094_040 * SECOND, *latest, None, None, None, rest, NOW_NS),
        ],
        [],
    )
    old = adapter().decode_candles(sample("okx/http_get_candlesticks.json"), SPOT, NOW_NS, rest, as_of_ns=all_ns)
    assert old == ([], [])


# What no venue should send


NO_NUMBERS = ["-1", "1_0", " 1", "1e5", "+1", "١", "NaN", "Infinity", "1.2.3", "1\n", "9" * 400, ".", "0x10", "½"]
BY_FIELD: list[tuple[str, dict[str, Any], str]] = [
    *(("trades-all", TRADE, field) for field in ("px", "sz")),
    *(("tickers", TICKER, field) for field in ("last", "askPx", "askSz", "bidPx", "open24h", "vol24h", "volCcy24h")),
    ("funding-rate", FUNDING, "fundingRate"),
    ("open-interest", OPEN_INTEREST, "oi"),
    ("mark-price", MARK, "markPx"),
]


@pytest.mark.parametrize(("channel", "row", "field"), BY_FIELD)
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_plain_decimal(channel: str, row: dict[str, Any], field: str, text: str) -> None:
    if (field, text) == ("fundingRate", "-1"):
        return
    refused(frame(channel, row | {field: text}))


@pytest.mark.parametrize("text", ["", "0", "0.000", *NO_NUMBERS])
@pytest.mark.parametrize("field", ["px", "sz"])
def test_a_trade_of_nothing(field: str, text: str) -> None:
    for channel in ("trades-all", "trades"):
        assert refused(frame(channel, TRADE | {field: text})).startswith(("trade: price", "malformed frame: could not"))


@pytest.mark.parametrize("place", range(1, 8))
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_candle_that_cannot_be(place: int, text: str) -> None:
    wire = [*CANDLE[:place], text, *CANDLE[place + 1 :]]
    native = "BTC-USDT" if place == 5 else "BTC-USDT-SWAP"
    assert refused(frame("candle1m", wire, native=native)).startswith("candle: ")


def test_a_candle_of_no_minute_or_out_of_order() -> None:
    assert "is not the start of a minute" in refused(frame("candle1m", [str(OPEN_MS + 1), *CANDLE[1:]]))
    assert "cannot be" in refused(frame("candle1m", [*CANDLE[:2], "1", *CANDLE[3:]]))
    assert "malformed" in refused(frame("candle1m", CANDLE[:7]))
    assert "malformed" in refused(frame("candle1m", [*CANDLE[:8], "2"]))


@pytest.mark.parametrize("trade_id", ["", "-1", "1.5", "1e3", "abc", "１２", "1" * 19, 12, None, True, 1.0, " 1"])
def test_an_id_that_is_no_number(trade_id: object) -> None:
    refused(frame("trades-all", TRADE | {"tradeId": trade_id}))


@pytest.mark.parametrize("ms", ["0", "-1", "1", "", "abc", "1e99", "9" * 30, str(NOW_NS), 1.5, None, True, []])
@pytest.mark.parametrize(("channel", "row"), [(c, r) for c, r, _ in BY_FIELD[1::3]] + [("trades-all", TRADE)])
def test_absurd_times(channel: str, row: dict[str, Any], ms: object) -> None:
    refused(frame(channel, row | {"ts": ms}))


def test_absurd_times_of_books_quotes_and_liquidations() -> None:
    for ms in ("1", "9" * 30, "x", None):
        refused(frame("books", BOOK | {"ts": ms}, action="snapshot"))
        refused(frame("bbo-tbt", BBO | {"ts": ms}))
        liquidated = LIQUIDATION | {"details": [DETAIL | {"ts": ms}]}
        refused(json.dumps({"arg": {"channel": "liquidation-orders"}, "data": [liquidated]}).encode())
    refused(frame("funding-rate", FUNDING | {"fundingTime": "9999999999999"}))


@pytest.mark.parametrize("text", ["", "0", *NO_NUMBERS])
def test_quotes_and_liquidations_that_cannot_be(text: str) -> None:
    assert "bbo-tbt: " in refused(frame("bbo-tbt", BBO | {"asks": [[text, "1", "0", "1"]]}))
    if text != "0":
        assert "bbo-tbt: " in refused(frame("bbo-tbt", BBO | {"bids": [["1", text, "0", "1"]]}))
    for field in ("bkPx", "sz"):
        rows = [LIQUIDATION | {"details": [DETAIL | {field: text}]}]
        assert "liquidation-orders: " in refused(
            json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": rows}).encode()
        )


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_level_that_is_no_number_is_found_by_the_book(text: str) -> None:
    for level in ([text, "1", "0", "1"], ["8476.98", text, "0", "1"]):
        venue = adapter()
        book = Book(SPOT, 20, venue.follows, venue.books)
        (state,) = venue.decode(SNAPSHOT, NOW_NS)
        (change,) = venue.decode(delta(10, 11, asks=[level]), NOW_NS)
        assert isinstance(state, BookState)
        assert isinstance(change, BookDelta)
        book.restart(state)
        if text == "9" * 400:  # a number all the same
            book.apply(change)
            continue
        with pytest.raises(Rejected):
            book.apply(change)
        assert not book.in_sync


UNKNOWN: list[Callable[[], bytes]] = [
    lambda: frame("trades-all", TRADE | {"instId": "DOGE-USDT"}, native="DOGE-USDT"),
    lambda: frame("candle1m", CANDLE, native="DOGE-USDT"),
    lambda: frame("books", BOOK, native="DOGE-USDT", action="snapshot"),
    lambda: frame("bbo-tbt", BBO, native="btc-usdt"),
    lambda: frame("tickers", TICKER | {"instId": ""}),
]


@pytest.mark.parametrize("make", UNKNOWN)
def test_unknown_symbols(make: Callable[[], bytes]) -> None:
    assert refused(make()).startswith("unknown symbol: ")


@pytest.mark.parametrize(
    "wire",
    [
        *(b"", b"{", b"[]", b"null", b"1", b'"pong"', b"ping", b"{}", b'{"arg":{}}', b'{"arg":[],"data":[]}'),
        *(b"\xff\xfe", b"[" * 10_000, b'{"arg":{"channel":"' * 3, b'{"arg":{"channel":7},"data":[]}'),
        *(b'{"event":null}', b'{"event":"login","code":"0"}', b'{"event":"subscribe"}', b'{"event":"error","id":-1}'),
        b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"}}',
        b'{"event":"subscribe","id":[],"arg":{"channel":"books","instId":"BTC-USDT"}}',
        b'{"arg":{"channel":"\\ud800"},"data":[]}',
        frame("books", BOOK),
        frame("books", BOOK, action="partial"),
        frame("books", {key: value for key, value in CHANGE.items() if key != "prevSeqId"}, action="update"),
        frame("books", CHANGE | {"seqId": -1}, action="update"),
        frame("books", CHANGE | {"seqId": 2**63}, action="update"),
        frame("books", CHANGE | {"checksum": 2**31}, action="update"),
        frame("books", CHANGE | {"checksum": None}, action="update"),
        frame("books", CHANGE | {"asks": [["1"]]}, action="update"),
        frame("books", CHANGE | {"asks": [[1, "1", "0", "1"]]}, action="update"),
        frame("books", CHANGE | {"asks": [{"px": "1"}]}, action="update"),
        frame("trades-all", TRADE | {"side": "BUY"}),
        frame("trades-all", TRADE | {"side": None}),
        frame("trades-all", TRADE | {"px": 42219.9}),
        frame("trades", TRADE | {"count": "0"}),
        frame("trades", TRADE | {"count": "-3"}),
        frame("books-l3", BOOK),
    ],
)  # fmt: skip
def test_shapes_that_are_not_known(wire: bytes) -> None:
    reason = refused(wire)
    assert reason.partition(":")[0] in (
        "malformed frame", "unknown channel", "unknown event", "the frame is not an object", "books",
    )  # fmt: skip


def test_whose_frame_it_is_that_cannot_be_read() -> None:
    venue = adapter()
    assert venue.stream_of(frame("trades-all", {"px": 1})) == (SPOT, "trades")
    assert venue.stream_of(other_words(frame("books", {}, native="BTC-USDT-SWAP"))) == (SWAP, "book")
    assert venue.stream_of(frame("candle1m", [], native="LTC-USD-190628")) == (FUTURE, "candles")
    assert venue.stream_of(frame("candle1D", [])) is None
    assert venue.stream_of(frame("tickers", {}, native="DOGE-USDT")) is None
    for wire in (b"pong", b"", b"\xff" * 200, b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"}}'):
        assert venue.stream_of(wire) is None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_comes_is_understood_or_rejected(data: st.DataObject) -> None:
    """A byte changed, cut or doubled anywhere in a documented frame: never anything but `Rejected`."""
    wire = bytearray(data.draw(st.sampled_from([wire for wire, _ in DOCUMENTED])))
    place = data.draw(st.integers(0, len(wire) - 1))
    change = data.draw(st.sampled_from(["set", "cut", "double"]))
    if change == "set":
        wire[place] = data.draw(st.integers(0, 255))
    elif change == "cut":
        del wire[place : place + data.draw(st.integers(1, 20))]
    else:
        wire[place:place] = wire[place : place + data.draw(st.integers(1, 20))]
    venue = adapter()
    with suppress(Rejected):
        venue.decode(bytes(wire), NOW_NS)
    venue.stream_of(bytes(wire))
