"""Bybit v5's frames and replies as its documentation prints them, and what no venue should send.

The frames are those of https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook and the pages beside it, the
replies those of https://bybit-exchange.github.io/docs/v5/market/orderbook and the pages beside it.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.collect.book import Book, Need
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Bad, Event, Ignored, Options, Request
from ingest.exchanges.bybit import Bybit
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

SPOT, LINEAR, ROSE = 7, 8, 9
IDS = {"BTCUSDT": SPOT, "BTCUSDT:linear": LINEAR, "ROSEUSDT:linear": ROSE}
NOW_NS = 1_795_262_400 * SECOND
SPOT_CHANNELS = ("trades", "candles", "book", "quotes", "ticker")
FIGURES: tuple[Channel, ...] = ("ticker", "funding", "open_interest", "mark_price")

SPOT_BTC = Instrument("bybit", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
LINEAR_BTC = Instrument("bybit", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT")
USDC_BTC = Instrument("bybit", "BTC/USDC:USDC", "BTCPERP", "swap", "BTC", "USDC", "USDC")
INVERSE_BTC = Instrument("bybit", "BTC/USD:BTC", "BTCUSD", "swap", "BTC", "USD", "BTC")
FUTURE_BTC = Instrument("bybit", "BTC/USDT:USDT-251226", "BTCUSDT-26DEC25", "future", "BTC", "USDT", "USDT")

TRADE: dict[str, Any] = {
    "topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1672304486868,
    "data": [
        {
            "T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "L": "PlusTick",
            "i": "20f43950-d8dd-5b31-9112-a178eb6023af", "BT": False, "seq": 1783284617,
        }
    ],
}  # fmt: skip
SPOT_TRADES: dict[str, Any] = {  # as it is sent today: keys in another order, ids that skip
    "topic": "publicTrade.BTCUSDT", "ts": 1789875217841, "type": "snapshot",
    "data": [
        {
            "BT": False, "RPI": False, "S": "Sell", "T": 1789875217840, "i": "2290000000000000903", "p": "80413.3",
            "s": "BTCUSDT", "seq": 114263055846, "v": "0.06",
        },
        {
            "BT": False, "RPI": True, "S": "Buy", "T": 1789875217841, "i": "2290000000000000919", "p": "80413.40",
            "s": "BTCUSDT", "seq": 114263055850, "v": "0.004904",
        },
    ],
}  # fmt: skip
SNAPSHOT: dict[str, Any] = {
    "topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 1672304484978,
    "data": {
        "s": "BTCUSDT", "b": [["16493.50", "0.006"], ["16493.00", "0.100"]],
        "a": [["16611.00", "0.029"], ["16612.00", "0.213"]], "u": 18521288, "seq": 7961638724,
    },
    "cts": 1672304484976,
}  # fmt: skip
DELTA: dict[str, Any] = {
    "topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": 1687940967466,
    "data": {
        "s": "BTCUSDT", "b": [["30247.20", "30.028"], ["30240.00", "0"]], "a": [["30248.70", "0"]],
        "u": 177400507, "seq": 66544703342,
    },
    "cts": 1687940967464,
}  # fmt: skip
BEST: dict[str, Any] = {
    "topic": "orderbook.1.BTCUSDT", "ts": 1772694601512, "type": "snapshot",
    "data": {"s": "BTCUSDT", "b": [["16493.50", "0.006"]], "a": [["16611.00", "0.029"]], "u": 5, "seq": 7961638724},
    "cts": 1772694601510,
}  # fmt: skip
KLINE: dict[str, Any] = {
    "topic": "kline.1.BTCUSDT",
    "data": [
        {
            "start": 1672324800000, "end": 1672324859999, "interval": "1", "open": "16649.5", "close": "16677",
            "high": "16677", "low": "16608", "volume": "2.081", "turnover": "34666.4005", "confirm": True,
            "timestamp": 1672324859882,
        }
    ],
    "ts": 1672324860003, "type": "snapshot",
}  # fmt: skip
TICKER: dict[str, Any] = {
    "topic": "tickers.BTCUSDT", "type": "snapshot",
    "data": {
        "symbol": "BTCUSDT", "tickDirection": "MinusTick", "price24hPcnt": "-0.158315", "lastPrice": "66666.60",
        "prevPrice24h": "79206.20", "highPrice24h": "79266.30", "lowPrice24h": "65076.90", "prevPrice1h": "66666.60",
        "markPrice": "66666.60", "indexPrice": "115418.19", "openInterest": "492373.72",
        "openInterestValue": "32824881841.75", "turnover24h": "4936790807.6521", "volume24h": "73191.3870",
        "fundingIntervalHour": "8", "fundingCap": "0.005", "nextFundingTime": "1760342400000",
        "fundingRate": "-0.005", "bid1Price": "66666.60", "bid1Size": "23789.165", "ask1Price": "66666.70",
        "ask1Size": "23775.469", "preOpenPrice": "", "preQty": "", "curPreListingPhase": "",
    },
    "cs": 9532239429, "ts": 1760325052630,
}  # fmt: skip
SPOT_TICKER: dict[str, Any] = {
    "topic": "tickers.BTCUSDT", "ts": 1673853746003, "type": "snapshot", "cs": 2588407389,
    "data": {
        "symbol": "BTCUSDT", "lastPrice": "21109.77", "highPrice24h": "21426.99", "lowPrice24h": "20575",
        "prevPrice24h": "20704.93", "volume24h": "6780.866843", "turnover24h": "141946527.22907118",
        "price24hPcnt": "0.0196", "usdIndexPrice": "21120.2400136",
    },
}  # fmt: skip
LIQUIDATION: dict[str, Any] = {
    "topic": "allLiquidation.ROSEUSDT", "type": "snapshot", "ts": 1739502303204,
    "data": [{"T": 1739502302929, "s": "ROSEUSDT", "S": "Sell", "v": "20000", "p": "0.04499"}],
}  # fmt: skip

A_TRADE = Trade(
    LINEAR, 1672304486865 * MILLISECOND, "20f43950-d8dd-5b31-9112-a178eb6023af", "buy", "16578.50", "0.001", NOW_NS
)
A_STATE = BookState(
    LINEAR, 7961638724, [("16493.50", "0.006"), ("16493.00", "0.100")],
    [("16611.00", "0.029"), ("16612.00", "0.213")], None, NOW_NS, True, 1672304484976 * MILLISECOND,
)  # fmt: skip
A_DELTA = BookDelta(
    LINEAR, 66544703342, 66544703342, None, [("30247.20", "30.028"), ("30240.00", "0")], [("30248.70", "0")],
    1687940967464 * MILLISECOND, NOW_NS,
)  # fmt: skip
A_QUOTE = Quote(
    SPOT, 1772694601510 * MILLISECOND, 7961638724, "16493.50", "0.006", "16611.00", "0.029", NOW_NS
)  # fmt: skip
A_CANDLE = Candle(
    SPOT, 1672324800000 * MILLISECOND, "16649.5", "16677", "16608", "16677", "2.081", "34666.4005", None, None, None,
    CandleSource.STREAM, NOW_NS,
)  # fmt: skip
TICKER_NS = 1760325052630 * MILLISECOND
A_TICKER = Ticker(
    LINEAR, TICKER_NS, "66666.60", "66666.60", "23789.165", "66666.70", "23775.469", "79206.20", "79266.30",
    "65076.90", "73191.3870", "4936790807.6521", NOW_NS,
)  # fmt: skip
A_RATE = Funding(LINEAR, TICKER_NS, "-0.005", 1760342400000 * MILLISECOND, NOW_NS)
AN_INTEREST = OpenInterest(LINEAR, TICKER_NS, "492373.72", "32824881841.75", NOW_NS)
A_MARK = MarkPrice(LINEAR, TICKER_NS, "66666.60", "115418.19", NOW_NS)


def adapter(instrument: Instrument = LINEAR_BTC, channels: Sequence[Channel] = FIGURES, **options: Any) -> Bybit:
    """Of a connection that has subscribed to `channels`."""
    made = Bybit(IDS, Options(**options))
    made.url([stream(instrument, "trades")])
    made.subscribe([stream(instrument, channel) for channel in channels], 1)
    return made


def stream(instrument: Instrument, channel: Channel) -> Stream:
    return Stream(IDS.get(Bybit.key(instrument), 99), instrument, channel)


def raw(frame: object) -> bytes:
    """As the venue writes it."""
    return json.dumps(frame, separators=(",", ":")).encode()


def turned(frame: dict[str, Any]) -> bytes:
    """The same message, written in another way."""
    return json.dumps(dict(reversed(frame.items())), indent=2).encode()


def altered(frame: dict[str, Any], path: Sequence[str | int], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(frame)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def refused(frame: bytes, venue: Bybit | None = None) -> str:
    """The reason of the refusal."""
    with pytest.raises(Rejected) as caught:
        (venue or adapter()).decode(frame, NOW_NS)
    return str(caught.value)


# What the documentation prints


@pytest.mark.parametrize("write", [raw, turned])
@pytest.mark.parametrize(
    ("instrument", "frame", "events"),
    [
        (LINEAR_BTC, TRADE, [A_TRADE]),
        (
            SPOT_BTC,
            SPOT_TRADES,
            [
                Trade(SPOT, 1789875217840 * MILLISECOND, "2290000000000000903", "sell", "80413.3", "0.06", NOW_NS),
                Trade(SPOT, 1789875217841 * MILLISECOND, "2290000000000000919", "buy", "80413.40", "0.004904", NOW_NS),
            ],
        ),
        (LINEAR_BTC, SNAPSHOT, [A_STATE]),
        (LINEAR_BTC, DELTA, [A_DELTA]),
        (SPOT_BTC, BEST, [A_QUOTE]),
        (SPOT_BTC, KLINE, [A_CANDLE]),
        (LINEAR_BTC, TICKER, [A_TICKER, A_RATE, AN_INTEREST, A_MARK]),
        (
            SPOT_BTC,
            SPOT_TICKER,
            [
                Ticker(
                    SPOT, 1673853746003 * MILLISECOND, "21109.77", None, None, None, None, "20704.93", "21426.99",
                    "20575", "6780.866843", "141946527.22907118", NOW_NS,
                )
            ],
        ),
        (
            LINEAR_BTC,
            LIQUIDATION,  # of a short position, which is bought back
            [Liquidation(ROSE, 1739502302929 * MILLISECOND, "buy", "0.04499", "20000", NOW_NS)],
        ),
    ],
)  # fmt: skip
def test_frames(write: Any, instrument: Instrument, frame: dict[str, Any], events: list[Event]) -> None:
    assert list(adapter(instrument).decode(write(frame), NOW_NS)) == events


def test_the_liquidation_of_a_long_position_is_a_sale() -> None:
    (event,) = adapter().decode(raw(altered(LIQUIDATION, ["data", 0, "S"], "Buy")), NOW_NS)
    assert event == Liquidation(ROSE, 1739502302929 * MILLISECOND, "sell", "0.04499", "20000", NOW_NS)


def test_a_book_without_the_engines_time_has_that_of_its_publication() -> None:
    frame = {key: value for key, value in SNAPSHOT.items() if key != "cts"}
    (state,) = adapter().decode(raw(frame), NOW_NS)
    assert isinstance(state, BookState)
    assert state.event_ns == 1672304484978 * MILLISECOND


# The samples


def test_sample_trade() -> None:
    """Its topic is not the one that is sent today: nothing is guessed."""
    frame = json.loads(sample("bybit/ws_public_trade.json"))
    assert refused(raw(frame)) == "unknown topic: 'trade.linear.BTCUSDT'"
    assert list(adapter().decode(raw(frame | {"topic": "publicTrade.BTCUSDT"}), NOW_NS)) == [
        Trade(
            LINEAR, 1709891679000 * MILLISECOND, "9dc75fca-4bdd-4773-9f78-6f5d7ab2a110", "buy", "27451.00", "0.010",
            NOW_NS,
        )
    ]  # fmt: skip


def test_sample_book() -> None:
    """They are of level 1, which has no deltas any more; as the book of a deeper level they continue each other."""
    venue = adapter()
    snapshot, delta = sample("bybit/ws_orderbook_snapshot.json"), sample("bybit/ws_orderbook_delta.json")
    assert list(venue.decode(snapshot, NOW_NS)) == [
        Quote(LINEAR, 1709891679000 * MILLISECOND, 987654321, "27450.00", "0.500", "27451.00", "0.750", NOW_NS)
    ]
    assert refused(delta, venue) == "quote: a delta, and level 1 has snapshots only"
    book = Book(LINEAR, 20, venue.follows, venue.books)
    (state,) = venue.decode(snapshot.replace(b"orderbook.1.", b"orderbook.50."), NOW_NS)
    (change,) = venue.decode(delta.replace(b"orderbook.1.", b"orderbook.50."), NOW_NS)
    assert state == BookState(
        LINEAR, 987654321, [("27450.00", "0.500"), ("27449.50", "1.000")],
        [("27451.00", "0.750"), ("27451.50", "0.900")], None, NOW_NS, True, 1709891679000 * MILLISECOND,
    )  # fmt: skip
    assert change == BookDelta(
        LINEAR, 987654322, 987654322, 987654321, [("27450.00", "0.400")], [("27451.00", "0")],
        1709891679500 * MILLISECOND, NOW_NS,
    )  # fmt: skip
    assert isinstance(state, BookState)
    assert isinstance(change, BookDelta)
    assert book.restart(state) is Need.NOTHING
    assert book.apply(change) is Need.NOTHING
    assert book.in_sync
    assert book.top() == ((("27450.00", "0.400"), ("27449.50", "1.000")), (("27451.50", "0.900"),))


def test_sample_kline() -> None:
    frame = sample("bybit/ws_kline.json")
    assert list(adapter(SPOT_BTC).decode(frame, NOW_NS)) == [Ignored("candle: not 1m")]
    minute = json.loads(frame)
    minute["topic"], minute["data"][0]["interval"] = "kline.1.BTCUSDT", "1"
    assert list(adapter(SPOT_BTC).decode(raw(minute), NOW_NS)) == [Ignored("candle: still open")]
    minute["data"][0]["confirm"] = True
    assert list(adapter(SPOT_BTC).decode(raw(minute), NOW_NS)) == [A_CANDLE]


def test_sample_ticker() -> None:
    at_ns = 1673272861686 * MILLISECOND
    assert list(adapter().decode(sample("bybit/ws_ticker_linear.json"), NOW_NS)) == [
        Ticker(
            LINEAR, at_ns, "17216.00", "17215.50", "84.489", "17216.00", "83.020", "16926.50", "17281.50", "16915.00",
            "91705.276", "1570383121.943499", NOW_NS,
        ),
        Funding(LINEAR, at_ns, "-0.000212", 1673280000000 * MILLISECOND, NOW_NS),
        OpenInterest(LINEAR, at_ns, "68744.761", "1183601235.91", NOW_NS),
        MarkPrice(LINEAR, at_ns, "17217.33", "17227.36", NOW_NS),
    ]  # fmt: skip


def test_sample_answers() -> None:
    accepted, wrong = sample("bybit/ws_subscription_ack.json"), sample("bybit/ws_subscription_failure.json")
    (foreign,) = adapter().decode(accepted, NOW_NS)  # ids of ours are numbers
    assert foreign == Ignored("answer: to no request of ours")
    assert list(adapter().decode(accepted.replace(b"sub-orderbook-1", b"1"), NOW_NS)) == [Ack(1)]
    assert list(adapter().decode(wrong, NOW_NS)) == [Ack(0, "Invalid topic: invalid.topic.BTCUSDT")]


def test_sample_replies() -> None:
    venue = adapter()
    assert venue.decode_book(sample("bybit/http_get_orderbook.json"), LINEAR, 20, NOW_NS) == BookState(
        LINEAR, 9876543, [("27450.50", "1.500"), ("27450.00", "2.000"), ("27449.50", "0.750")],
        [("27451.00", "1.200"), ("27451.50", "3.000"), ("27452.00", "0.500")], 80, NOW_NS,
    )  # fmt: skip
    assert venue.decode_trades(sample("bybit/http_get_trades_recent.json"), LINEAR, NOW_NS) == (
        [
            Trade(
                LINEAR, 1709891679000 * MILLISECOND, "a905d5c3-1ed0-4f37-83e4-9c73a2fe2f01", "buy", "27450.50",
                "0.005", NOW_NS,
            )
        ],
        [],
    )  # fmt: skip
    klines = sample("bybit/http_get_klines_linear.json")
    candles, bad = venue.decode_candles(klines, LINEAR, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS)
    assert not candles  # it opens at a second within a minute, as none does
    assert [row.reason for row in bad] == ["row of a reply: candle: 1709891679000 is not the start of a minute"]
    klines = klines.replace(b"1709891679000", b"1709891640000")
    assert venue.decode_candles(klines, LINEAR, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS) == (
        [
            Candle(
                LINEAR, 1709891640000 * MILLISECOND, "27450", "27460", "27440", "27455", "123.45", "3390000", None,
                None, None, CandleSource.REST, NOW_NS,
            )
        ],
        [],
    )  # fmt: skip


# Two kinds of instruments under one name


def test_keys_groups_and_channels() -> None:
    assert [Bybit.key(i) for i in (SPOT_BTC, LINEAR_BTC, USDC_BTC, INVERSE_BTC)] == [
        "BTCUSDT", "BTCUSDT:linear", "BTCPERP:linear", "BTCUSD:inverse",
    ]  # fmt: skip
    venue = adapter()
    assert [venue.group(stream(i, "trades")) for i in (SPOT_BTC, LINEAR_BTC, USDC_BTC)] == ["spot", "linear", "linear"]
    assert tuple(venue.channels(SPOT_BTC)) == SPOT_CHANNELS
    figures = ("funding", "open_interest", "mark_price", "liquidations")
    assert tuple(venue.channels(LINEAR_BTC)) == tuple(venue.channels(USDC_BTC)) == (*SPOT_CHANNELS, *figures)
    assert not venue.channels(INVERSE_BTC)
    assert not venue.channels(FUTURE_BTC)
    assert set(venue.channels(LINEAR_BTC)) == set(venue.promises)


@pytest.mark.parametrize("frame", [TRADE, SNAPSHOT, DELTA, BEST, KLINE, TICKER])
def test_a_symbol_means_nothing_before_the_kind_is_known(frame: dict[str, Any]) -> None:
    unconnected = Bybit(IDS, Options())
    assert refused(raw(frame), unconnected) == "unknown symbol: 'BTCUSDT:?'"
    assert unconnected.stream_of(raw(frame)) is None
    for instrument, number in ((SPOT_BTC, SPOT), (LINEAR_BTC, LINEAR)):
        for told in (Bybit.url, lambda venue, streams: venue.subscribe(streams, 1)):
            venue = Bybit(IDS, Options())
            told(venue, [stream(instrument, "trades")])
            (event, *_) = venue.decode(raw(frame), NOW_NS)
            assert event.instrument_id == number  # type: ignore[union-attr]  # else it fails here


# Connecting and subscribing


def test_url() -> None:
    venue = Bybit(IDS, Options())
    assert venue.url([stream(SPOT_BTC, "trades")]) == "wss://stream.bybit.com/v5/public/spot"
    assert venue.url([stream(USDC_BTC, "book")]) == "wss://stream.bybit.com/v5/public/linear"
    at = Bybit(IDS, Options(ws_url="ws://127.0.0.1:9/"))
    assert at.url([stream(LINEAR_BTC, "trades")]) == "ws://127.0.0.1:9/v5/public/linear"


def test_subscribe_names_each_topic_once() -> None:
    """A request with a topic that is subscribed already is refused as a whole, and four channels share one."""
    venue = Bybit(IDS, Options())
    streams = [stream(LINEAR_BTC, channel) for channel in venue.channels(LINEAR_BTC)]
    (subscription,) = venue.subscribe(streams, 3)
    assert subscription.request_id == 3
    assert set(subscription.streams) == set(streams)
    assert len(subscription.streams) == len(streams)
    assert json.loads(subscription.frame) == {
        "req_id": "3",
        "op": "subscribe",
        "args": [
            "publicTrade.BTCUSDT", "kline.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT",
            "tickers.BTCUSDT", "allLiquidation.BTCUSDT",
        ],
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "settle", "size"), [("spot", None, 10), ("swap", "USDT", 100)])
@pytest.mark.parametrize("count", [0, 1, 10, 11, 100, 101, 500])
def test_subscribe_in_parts_within_the_limits(kind: str, settle: str | None, size: int, count: int) -> None:
    names = [f"10000{number:06}BABYDOGEUSDT" for number in range(count)]  # longer than the longest there is
    instruments = [Instrument("bybit", name, name, kind, name, "USDT", settle) for name in names]
    streams = [Stream(number, instrument, "book") for number, instrument in enumerate(instruments)]
    subscriptions = Bybit(IDS, Options(book_depth=1000)).subscribe(streams, 11)
    assert [s.request_id for s in subscriptions] == list(range(11, 11 + -(-count // size)))
    assert [one for s in subscriptions for one in s.streams] == streams
    messages = [json.loads(s.frame) for s in subscriptions]
    assert [message["req_id"] for message in messages] == [str(s.request_id) for s in subscriptions]
    assert all(len(message["args"]) <= size for message in messages)
    topics = [topic for message in messages for topic in message["args"]]
    assert topics == [f"orderbook.1000.{name}" for name in names]
    assert count > Bybit.limits.streams_per_connection or len(json.dumps(topics)) <= 21_000


@pytest.mark.parametrize(
    ("depth", "level"), [(1, 50), (20, 50), (50, 50), (51, 200), (200, 200), (201, 1000), (1000, 1000), (5000, 1000)]
)
def test_the_level_is_as_deep_as_the_book(depth: int, level: int) -> None:
    (subscription,) = Bybit(IDS, Options(book_depth=depth)).subscribe([stream(SPOT_BTC, "book")], 1)
    assert json.loads(subscription.frame)["args"] == [f"orderbook.{level}.BTCUSDT"]
    at = adapter(book_depth=depth)
    for other in (50, 200, 1000):
        (event,) = at.decode(raw(SNAPSHOT | {"topic": f"orderbook.{other}.BTCUSDT"}), NOW_NS)
        assert event == (A_STATE if other == level else Ignored("book: not the depth that is collected"))


def test_resubscribe() -> None:
    first, second = adapter().resubscribe(stream(LINEAR_BTC, "book"), 7)
    assert (first.request_id, second.request_id) == (7, 8)
    assert json.loads(first.frame) == {"req_id": "7", "op": "unsubscribe", "args": ["orderbook.50.BTCUSDT"]}
    assert json.loads(second.frame) == {"req_id": "8", "op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}


def test_ping() -> None:
    assert Bybit.ping is not None
    assert json.loads(Bybit.ping.frame) == {"op": "ping"}
    assert Bybit.ping.seconds == 20


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ({"success": True, "ret_msg": "pong", "conn_id": "0970e817", "op": "ping"}, Ignored("pong")),
        ({"success": True, "ret_msg": "pong", "conn_id": "465772b1", "req_id": "", "op": "ping"}, Ignored("pong")),
        ({"args": ["1672916271846"], "op": "pong"}, Ignored("pong")),
        ({"success": True, "ret_msg": "subscribe", "conn_id": "x", "req_id": "12", "op": "subscribe"}, Ack(12)),
        ({"success": True, "ret_msg": "", "conn_id": "x", "req_id": "3", "op": "unsubscribe"}, Ack(3)),
        (
            {"success": False, "ret_msg": "error:already subscribed,topic:kline.1.B", "req_id": "2", "op": "subscribe"},
            Ack(2, "error:already subscribed,topic:kline.1.B"),
        ),
        ({"success": False, "ret_msg": "", "op": "subscribe", "req_id": "2"}, Ack(2, "refused without a word")),
        ({"success": False, "op": ""}, Ack(0, "refused without a word")),
        *(
            ({"success": True, "ret_msg": "", "req_id": name}, Ignored("answer: to no request of ours"))
            for name in ("1.0", "-1", "١", "9" * 400, "mine")
        ),
    ],
)
def test_answers(frame: dict[str, Any], event: Event) -> None:
    for write in (raw, turned):
        assert list(adapter().decode(write(frame), NOW_NS)) == [event]


@pytest.mark.parametrize(
    "frame",
    [
        {"op": "subscribe", "req_id": "1"},
        {"success": None, "req_id": "1"},
        {"success": "true", "req_id": "1"},
        {"success": 1, "req_id": "1"},
        {"success": True, "req_id": 1},
        {"success": False, "ret_msg": ["no"]},
    ],
)
def test_an_answer_of_a_wrong_shape(frame: dict[str, Any]) -> None:
    refused(raw(frame))


# Books


def message(
    u: int, seq: int, bids: Sequence[Sequence[str]] = (), asks: Sequence[Sequence[str]] = (), **more: Any
) -> Any:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": u, "seq": seq}
    return {"topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": 1772694601512, "data": data, **more}


class Kept:
    """A book at the end of a connection: what it has asked for, and whether it is in sync."""

    def __init__(self) -> None:
        self.venue = adapter()
        self.book = Book(LINEAR, 20, self.venue.follows, self.venue.books)

    def in_sync(self) -> bool:
        return self.book.in_sync

    def take(self, *messages: Any) -> list[Need]:
        needs = []
        for one in messages:
            (event,) = self.venue.decode(raw(one), NOW_NS)
            assert isinstance(event, BookState | BookDelta)
            needs.append(self.book.restart(event) if isinstance(event, BookState) else self.book.apply(event))
        return needs


WHOLE = message(100, 7000, [["10.0", "1"], ["9.5", "2"]], [["10.5", "3"], ["11", "4"]], type="snapshot")
CHANGES = [  # `seq` skips, and may stand still
    message(101, 7003, [["10.1", "1.50"], ["9.5", "0"]]),
    message(102, 7003, [], [["10.5", "0.0"], ["10.60", "5"]]),
    message(103, 7100, [["10.1", "0"]], [["11", "4.4"]]),
]


def test_a_book_is_kept() -> None:
    kept = Kept()
    assert kept.take(WHOLE, *CHANGES) == [Need.NOTHING] * 4
    assert kept.in_sync()
    assert kept.book.sequence == 7100
    assert kept.book.top() == ((("10.0", "1"),), (("10.60", "5"), ("11", "4.4")))


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_dropped_delta_is_found_at_the_next_one(dropped: int) -> None:
    kept = Kept()
    kept.take(WHOLE, *CHANGES[:dropped])
    assert kept.take(CHANGES[dropped + 1]) == [Need.RESYNC]
    assert not kept.in_sync()
    assert kept.take(*CHANGES[dropped + 2 :]) == [Need.NOTHING] * (1 - dropped)  # it is asked for once
    again = message(104, 7200, [["10.2", "1"]], [["10.9", "2"]], type="snapshot")
    assert kept.take(again, message(105, 7201, [["10.2", "0"], ["10.3", "6"]])) == [Need.NOTHING] * 2
    assert kept.in_sync()
    assert kept.book.top() == ((("10.3", "6"),), (("10.9", "2"),))


def test_a_rejected_delta_is_found_at_the_next_one() -> None:
    kept = Kept()
    kept.take(WHOLE)
    refused(raw(altered(CHANGES[0], ["data", "b"], [["10.1"]])), kept.venue)
    assert kept.take(CHANGES[1]) == [Need.RESYNC]


def test_a_delta_that_comes_twice_changes_nothing() -> None:
    kept = Kept()
    assert kept.take(WHOLE, *CHANGES, CHANGES[2]) == [Need.NOTHING] * 5
    assert kept.in_sync()
    assert kept.take(message(104, 7101, [["10.2", "1"]])) == [Need.NOTHING]
    assert kept.book.sequence == 7101


def test_deltas_in_the_wrong_order_are_a_break() -> None:
    kept = Kept()
    assert kept.take(WHOLE, CHANGES[1]) == [Need.NOTHING, Need.RESYNC]
    assert not kept.in_sync()


def test_a_state_that_goes_back_is_not_followed() -> None:
    kept = Kept()
    kept.take(WHOLE, message(101, 6999, [["10.2", "1"]]))
    assert kept.take(message(102, 7001, [["10.3", "1"]])) == [Need.RESYNC]


@pytest.mark.parametrize("form", ["snapshot", "delta"])
def test_a_restart_of_the_service_begins_the_book_anew(form: str) -> None:
    """`u` is 1 then, and what comes is a whole book."""
    kept = Kept()
    kept.take(WHOLE, *CHANGES)
    assert kept.take(message(1, 7300, [["8", "1"]], [["9", "1"]], type=form)) == [Need.NOTHING]
    assert kept.take(message(2, 7301, [["8.1", "2"]])) == [Need.NOTHING]
    assert kept.in_sync()
    assert kept.book.top() == ((("8.1", "2"), ("8", "1")), (("9", "1"),))


def test_a_snapshot_at_any_time_replaces_the_book() -> None:
    kept = Kept()
    kept.take(WHOLE, CHANGES[0], message(102, 7003, [["8", "1"]], [["9", "1"]], type="snapshot"))
    assert kept.take(message(103, 7004, [["8.1", "2"]])) == [Need.NOTHING]
    assert kept.book.top() == ((("8.1", "2"), ("8", "1")), (("9", "1"),))


def test_another_counting_without_its_beginning_is_a_break() -> None:
    kept = Kept()
    kept.take(WHOLE, *CHANGES)
    assert kept.take(message(5, 7400, [["8", "1"]])) == [Need.RESYNC]


def test_a_delta_before_any_snapshot_asks_for_one() -> None:
    assert Kept().take(CHANGES[0]) == [Need.RESYNC]


def test_books_of_two_instruments_count_apart() -> None:
    kept = Kept()
    kept.take(WHOLE)
    other = altered(message(1000, 9000, [["1", "1"]], [], type="snapshot"), ["data", "s"], "ROSEUSDT")
    kept.venue.decode(raw(other | {"topic": "orderbook.50.ROSEUSDT"}), NOW_NS)
    assert kept.take(CHANGES[0]) == [Need.NOTHING]


def test_quotes_of_an_instrument_do_not_count_for_its_book() -> None:
    kept = Kept()
    kept.take(WHOLE)
    kept.venue.decode(raw(BEST), NOW_NS)
    assert kept.take(CHANGES[0]) == [Need.NOTHING]


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_quote_of_an_empty_side_is_ignored(side: str) -> None:
    events = adapter(SPOT_BTC).decode(raw(altered(BEST, ["data", side], [])), NOW_NS)
    assert list(events) == [Ignored("quote: a side of the book is empty")]


# Tickers: one topic of several channels


def delta(at_ms: int = 1760325052730, **data: Any) -> dict[str, Any]:
    return {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"symbol": "BTCUSDT", **data}, "cs": 1, "ts": at_ms}


def test_what_a_delta_does_not_speak_of_has_not_changed() -> None:
    venue, at_ns = adapter(), 1760325052730 * MILLISECOND
    venue.decode(raw(TICKER), NOW_NS)
    best = delta(bid1Price="66667.00", bid1Size="1.5")
    a_ticker = Ticker(
        LINEAR, at_ns, "66666.60", "66667.00", "1.5", "66666.70", "23775.469", "79206.20", "79266.30", "65076.90",
        "73191.3870", "4936790807.6521", NOW_NS,
    )  # fmt: skip
    assert list(venue.decode(raw(best), NOW_NS)) == [a_ticker]
    assert list(venue.decode(raw(delta(indexPrice="115420")), NOW_NS)) == [
        a_ticker, MarkPrice(LINEAR, at_ns, "66666.60", "115420", NOW_NS),
    ]  # fmt: skip
    assert list(venue.decode(turned(delta(openInterestValue="1")), NOW_NS)) == [
        a_ticker, OpenInterest(LINEAR, at_ns, "492373.72", "1", NOW_NS),
    ]  # fmt: skip
    assert list(venue.decode(raw(delta(nextFundingTime="1760371200000")), NOW_NS)) == [
        a_ticker, Funding(LINEAR, at_ns, "-0.005", 1760371200000 * MILLISECOND, NOW_NS),
    ]  # fmt: skip


def test_figures_that_do_not_change_are_told_again() -> None:
    """So that a stream that goes on is not taken for a dead one."""
    venue = adapter()
    start_ms = 1760325052630
    venue.decode(raw(TICKER), NOW_NS)
    told = {
        second: [type(e) for e in venue.decode(raw(delta(start_ms + second * 1000, bid1Size="1")), NOW_NS)]
        for second in (1, 19, 20, 21, 39, 40)
    }
    assert told == {
        second: [Ticker, Funding, OpenInterest, MarkPrice] if second in (20, 40) else [Ticker]
        for second in (1, 19, 20, 21, 39, 40)
    }


@pytest.mark.parametrize("channel", FIGURES)
def test_only_what_is_subscribed_is_told(channel: Channel) -> None:
    kinds = {"ticker": Ticker, "funding": Funding, "open_interest": OpenInterest, "mark_price": MarkPrice}
    venue = adapter(LINEAR_BTC, [channel])
    assert [type(event) for event in venue.decode(raw(TICKER), NOW_NS)] == [kinds[channel]]
    assert venue.stream_of(raw(TICKER)) == (LINEAR, channel)
    (event,) = venue.decode(raw(delta(lastPrice="1")), NOW_NS)
    assert isinstance(event, Ticker) or event == Ignored("ticker: nothing that is collected")
    assert isinstance(event, Ticker) is (channel == "ticker")


def test_a_delta_without_its_snapshot() -> None:
    ignored = [Ignored("ticker: a delta without its snapshot")]
    assert list(adapter().decode(raw(delta(lastPrice="1")), NOW_NS)) == ignored


@pytest.mark.parametrize(
    "bad",
    [
        delta(lastPrice="1e5"),
        delta(lastPrice=1),
        delta(markPrice="-1"),
        delta(fundingRate="--1"),
        delta(nextFundingTime="soon"),
        delta(at_ms=1),
    ],
)
def test_after_a_delta_that_is_lost_the_next_snapshot_is_waited_for(bad: dict[str, Any]) -> None:
    """What it said is not known, and may hold for hours."""
    venue = adapter()
    venue.decode(raw(TICKER), NOW_NS)
    refused(raw(bad), venue)
    assert list(venue.decode(raw(delta(ask1Size="2")), NOW_NS)) == [Ignored("ticker: a delta without its snapshot")]
    assert list(venue.decode(raw(TICKER), NOW_NS)) == [A_TICKER, A_RATE, AN_INTEREST, A_MARK]


def test_figures_that_the_venue_does_not_state() -> None:
    """Of a contract that is not traded yet; a dated one has no funding."""
    nothing = dict.fromkeys(
        ("lastPrice", "bid1Price", "ask1Size", "fundingRate", "nextFundingTime", "openInterest", "markPrice"), ""
    )
    frame = TICKER | {"data": TICKER["data"] | nothing}
    assert list(adapter().decode(raw(frame), NOW_NS)) == [
        Ticker(
            LINEAR, TICKER_NS, None, None, "23789.165", "66666.70", None, "79206.20", "79266.30", "65076.90",
            "73191.3870", "4936790807.6521", NOW_NS,
        )
    ]  # fmt: skip
    zeros = TICKER | {"data": TICKER["data"] | {"markPrice": "0.00", "indexPrice": "0", "nextFundingTime": "0"}}
    assert list(adapter().decode(raw(zeros), NOW_NS)) == [
        A_TICKER, Funding(LINEAR, TICKER_NS, "-0.005", None, NOW_NS), AN_INTEREST,
    ]  # fmt: skip
    assert list(adapter().decode(raw(altered(TICKER, ["data", "indexPrice"], "0")), NOW_NS))[-1] == MarkPrice(
        LINEAR, TICKER_NS, "66666.60", None, NOW_NS
    )


def test_a_side_that_becomes_empty_is_empty() -> None:
    venue = adapter(LINEAR_BTC, ["ticker"])
    venue.decode(raw(TICKER), NOW_NS)
    (event,) = venue.decode(raw(delta(bid1Price="", bid1Size="")), NOW_NS)
    assert isinstance(event, Ticker)
    assert (event.bid, event.bid_amount, event.ask) == (None, None, "66666.70")


# Candles


def test_open_candles_are_ignored_or_marked_as_open() -> None:
    frame = raw(altered(KLINE, ["data", 0, "confirm"], value=False))
    assert list(adapter(SPOT_BTC).decode(frame, NOW_NS)) == [Ignored("candle: still open")]
    (candle,) = adapter(SPOT_BTC, include_open_candles=True).decode(frame, NOW_NS)
    assert isinstance(candle, Candle)
    assert candle.source is CandleSource.OPEN


def test_a_closed_candle_beside_an_open_one() -> None:
    following = {**KLINE["data"][0], "start": 1672324860000, "confirm": False}
    frame = KLINE | {"data": [*KLINE["data"], following]}
    assert list(adapter(SPOT_BTC).decode(raw(frame), NOW_NS)) == [A_CANDLE]


@pytest.mark.parametrize("start", [1672324800001, 1672324830000, 0, -60000, 1795262400000 + 86_460_000, 10**30])
def test_a_candle_that_does_not_open_on_a_minute_of_ours(start: int) -> None:
    assert str(start) in refused(raw(altered(KLINE, ["data", 0, "start"], start)), adapter(SPOT_BTC))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *((field, text) for field in ("open", "high", "low", "close", "volume", "turnover") for text in ("-1", "1e5")),
        ("open", "16700"), ("close", "16600"), ("high", "16650"), ("low", "16650"), ("low", "0"), ("volume", "NaN"),
        ("turnover", ""), ("high", "9" * 400), ("volume", " 1"), ("open", "١"),
    ],
)  # fmt: skip
def test_a_candle_that_cannot_be(field: str, text: str) -> None:
    reason = refused(raw(altered(KLINE, ["data", 0, field], text)), adapter(SPOT_BTC))
    assert reason.startswith("candle: ")
    assert repr(text) in reason


# What no venue should send

NO_DECIMALS = (
    *("NaN", "sNaN", "Infinity", "-Infinity", "inf", "-0.001", "-0", "", "abc", "0x10", "1,5", "1 2", "1.2.3", "."),
    *("1_000", " 1", "1\t", "1\n", "\u00a01", "١٢", "１２", "1e5", "1E-3", "+1", "9" * 400, "\x00", "½", "\ud800"),
)


@pytest.mark.parametrize("text", [*NO_DECIMALS, "0", "0.000"])
@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (TRADE, ["data", 0, "p"]),
        (TRADE, ["data", 0, "v"]),
        (BEST, ["data", "b", 0, 0]),
        (BEST, ["data", "a", 0, 1]),
        (LIQUIDATION, ["data", 0, "p"]),
        (LIQUIDATION, ["data", 0, "v"]),
    ],
)
def test_a_price_or_an_amount_that_is_no_plain_positive_decimal(frame: Any, path: list[str | int], text: str) -> None:
    refused(raw(altered(frame, path, text)))


@pytest.mark.parametrize("text", [text for text in NO_DECIMALS if text])
@pytest.mark.parametrize("field", ["lastPrice", "bid1Size", "volume24h", "openInterest", "markPrice", "indexPrice"])
def test_a_figure_that_is_no_plain_decimal(field: str, text: str) -> None:
    refused(raw(altered(TICKER, ["data", field], text)))


@pytest.mark.parametrize("text", ["--1", "-", "+0.1", "-1e5", "NaN", "-NaN", " 0.1", "-0.1\n", "−0.1", "9" * 400])
def test_a_rate_that_is_no_plain_decimal(text: str) -> None:
    refused(raw(altered(TICKER, ["data", "fundingRate"], text)))


@pytest.mark.parametrize("rate", ["0", "-0.000212", "0.0001", "-0"])
def test_rates_have_a_sign(rate: str) -> None:
    (funding,) = adapter(LINEAR_BTC, ["funding"]).decode(raw(altered(TICKER, ["data", "fundingRate"], rate)), NOW_NS)
    assert funding == Funding(LINEAR, TICKER_NS, rate, 1760342400000 * MILLISECOND, NOW_NS)


@pytest.mark.parametrize("text", ["-1", "1.5", "1e12", "٣", "1", "1760342400", "9" * 30, "1" + "0" * 400])
def test_an_absurd_time_of_funding(text: str) -> None:
    assert "absurd time" in refused(raw(altered(TICKER, ["data", "nextFundingTime"], text)))


@pytest.mark.parametrize("trade_id", ["", "a b", "a\tb", "a\\b", "\u0000", "é", "a" * 65, 1, None, "a;b"])
def test_an_id_that_is_none(trade_id: object) -> None:
    refused(raw(altered(TRADE, ["data", 0, "i"], trade_id)))


@pytest.mark.parametrize("side", ["buy", "None", "", 1, None])
def test_a_side_that_is_none(side: object) -> None:
    refused(raw(altered(TRADE, ["data", 0, "S"], side)))
    refused(raw(altered(LIQUIDATION, ["data", 0, "S"], side)))


@pytest.mark.parametrize("time", [0, -1, 1672304486, 1_230_767_999_999, 1795262400000 + 86_401_000, 2**63, 10**30])
def test_absurd_times(time: int) -> None:
    places: list[tuple[dict[str, Any], list[str | int]]] = [
        (TRADE, ["data", 0, "T"]),
        (LIQUIDATION, ["data", 0, "T"]),
        (SNAPSHOT, ["cts"]),
        (BEST, ["cts"]),
        (TICKER, ["ts"]),
    ]
    for frame, path in places:
        assert str(time) in refused(raw(altered(frame, path, time)))


@pytest.mark.parametrize(
    ("frame", "path", "value"),
    [
        (SNAPSHOT, ["data", "u"], -1),
        (SNAPSHOT, ["data", "u"], "1"),
        (SNAPSHOT, ["data", "seq"], 2**63),
        (SNAPSHOT, ["data", "seq"], 1.5),
        (SNAPSHOT, ["data", "b"], None),
        (SNAPSHOT, ["data", "b"], [["1"]]),
        (SNAPSHOT, ["data", "b"], [["1", "2", "3"]]),
        (SNAPSHOT, ["data", "a"], [[1, "2"]]),
        (SNAPSHOT, ["type"], "update"),
        (SNAPSHOT, ["data"], []),
        (DELTA, ["type"], None),
        (TRADE, ["data"], {}),
        (TRADE, ["data", 0, "T"], "1672304486865"),
        (TRADE, ["data", 0, "T"], 1672304486865.0),
        (TRADE, ["data", 0, "p"], 16578.5),
        (TICKER, ["type"], "update"),
        (TICKER, ["data", "lastPrice"], 1.5),
        (KLINE, ["data", 0, "confirm"], 1),
        (KLINE, ["topic"], None),
    ],
)
def test_a_wrong_shape_is_named(frame: dict[str, Any], path: list[str | int], value: object) -> None:
    assert refused(raw(altered(frame, path, value))).startswith("malformed frame: ")


@pytest.mark.parametrize("frame", [TRADE, SNAPSHOT, BEST])
@pytest.mark.parametrize("symbol", ["ETHUSDT", "btcusdt", "", "BTCUSDT:linear", "BTCUSDT "])
def test_an_unknown_symbol_is_named(frame: dict[str, Any], symbol: str) -> None:
    path: list[str | int] = ["data", 0, "s"] if frame is TRADE else ["data", "s"]
    assert refused(raw(altered(frame, path, symbol))) == f"unknown symbol: {symbol + ':linear'!r}"


@pytest.mark.parametrize("topic", ["liquidations.BTCUSDT", "adl.BTC", "", "x" * 10_000])
def test_an_unknown_topic_is_named(topic: str) -> None:
    assert refused(raw({"topic": topic, "type": "snapshot", "data": []})) == f"unknown topic: {topic[:40]!r}"


@pytest.mark.parametrize("frame", [TRADE | {"data": []}, LIQUIDATION | {"data": []}])
def test_a_message_with_nothing_in_it(frame: dict[str, Any]) -> None:
    assert list(adapter().decode(raw(frame), NOW_NS)) == [Ignored("message: nothing in it")]


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b" ", b"\xff\xfe", b"nonsense", b"NaN", b"<html>403 Forbidden</html>", b"null", b"1", b"[]", b"{}"),
        *(b'"x"', b"[" * 100_000, b'{"topic":' + b"[" * 100_000, b'{"topic":"pub', b'{"topic":"tickers.\xff"}'),
        raw(TRADE) + raw(TRADE),
        raw(TRADE).replace(b'"16578.50"', b"1e999"),
        raw(TRADE).replace(b"BTCUSDT", b"\xc3\x28"),
        b'{"topic":"publicTrade.BTCUSDT","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_not_a_frame_at_all(frame: bytes) -> None:
    assert refused(frame)


@pytest.mark.parametrize("frame", [TRADE, SNAPSHOT, BEST, KLINE, TICKER, LIQUIDATION, {"success": True, "req_id": "1"}])
def test_truncated_anywhere(frame: dict[str, Any]) -> None:
    wire = raw(frame)
    for length in range(len(wire)):
        assert refused(wire[:length]).startswith("malformed frame: ")


# Whose frame it was


@pytest.mark.parametrize(
    ("frame", "channel"),
    [
        (TRADE, "trades"),
        (SNAPSHOT, "book"),
        (SNAPSHOT | {"topic": "orderbook.200.BTCUSDT"}, None),
        (BEST, "quotes"),
        (KLINE, "candles"),
        (KLINE | {"topic": "kline.5.BTCUSDT"}, None),
        (TICKER, "ticker"),
        (LIQUIDATION | {"topic": "allLiquidation.BTCUSDT"}, "liquidations"),
        (TRADE | {"topic": "publicTrade.ETHUSDT"}, None),
        (TRADE | {"topic": "tickers_lt.BTCUSDT"}, None),
        ({"success": True}, None),
    ],
)
def test_stream_of(frame: dict[str, Any], channel: Channel | None) -> None:
    expected = None if channel is None else (LINEAR, channel)
    for wire in (raw(frame), raw(frame)[:60], json.dumps(frame).encode()):
        assert adapter().stream_of(wire) == expected


# Fuzz: whatever comes, decode returns events or raises Rejected

_JSON = (
    st.sampled_from(
        [
            *(None, True, False, 0, -1, 1, 2**63, 10**40, 1.5, 1e308, 1672304486865),
            *("", "0.001", "-1", "NaN", "1e400", "snapshot", "delta", "BTCUSDT", "1", "Buy", "tickers.BTCUSDT"),
            *([], {}, [[]], [None], [["1", "2"]], [["1", "x", "3"]], [[1, 2]], TRADE["data"], TICKER["data"]),
        ]
    )
    | st.integers()
    | st.text(max_size=6)
)
_FRAMES = st.sampled_from([TRADE, SNAPSHOT, DELTA, BEST, KLINE, TICKER, LIQUIDATION, delta(lastPrice="1")])
_EVENTS = (
    Trade, Candle, Quote, Ticker, Funding, OpenInterest, MarkPrice, Liquidation, BookDelta, BookState, Ack, Ignored,
)  # fmt: skip
_FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _survives(wire: bytes) -> None:
    for instrument in (SPOT_BTC, LINEAR_BTC):
        venue = adapter(instrument, include_open_candles=True)
        venue.decode(raw(TICKER), NOW_NS)
        try:
            events = venue.decode(wire, NOW_NS)
        except Rejected as error:
            assert str(error)  # noqa: PT017 - a reason is owed
        else:
            assert events
            assert all(isinstance(event, _EVENTS) for event in events)
        found = venue.stream_of(wire)
        assert found is None or found[0] in IDS.values()


@_FUZZ
@given(data=st.data(), frame=_FRAMES)
def test_fuzz_values(data: st.DataObject, frame: dict[str, Any]) -> None:
    mutated = copy.deepcopy(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = mutated
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            if data.draw(st.booleans()):
                place[key] = copy.deepcopy(data.draw(_JSON))
            else:
                del place[key]
            break
    _survives(raw(mutated))


@_FUZZ
@given(frame=_FRAMES, cut=st.tuples(st.floats(0, 1), st.integers(0, 4)), insert=st.binary(max_size=4))
def test_fuzz_bytes(frame: dict[str, Any], cut: tuple[float, int], insert: bytes) -> None:
    wire = raw(frame)
    at = int(cut[0] * len(wire))
    _survives(wire[:at] + insert + wire[at + cut[1] :])


@_FUZZ
@given(result=_JSON | st.fixed_dictionaries({"list": st.lists(_JSON | st.lists(_JSON, max_size=8), max_size=5)}))
def test_fuzz_replies(result: Any) -> None:
    body = raw({"retCode": 0, "retMsg": "OK", "result": result})
    venue = adapter()
    for call in (
        lambda: venue.decode_candles(body, 1, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS),
        lambda: venue.decode_trades(body, 1, NOW_NS),
    ):
        try:
            made, bad = call()
        except Rejected as error:
            assert "malformed reply" in str(error)  # noqa: PT017 - the reason is the point
        else:
            assert len(made) + len(bad) <= len(result["list"])
            assert all(isinstance(one, Bad) and one.reason and one.payload for one in bad)


# REST


def asked(request: Request) -> tuple[str, dict[str, str]]:
    parts = urlsplit(request.url)
    assert request.weight == 1
    assert not request.headers
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


def test_requests() -> None:
    venue, base = Bybit(IDS, Options()), "https://api.bybit.com/v5/market/"
    spot, linear = {"category": "spot", "symbol": "BTCUSDT"}, {"category": "linear", "symbol": "BTCUSDT"}
    assert asked(venue.book_request(SPOT_BTC, 20)) == (f"{base}orderbook", spot | {"limit": "80"})
    assert asked(venue.book_request(LINEAR_BTC, 1000)) == (f"{base}orderbook", linear | {"limit": "1000"})
    assert asked(venue.candles_request(LINEAR_BTC, start_ns=None, limit=5)) == (
        f"{base}kline", linear | {"interval": "1", "limit": "5"},
    )  # fmt: skip
    assert asked(venue.candles_request(SPOT_BTC, start_ns=1672324800000 * MILLISECOND, limit=5000)) == (
        f"{base}kline",
        spot | {"interval": "1", "start": "1672324800000", "end": str(1672324800000 + 60_000_000 - 1), "limit": "1000"},
    )
    assert asked(venue.trades_request(SPOT_BTC, start=None, end=None, limit=1000)) == (
        f"{base}recent-trade", spot | {"limit": "60"},
    )  # fmt: skip
    assert asked(venue.trades_request(USDC_BTC, start=1, end=2, limit=5000)) == (
        f"{base}recent-trade", {"category": "linear", "symbol": "BTCPERP", "limit": "1000"},
    )  # fmt: skip
    assert Bybit(IDS, Options(rest_url="http://127.0.0.1:9/")).book_request(SPOT_BTC, 1).url == (
        "http://127.0.0.1:9/v5/market/orderbook?category=spot&symbol=BTCUSDT&limit=4"
    )
    assert venue.latest_trade_request(SPOT_BTC) is None  # type: ignore[func-returns-value]  # ids tell nothing
    assert venue.history.by == "recent"


def reply(rows: Sequence[object], code: int = 0, words: str = "OK") -> bytes:
    return raw({"retCode": code, "retMsg": words, "result": {"category": "spot", "list": rows}, "retExtInfo": {}})


def test_candles_of_a_reply_are_oldest_first_and_closed() -> None:
    """The page's own example, of minutes; the first of it is still open."""
    rows = [
        ["1670608800000", "17071", "17073", "17027", "17055.5", "268611", "15.74462667"],
        ["1670608740000", "17071.5", "17071.5", "17061", "17071", "4177", "0.24469757"],
        ["1670608680000", "17086.5", "17088", "16978", "17071.5", "6356", "0.37288112"],
    ]
    as_of_ns = 1670608800000 * MILLISECOND + MINUTE - 1
    found, bad = adapter().decode_candles(reply(rows), LINEAR, NOW_NS, CandleSource.REST, as_of_ns=as_of_ns)
    assert not bad
    assert [(candle.time_ns // MILLISECOND, candle.open, candle.close, candle.quote_volume) for candle in found] == [
        (1670608680000, "17086.5", "17071.5", "0.37288112"),
        (1670608740000, "17071.5", "17071", "0.24469757"),
    ]
    assert found[1] == Candle(
        LINEAR, 1670608740000 * MILLISECOND, "17071.5", "17071.5", "17061", "17071", "4177", "0.24469757", None, None,
        None, CandleSource.REST, NOW_NS,
    )  # fmt: skip
    every, _ = adapter().decode_candles(reply(rows), LINEAR, NOW_NS, CandleSource.REST, as_of_ns=as_of_ns + 1)
    assert len(every) == 3


A_ROW = {
    "execId": "2100000000007764263", "symbol": "BTCUSDT", "price": "16618.49", "size": "0.00012", "side": "Buy",
    "time": "1672052955758", "isBlockTrade": False, "isRPITrade": True, "seq": "123456",
}  # fmt: skip


def test_trades_of_a_reply_are_oldest_first_and_an_odd_one_costs_itself() -> None:
    earlier = A_ROW | {"execId": "2100000000007764262", "side": "Sell", "time": "1672052955757"}
    odd = [A_ROW | {"price": 16618.49}, A_ROW | {"time": "now"}, A_ROW | {"side": ""}, None]
    found, bad = adapter(SPOT_BTC).decode_trades(reply([A_ROW, *odd, earlier]), SPOT, NOW_NS)
    assert found == [
        Trade(SPOT, 1672052955757 * MILLISECOND, "2100000000007764262", "sell", "16618.49", "0.00012", NOW_NS),
        Trade(SPOT, 1672052955758 * MILLISECOND, "2100000000007764263", "buy", "16618.49", "0.00012", NOW_NS),
    ]
    assert [json.loads(one.payload) for one in reversed(bad)] == odd
    assert all(one.reason.startswith("row of a reply: ") for one in bad)


def test_a_trade_is_the_same_by_stream_and_by_rest() -> None:
    """It has one time and one id, so that writing it twice is harmless."""
    row = SPOT_TRADES["data"][0]
    again = {"execId": row["i"], "price": row["p"], "size": row["v"], "side": row["S"], "time": str(row["T"])}
    (streamed, _) = adapter(SPOT_BTC).decode(raw(SPOT_TRADES), NOW_NS)
    assert adapter(SPOT_BTC).decode_trades(reply([again]), SPOT, NOW_NS) == ([streamed], [])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed reply"),
        (b"[]", "malformed reply"),
        (b"{}", "malformed reply"),
        (b"<html></html>", "malformed reply"),
        (raw({"retCode": 0, "retMsg": "OK", "result": {}}), "malformed reply"),
        (raw({"retCode": 0, "retMsg": "OK", "result": {"list": {}}}), "malformed reply"),
        (raw({"retCode": "0", "retMsg": "OK", "result": {"list": []}}), "malformed reply"),
        (raw({"retCode": 10001, "retMsg": "Not supported symbols", "result": {}}), "refused: 10001: Not supported"),
    ],
)
def test_a_reply_that_is_none(body: bytes, reason: str) -> None:
    venue = adapter()
    for call in (
        lambda: venue.decode_trades(body, LINEAR, NOW_NS),
        lambda: venue.decode_candles(body, LINEAR, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS),
        lambda: venue.decode_book(body, LINEAR, 20, NOW_NS),
    ):
        with pytest.raises(Rejected, match=reason):
            call()


@pytest.mark.parametrize("code", [10000, 10006, 10016, 10018, 429])
def test_a_refusal_that_may_pass(code: int) -> None:
    with pytest.raises(Retryable, match=f"bybit: {code}: Too many visits!"):
        adapter().decode_trades(reply([], code, "Too many visits!"), LINEAR, NOW_NS)


def test_replies_of_a_recording() -> None:
    """They name their kind themselves."""
    venue, base = Bybit(IDS, Options()), "https://api.bybit.com/v5/market"
    (found,) = venue.decode_reply(f"{base}/recent-trade?category=spot&symbol=BTCUSDT", reply([A_ROW]), NOW_NS)
    assert isinstance(found, Trade)
    assert found.instrument_id == SPOT
    events = venue.decode_reply(f"{base}/recent-trade?category=linear&symbol=BTCUSDT", reply([None]), NOW_NS)
    assert list(events) == [
        Reject("bybit", "", "row of a reply: Expected `object`, got `null`", b"null", NOW_NS)
    ]  # fmt: skip
    kline = ["1670608800000", "17071", "17073", "17027", "17055.5", "268611", "15.74462667"]
    (candle,) = venue.decode_reply(f"{base}/kline?symbol=BTCUSDT&interval=1", reply([kline]), NOW_NS)
    assert isinstance(candle, Candle)
    assert candle.instrument_id == LINEAR
    assert list(venue.decode_reply(f"{base}/kline?symbol=BTCUSDT&interval=D", reply([kline]), NOW_NS)) == [
        Ignored("candle: not 1m")
    ]
    book = raw({"retCode": 0, "retMsg": "OK", "result": SNAPSHOT["data"] | {"ts": 1, "cts": 1}})
    (state,) = venue.decode_reply(f"{base}/orderbook?category=linear&symbol=BTCUSDT&limit=2", book, NOW_NS)
    assert state == BookState(LINEAR, 7961638724, A_STATE.bids, A_STATE.asks, 2, NOW_NS)
    assert list(venue.decode_reply(f"{base}/instruments-info?category=spot", b"{}", NOW_NS)) == [
        Ignored("REST instruments-info: not collected")
    ]
    for wrong in ("category=inverse&symbol=BTCUSDT", "category=spot&symbol=ETHUSDT", "", "symbol=BTCUSDT&limit=x"):
        with pytest.raises(Rejected):
            venue.decode_reply(f"{base}/orderbook?{wrong}", book, NOW_NS)


def test_what_rest_can_tell_of_a_quiet_stream() -> None:
    venue = adapter()
    tells = {channel for channel in venue.channels(LINEAR_BTC) if venue.tells_latest(stream(LINEAR_BTC, channel))}
    assert tells == {"quotes"}


def test_calls_in_any_five_seconds_stay_below_what_is_allowed() -> None:
    """600 in 5 s: a sixth of a minute's share at once, and what comes back meanwhile."""
    share = 0.8 * Bybit.limits.weight_per_minute
    assert share / 6 + 5 * share / 60 <= 600 * 0.8


@pytest.mark.parametrize("shape", ["error:handler not found,topic:{}", "Invalid symbol :[{}]"])
def test_a_topic_that_is_refused_is_named_with_all_that_share_it(shape: str) -> None:
    venue = adapter()
    streams = [stream(LINEAR_BTC, channel) for channel in venue.channels(LINEAR_BTC)]
    said = shape.format("tickers.BTCUSDT")
    (found,) = venue.decode(raw({"success": False, "ret_msg": said, "req_id": "2", "op": "subscribe"}), NOW_NS)
    assert found == Ack(2, said)
    topics = venue.refuses.topics(said)
    assert [s.channel for s in streams if venue.topic(s) in topics] == [
        "ticker",
        "funding",
        "open_interest",
        "mark_price",
    ]
    assert venue.refuses.whole
    assert venue.refuses.topics("error:already subscribed,topic:tickers.BTCUSDT") == set()
