"""Binance USDⓈ-M futures' frames and replies as its documentation prints them, and what no venue should send.

The frames are those of https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and the pages below it, the replies those of …/usds-margined-futures/market-data/rest-api.
"""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, MINUTE
from ingest.collect.book import Book, Need
from ingest.errors import Rejected
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Ack, Bad, Event, Ignored, Options, Shutdown
from ingest.exchanges.binanceusdm import BinanceUsdm
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

BTC, BNB, HAN = 7, 8, 9
IDS = {"BTCUSDT": BTC, "BNBUSDT": BNB, "龙虾USDT": HAN}
EVENT_MS = 1_672_515_782_136
OPEN_MS = 1_672_515_780_000
FUNDING_MS = 1_672_531_200_000
NOW_NS = (EVENT_MS + 5) * MILLISECOND
EVENT_NS = EVENT_MS * MILLISECOND
SAMPLES = "binance/futures/market_data_json/"

AGG_TRADE: dict[str, Any] = {
    "e": "aggTrade", "E": EVENT_MS + 3, "s": "BTCUSDT", "a": 5933014, "p": "0.001", "q": "100", "nq": "90", "f": 100,
    "l": 105, "T": EVENT_MS, "m": True, "st": 1,
}  # fmt: skip
DEPTH: dict[str, Any] = {
    "e": "depthUpdate", "E": EVENT_MS + 3, "T": EVENT_MS, "s": "BTCUSDT", "ps": "BTCUSDT", "st": 1, "U": 157, "u": 160,
    "pu": 149, "b": [["0.0024", "10"]], "a": [["0.0026", "100"]],
}  # fmt: skip
BOOK_TICKER: dict[str, Any] = {
    "e": "bookTicker", "u": 400900217, "E": EVENT_MS + 3, "T": EVENT_MS, "s": "BNBUSDT", "b": "25.35190000",
    "B": "31.21000000", "a": "25.36520000", "A": "40.66000000", "st": 1, "ps": "BNBUSDT",
}  # fmt: skip
KLINE: dict[str, Any] = {
    "e": "kline", "E": EVENT_MS, "s": "BTCUSDT",
    "k": {
        "t": OPEN_MS, "T": OPEN_MS + 59_999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0010", "v": "1000", "n": 100, "x": True, "q": "1.0000", "V": "500",
        "Q": "0.500", "B": "123456",
    },
}  # fmt: skip
TICKER: dict[str, Any] = {
    "e": "24hrTicker", "E": EVENT_MS, "s": "BTCUSDT", "p": "0.0015", "P": "250.00", "w": "0.0018", "c": "0.0025",
    "Q": "10", "o": "0.0010", "h": "0.0026", "l": "0.0009", "v": "10000", "q": "18", "O": 0, "C": EVENT_MS, "F": 0,
    "L": 18150, "n": 18151,
}  # fmt: skip
MARK_PRICE: dict[str, Any] = {
    "e": "markPriceUpdate", "E": EVENT_MS, "s": "BTCUSDT", "p": "11794.15000000", "ap": "11794.20000000",
    "i": "11784.62659091", "P": "11784.25641265", "r": "0.00038167", "T": FUNDING_MS, "st": 1,
}  # fmt: skip
FORCE_ORDER: dict[str, Any] = {
    "e": "forceOrder", "E": EVENT_MS + 3,
    "o": {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910", "ap": "9912", "X": "FILLED",
        "l": "0.010", "z": "0.013", "T": EVENT_MS,
    },
}  # fmt: skip
OPEN_INTEREST: dict[str, Any] = {"openInterest": "10659.509", "symbol": "BTCUSDT", "time": EVENT_MS}
AGG_ROW: dict[str, Any] = {
    "a": 26129, "p": "0.01633102", "q": "4.70443515", "nq": "4.7", "f": 27781, "l": 27781, "T": EVENT_MS, "m": True,
}  # fmt: skip
KLINE_ROW: list[Any] = [
    OPEN_MS, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815", OPEN_MS + 59_999,
    "2434.19055334", 308, "1756.87402397", "28.46694368", "17928899.62484339",
]  # fmt: skip

A_TRADE = Trade(BTC, EVENT_NS, "5933014", "sell", "0.001", "100", NOW_NS)
A_DELTA = BookDelta(BTC, 157, 160, 149, [("0.0024", "10")], [("0.0026", "100")], EVENT_NS, NOW_NS)
A_QUOTE = Quote(BNB, EVENT_NS, 400900217, "25.35190000", "31.21000000", "25.36520000", "40.66000000", NOW_NS)
A_CANDLE = Candle(
    BTC, OPEN_MS * MILLISECOND, "0.0010", "0.0025", "0.0010", "0.0020", "1000", "1.0000", 100, "500", "0.500",
    CandleSource.STREAM, NOW_NS,
)  # fmt: skip
A_TICKER = Ticker(BTC, EVENT_NS, "0.0025", None, None, None, None, "0.0010", "0.0026", "0.0009", "10000", "18", NOW_NS)
A_MARK_PRICE = MarkPrice(BTC, EVENT_NS, "11794.15000000", "11784.62659091", NOW_NS)
A_FUNDING = Funding(BTC, EVENT_NS, "0.00038167", FUNDING_MS * MILLISECOND, NOW_NS)
A_LIQUIDATION = Liquidation(BTC, EVENT_NS, "sell", "9910", "0.013", NOW_NS)


def adapter(**options: Any) -> BinanceUsdm:
    return BinanceUsdm(IDS, Options(**options))


def combined(data: object, stream: str = "btcusdt@any") -> bytes:
    return json.dumps({"stream": stream, "data": data}, ensure_ascii=False).encode()


def raw(data: object) -> bytes:
    return json.dumps(data).encode()


def instrument(native: str) -> Instrument:
    base = native.removesuffix("USDT")
    return Instrument("binanceusdm", f"{base}/USDT:USDT", native, "swap", base, "USDT", "USDT")


def stream(native: str, channel: Channel) -> Stream:
    return Stream(IDS.get(native, 99), instrument(native), channel)


def altered(frame: dict[str, Any], path: Sequence[str | int], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(frame)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def refused(frame: bytes, received_ns: int = NOW_NS) -> str:
    """The reason of the refusal."""
    with pytest.raises(Rejected) as caught:
        adapter().decode(frame, received_ns)
    return str(caught.value)


# What the documentation prints


@pytest.mark.parametrize("wrap", [combined, raw])
@pytest.mark.parametrize(
    ("frame", "events"),
    [
        (AGG_TRADE, [A_TRADE]),
        (DEPTH, [A_DELTA]),
        (BOOK_TICKER, [A_QUOTE]),
        (KLINE, [A_CANDLE]),
        (TICKER, [A_TICKER]),
        (MARK_PRICE, [A_MARK_PRICE, A_FUNDING]),
        (FORCE_ORDER, [A_LIQUIDATION]),
        ({"e": "serverShutdown", "E": EVENT_MS}, [Shutdown()]),
        (
            {"e": "trade", "E": EVENT_MS, "s": "BTCUSDT", "t": 1, "p": "1", "q": "1", "X": "INSURANCE_FUND"},
            [Ignored("trade: not documented, and mixed with fills of the insurance fund")],
        ),
        ({"e": "24hrMiniTicker", "s": "BTCUSDT"}, [Ignored("24hrMiniTicker: channel not collected")]),
        ({"e": "contractInfo", "s": "BTCUSDT"}, [Ignored("contractInfo: channel not collected")]),
    ],
)
def test_frames(wrap: Any, frame: dict[str, Any], events: list[Event]) -> None:
    assert list(adapter().decode(wrap(frame), NOW_NS)) == events


def test_samples() -> None:
    """Of the frames that the documentation dates 1970, and so are refused, the time is set to one that can be."""
    late_ns = 1_800_000_000_000 * MILLISECOND
    minute_ns = 1_638_747_660_000 * MILLISECOND
    dated_ns, liquidated_ns = 1_672_515_782_136 * MILLISECOND, 1_568_014_460_893 * MILLISECOND
    found = {name: json.loads(sample(f"{SAMPLES}{name}_stream.json")) for name in ("agg_trade", "depth_update")}
    for frame in found.values():
        assert refused(raw(frame), late_ns).startswith("absurd time: 12345678")
        frame["T"] = EVENT_MS
    closed = json.loads(sample(f"{SAMPLES}kline_stream_closed.json"))
    mark_ns, paid_ns = 1_562_305_380_000 * MILLISECOND, 1_562_306_400_000 * MILLISECOND
    for data, events in (
        (found["agg_trade"], [Trade(BTC, EVENT_NS, "5933014", "sell", "0.001", "100", late_ns)]),
        (
            found["depth_update"],
            [BookDelta(BTC, 157, 160, 149, [("0.0024", "10")], [("0.0026", "100")], EVENT_NS, late_ns)],
        ),
        (
            _sample("book_ticker"),
            [
                Quote(
                    BNB, 1_568_014_460_891 * MILLISECOND, 400900217, "25.35190000", "31.21000000", "25.36520000",
                    "40.66000000", late_ns,
                )
            ],
        ),
        (
            closed,
            [
                Candle(
                    BTC, minute_ns, "0.0010", "0.0025", "0.0010", "0.0020", "1000", "1.0000", 100, "500", "0.500",
                    CandleSource.STREAM, late_ns,
                )
            ],
        ),
        (json.loads(sample(f"{SAMPLES}kline_stream_open.json")), [Ignored("candle: still open")]),
        (
            _sample("mark_price"),
            [
                MarkPrice(BTC, mark_ns, "11794.15000000", "11784.62659091", late_ns),
                Funding(BTC, mark_ns, "0.00038167", paid_ns, late_ns),
            ],
        ),
        (_sample("liquidation"), [Liquidation(BTC, liquidated_ns, "sell", "9910.00000000", "0.014", late_ns)]),
        (
            _sample("ticker"),
            [
                Ticker(
                    BTC, dated_ns, "16584.60000000", None, None, None, None, "16716.00000000", "16764.89000000",
                    "16456.51000000", "122474.816", "2036102085.69746400", late_ns,
                )
            ],
        ),
        (_sample("trade"), [Ignored("trade: not documented, and mixed with fills of the insurance fund")]),
    ):  # fmt: skip
        for wire in (raw(data), combined(data)):
            assert list(adapter().decode(wire, late_ns)) == events


def _sample(name: str) -> Any:
    return json.loads(sample(f"{SAMPLES}{name}_stream.json"))


def test_the_taker_bought_when_the_buyer_was_no_maker() -> None:
    (trade,) = adapter().decode(combined(AGG_TRADE | {"m": False}), NOW_NS)
    assert trade == Trade(BTC, EVENT_NS, "5933014", "buy", "0.001", "100", NOW_NS)


def test_digits_are_kept_as_sent() -> None:
    amount = "123456789012345678.123456789012345678"
    (trade,) = adapter().decode(combined(AGG_TRADE | {"p": "00.10000000", "q": amount}), NOW_NS)
    assert trade == Trade(BTC, EVENT_NS, "5933014", "sell", "00.10000000", amount, NOW_NS)
    mark, funding = adapter().decode(combined(MARK_PRICE | {"p": "1." + "0" * 30, "r": "-0.0000100"}), NOW_NS)
    assert mark == MarkPrice(BTC, EVENT_NS, "1." + "0" * 30, "11784.62659091", NOW_NS)
    assert funding == Funding(BTC, EVENT_NS, "-0.0000100", FUNDING_MS * MILLISECOND, NOW_NS)


def test_an_open_candle_is_ignored_or_marked_as_open_and_other_intervals_are_ignored() -> None:
    frame = combined(altered(KLINE, ["k", "x"], value=False))
    assert list(adapter().decode(frame, NOW_NS)) == [Ignored("candle: still open")]
    (candle,) = adapter(include_open_candles=True).decode(frame, NOW_NS)
    assert isinstance(candle, Candle)
    assert candle.source is CandleSource.OPEN
    assert list(adapter().decode(combined(altered(KLINE, ["k", "i"], "5m")), NOW_NS)) == [Ignored("candle: not 1m")]


def test_a_minute_without_trades_is_a_candle() -> None:
    still = {"o": "1", "c": "1", "h": "1", "l": "1", "v": "0", "n": 0, "q": "0", "V": "0", "Q": "0"}
    (candle,) = adapter().decode(combined(KLINE | {"k": KLINE["k"] | still}), NOW_NS)
    assert candle == Candle(
        BTC, OPEN_MS * MILLISECOND, "1", "1", "1", "1", "0", "0", 0, "0", "0", CandleSource.STREAM, NOW_NS
    )


@pytest.mark.parametrize("side", ["b", "a"])
def test_a_quote_of_an_empty_side_is_ignored(side: str) -> None:
    frame = combined(BOOK_TICKER | {side: "0.00", side.upper(): "0.000"})
    assert list(adapter().decode(frame, NOW_NS)) == [Ignored("quote: a side of the book is empty")]


@pytest.mark.parametrize("index", ["", "0", "0.00000000"])
def test_a_mark_price_without_an_index(index: str) -> None:
    (mark, _) = adapter().decode(combined(MARK_PRICE | {"i": index}), NOW_NS)
    assert mark == MarkPrice(BTC, EVENT_NS, "11794.15000000", None, NOW_NS)


def test_funding_without_a_time_or_none_at_all() -> None:
    (_, funding) = adapter().decode(combined(MARK_PRICE | {"T": 0}), NOW_NS)
    assert funding == Funding(BTC, EVENT_NS, "0.00038167", None, NOW_NS)
    assert list(adapter().decode(combined(MARK_PRICE | {"r": "", "T": 0}), NOW_NS)) == [A_MARK_PRICE]


@pytest.mark.parametrize(
    ("channels", "events"),
    [
        (["mark_price"], [A_MARK_PRICE]),
        (["funding"], [A_FUNDING]),
        (["funding", "mark_price"], [A_MARK_PRICE, A_FUNDING]),
        (["trades"], [Ignored("markPriceUpdate: nothing in it is subscribed")]),
    ],
)
def test_of_a_mark_price_only_what_is_subscribed(channels: list[Channel], events: list[Event]) -> None:
    at = adapter()
    at.subscribe([*(stream("BTCUSDT", channel) for channel in channels), stream("BNBUSDT", "mark_price")], 1)
    assert list(at.decode(combined(MARK_PRICE), NOW_NS)) == events


def test_a_delivered_contract_of_which_funding_is_subscribed() -> None:
    at = adapter()
    at.subscribe([stream("BTCUSDT", "funding")], 1)
    frame = combined(MARK_PRICE | {"r": "", "T": 0})
    assert list(at.decode(frame, NOW_NS)) == [Ignored("markPriceUpdate: nothing in it is subscribed")]


def test_liquidations_of_both_sides_and_one_that_got_nothing() -> None:
    (forced,) = adapter().decode(combined(altered(FORCE_ORDER, ["o", "S"], "BUY")), NOW_NS)
    assert forced == Liquidation(BTC, EVENT_NS, "buy", "9910", "0.013", NOW_NS)
    unfilled = combined(altered(FORCE_ORDER, ["o", "z"], "0.000"))
    assert list(adapter().decode(unfilled, NOW_NS)) == [Ignored("liquidation: nothing is filled yet")]


@pytest.mark.parametrize(
    ("frame", "ack"),
    [
        ({"result": None, "id": 1}, Ack(1)),
        ({"result": None, "id": 312}, Ack(312)),
        ({"result": ["btcusdt@aggTrade"], "id": 3}, Ack(3)),
        ({"code": 0, "msg": "Unknown property", "id": 5}, Ack(5, "0: Unknown property")),
        ({"code": 2, "msg": "Invalid request"}, Ack(0, "2: Invalid request")),
        ({"error": {"code": 3, "msg": "Invalid JSON"}, "id": None}, Ack(0, "3: Invalid JSON")),
        ({"error": {"code": 2, "msg": "Invalid request: too many"}, "id": 9}, Ack(9, "2: Invalid request: too many")),
    ],
)
def test_answers_to_a_request(frame: dict[str, Any], ack: Ack) -> None:
    assert list(adapter().decode(raw(frame), NOW_NS)) == [ack]


# What cannot be

_NO_DECIMALS = ["-1", "1_0", " 1", "1e5", "1E-5", "+1", "١", "NaN", "Infinity", "", ".", "1.2.3", "1\n", "9" * 400]


@pytest.mark.parametrize("text", [*_NO_DECIMALS, "0", "0.000"])
@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (AGG_TRADE, ["p"]),
        (AGG_TRADE, ["q"]),
        (KLINE, ["k", "o"]),
        (KLINE, ["k", "l"]),
        (MARK_PRICE, ["p"]),
        (FORCE_ORDER, ["o", "p"]),
    ],
)
def test_what_is_no_plain_positive_decimal(frame: dict[str, Any], path: list[str], text: str) -> None:
    refused(combined(altered(frame, path, text)))


@pytest.mark.parametrize("text", _NO_DECIMALS)
@pytest.mark.parametrize(
    ("frame", "path"),
    [
        *((BOOK_TICKER, [field]) for field in "bBaA"),
        *((TICKER, [field]) for field in "cohlvq"),
        *((KLINE, ["k", field]) for field in "vqVQ"),
        (FORCE_ORDER, ["o", "z"]),
    ],
)
def test_what_is_no_plain_decimal(frame: dict[str, Any], path: list[str], text: str) -> None:
    reason = refused(combined(altered(frame, path, text)))
    assert reason.partition(":")[0] in ("bookTicker", "24hrTicker", "candle", "forceOrder")


@pytest.mark.parametrize("text", [text for text in _NO_DECIMALS if text])
def test_an_index_that_is_no_decimal(text: str) -> None:
    assert refused(combined(MARK_PRICE | {"i": text})).startswith("markPriceUpdate: mark ")


@pytest.mark.parametrize("text", ["--1", "1e-5", "-1e-5", "-", "+0.1", "−1", "- 1", "NaN", "-inf", "0.0.1", "9" * 400])
def test_a_rate_that_is_no_decimal(text: str) -> None:
    assert refused(combined(MARK_PRICE | {"r": text})).startswith("markPriceUpdate: rate ")


@pytest.mark.parametrize("value", [1, 0.001, None, True, [], {}, ["0.001"]])
@pytest.mark.parametrize(
    ("frame", "path"),
    [
        *((AGG_TRADE, [field]) for field in "pqs"),
        *((BOOK_TICKER, [field]) for field in "bBaAs"),
        *((MARK_PRICE, [field]) for field in "pirs"),
        *((FORCE_ORDER, ["o", field]) for field in "pzsS"),
        *((TICKER, [field]) for field in "cohlvqs"),
        (DEPTH, ["b", 0, 0]),
        (DEPTH, ["a", 0, 1]),
    ],
)
def test_text_is_text(frame: dict[str, Any], path: list[str | int], value: object) -> None:
    assert refused(combined(altered(frame, path, value))).startswith("malformed frame: ")


@pytest.mark.parametrize("value", ["1", 1.5, 1672515782136.0, True, None, [1], {}, "１"])
@pytest.mark.parametrize(
    ("frame", "path"),
    [
        *((AGG_TRADE, [field]) for field in "aT"),
        *((DEPTH, [field]) for field in ("U", "u", "pu", "T")),
        *((BOOK_TICKER, [field]) for field in "uT"),
        *((MARK_PRICE, [field]) for field in "ET"),
        (TICKER, ["E"]),
        (FORCE_ORDER, ["o", "T"]),
        (KLINE, ["k", "t"]),
    ],
)
def test_integers_are_integers(frame: dict[str, Any], path: list[str], value: object) -> None:
    assert refused(combined(altered(frame, path, value))).startswith("malformed frame: ")


@pytest.mark.parametrize(
    ("frame", "field"),
    [(AGG_TRADE, "a"), (DEPTH, "U"), (DEPTH, "u"), (BOOK_TICKER, "u")],
)
@pytest.mark.parametrize("value", [-1, 2**63, 10**30])
def test_ids_fit_the_database(frame: dict[str, Any], field: str, value: int) -> None:
    assert refused(combined(frame | {field: value})).startswith("malformed frame: ")


@pytest.mark.parametrize("ids", [{"U": 161}, {"pu": 161}, {"u": 156}, {"u": 148, "U": 147}])
def test_ids_of_a_delta_that_cannot_be(ids: dict[str, int]) -> None:
    assert refused(combined(DEPTH | ids)).startswith("depthUpdate: ids U=")


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (AGG_TRADE, ["T"]),
        (DEPTH, ["T"]),
        (BOOK_TICKER, ["T"]),
        (TICKER, ["E"]),
        (MARK_PRICE, ["E"]),
        (FORCE_ORDER, ["o", "T"]),
        (KLINE, ["k", "t"]),
    ],
)
@pytest.mark.parametrize("time", [-1, 0, 123456789, EVENT_MS + 86_400_001 + 5, 2**63, -(2**63)])
def test_absurd_times(frame: dict[str, Any], path: list[str], time: int) -> None:
    assert refused(combined(altered(frame, path, time))).startswith("absurd time: ")


@pytest.mark.parametrize("time", [-1, 1, EVENT_MS + 40 * 86_400_000])
def test_an_absurd_time_of_funding(time: int) -> None:
    assert refused(combined(MARK_PRICE | {"T": time})).startswith("absurd time: ")


def test_a_candle_of_no_minute() -> None:
    reason = refused(combined(altered(KLINE, ["k", "t"], OPEN_MS + 1)))
    assert reason == f"candle: {OPEN_MS + 1} is not the start of a minute"


@pytest.mark.parametrize("frame", [AGG_TRADE, DEPTH, BOOK_TICKER, KLINE, TICKER, MARK_PRICE])
@pytest.mark.parametrize("symbol", ["ETHUSDT", "btcusdt", "", "BTCUSDT "])
def test_an_unknown_symbol_is_named(frame: dict[str, Any], symbol: str) -> None:
    assert refused(combined(frame | {"s": symbol})) == f"unknown symbol: {symbol!r}"
    assert refused(combined(altered(FORCE_ORDER, ["o", "s"], symbol))) == f"unknown symbol: {symbol!r}"


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        *((AGG_TRADE, [field]) for field in ("s", "a", "p", "q", "T", "m")),
        *((DEPTH, [field]) for field in ("T", "s", "U", "u", "pu", "b", "a")),
        *((BOOK_TICKER, [field]) for field in ("u", "T", "s", "b", "B", "a", "A")),
        *((MARK_PRICE, [field]) for field in ("E", "s", "p", "i", "r", "T")),
        *((FORCE_ORDER, ["o", field]) for field in ("s", "S", "p", "z", "T")),
        *((TICKER, [field]) for field in ("E", "s", "c", "o", "h", "l", "v", "q")),
        (FORCE_ORDER, ["o"]),
        (KLINE, ["k"]),
    ],
)
def test_a_missing_field_is_named(frame: dict[str, Any], path: list[str]) -> None:
    less = copy.deepcopy(frame)
    place = less if len(path) == 1 else less[path[0]]
    del place[path[-1]]
    for wrap in (combined, raw):
        assert f"`{path[-1]}`" in refused(wrap(less))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "malformed frame: "),
        (b"pong", "malformed frame: "),
        (b"\xff\xfe", "malformed frame: "),
        (b"[]", "the frame is not an object"),
        (b"1", "the frame is not an object"),
        (b'{"stream":"btcusdt@aggTrade","data":[]}', "the frame is not an object"),
        (b"{}", "unknown event: 'None'"),
        (b'{"e":"ACCOUNT_UPDATE"}', "unknown event: 'ACCOUNT_UPDATE'"),
        (b'{"id":1}', "unknown event: 'None'"),
        (b'{"error":{},"id":1}', "malformed frame: an answer that says nothing"),
        (b'{"e":"aggTrade","a":' + b"[" * 100_000, "malformed frame: "),
    ],
)
def test_not_a_frame_at_all(frame: bytes, reason: str) -> None:
    assert refused(frame).startswith(reason)


@pytest.mark.parametrize("wrap", [combined, raw])
@pytest.mark.parametrize("frame", [AGG_TRADE, DEPTH, BOOK_TICKER, KLINE, TICKER, MARK_PRICE, FORCE_ORDER])
def test_truncated_anywhere(wrap: Any, frame: dict[str, Any]) -> None:
    wire = wrap(frame)
    for end in range(len(wire)):
        refused(wire[:end])


_FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(_NO_DECIMALS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@_FUZZ
@given(
    frame=st.sampled_from([AGG_TRADE, DEPTH, BOOK_TICKER, KLINE, TICKER, MARK_PRICE, FORCE_ORDER]),
    field=st.integers(0, 30),
    value=_JSON,
)
@example(frame=FORCE_ORDER, field=2, value={"s": [], "S": "SELL"})
def test_fuzz(frame: dict[str, Any], field: int, value: object) -> None:
    """Whatever stands in a field, a frame is decoded, ignored or refused, and whose it is can be asked."""
    mutated = copy.deepcopy(frame)
    objects = [mutated, *(value for value in mutated.values() if isinstance(value, dict))]
    place = objects[field % len(objects)]
    place[list(place)[field % len(place)]] = value
    wire = combined(mutated, "btcusdt@markPrice@1s")
    assert adapter().stream_of(wire) == (BTC, "mark_price")
    try:
        adapter().decode(wire, NOW_NS)
    except Rejected as error:
        assert str(error)  # noqa: PT017 - nothing else may be raised


# Connecting and subscribing


def test_the_two_addresses() -> None:
    at = adapter()
    groups = {channel: at.group(stream("BTCUSDT", channel)) for channel in at.channels(instrument("BTCUSDT"))}
    assert groups == {
        "book": "public",
        "quotes": "public",
        **dict.fromkeys(
            ("trades", "candles", "ticker", "mark_price", "funding", "liquidations", "open_interest"), "market"
        ),
    }
    market = [stream("BTCUSDT", "trades"), stream("BNBUSDT", "funding")]
    assert at.url(market) == "wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade"
    assert at.url(market[1:]) == "wss://fstream.binance.com/market/stream?streams=bnbusdt@markPrice@1s"
    assert (
        adapter(ws_url="ws://127.0.0.1:9/").url([stream("BTCUSDT", "book")])
        == "ws://127.0.0.1:9/public/stream?streams=btcusdt@depth@100ms"
    )
    assert at.url([stream("龙虾USDT", "quotes")]).endswith("/public/stream?streams=%E9%BE%99%E8%99%BEusdt@bookTicker")


def test_subscribe_names_every_topic_once() -> None:
    channels: list[Channel] = ["funding", "trades", "candles", "mark_price", "ticker", "liquidations"]
    streams = [stream("BTCUSDT", channel) for channel in channels]
    (subscription,) = adapter().subscribe(streams, 7)
    assert subscription.request_id == 7
    assert set(subscription.streams) == set(streams)
    assert len(subscription.streams) == len(streams)
    topics = ["markPrice@1s", "aggTrade", "kline_1m", "ticker", "forceOrder"]
    assert json.loads(subscription.frame) == {
        "method": "SUBSCRIBE",
        "params": [f"btcusdt@{topic}" for topic in topics],
        "id": 7,
    }
    (public,) = adapter().subscribe([stream("龙虾USDT", "book"), stream("BTCUSDT", "quotes")], 1)
    assert json.loads(public.frame)["params"] == ["龙虾usdt@depth@100ms", "btcusdt@bookTicker"]


def test_subscribe_in_parts_within_the_limits() -> None:
    streams = [stream(f"C{number:05}", channel) for number in range(512) for channel in ("funding", "mark_price")]
    assert len(streams) == BinanceUsdm.limits.streams_per_connection
    subscriptions = adapter().subscribe(streams, 11)
    assert [subscription.request_id for subscription in subscriptions] == [11, 12, 13]
    assert [s for subscription in subscriptions for s in subscription.streams] == streams
    topics = [topic for subscription in subscriptions for topic in json.loads(subscription.frame)["params"]]
    assert topics == [f"c{number:05}@markPrice@1s" for number in range(512)]
    assert all(len(json.loads(subscription.frame)["params"]) <= 200 for subscription in subscriptions)


def test_what_is_promised_and_offered() -> None:
    at = adapter()
    assert ADAPTERS["binanceusdm"] is BinanceUsdm
    assert (at.exchange, at.kinds) == ("binanceusdm", ("swap",))
    assert set(at.promises) == set(at.channels(instrument("BTCUSDT")))
    assert {channel for channel, promise in at.promises.items() if promise != "none"} == {"trades", "candles", "book"}
    assert at.polled(instrument("BTCUSDT")) == {"open_interest": 60.0}
    assert at.id_space("trades") == adapter(trade_stream="trade").id_space("trades") == "aggTrade"
    assert (at.limits.weight_per_minute, at.limits.messages_per_second) == (2400, 10)
    assert at.ping is None  # the venue pings
    assert at.key(instrument("BTCUSDT")) == "BTCUSDT"


# Whose frame it was

TOPICS: dict[str, Channel] = {
    "aggTrade": "trades", "kline_1m": "candles", "depth@100ms": "book", "bookTicker": "quotes", "ticker": "ticker",
    "markPrice@1s": "mark_price", "forceOrder": "liquidations",
}  # fmt: skip


@pytest.mark.parametrize("topic", TOPICS)
def test_a_frame_names_its_stream_also_when_the_rest_is_cut_off(topic: str) -> None:
    frame = combined({"e": "?"}, f"btcusdt@{topic}")
    assert adapter().stream_of(frame) == adapter().stream_of(frame[:45]) == (BTC, TOPICS[topic])
    assert adapter().stream_of(combined({}, f"龙虾usdt@{topic}")) == (HAN, TOPICS[topic])


def test_a_mark_price_where_only_funding_is_subscribed() -> None:
    at = adapter()
    at.subscribe([stream("BTCUSDT", "funding"), stream("BNBUSDT", "mark_price"), stream("BNBUSDT", "funding")], 1)
    assert at.stream_of(combined({}, "btcusdt@markPrice@1s")) == (BTC, "funding")
    assert at.stream_of(combined({}, "bnbusdt@markPrice@1s")) == (BNB, "mark_price")


@pytest.mark.parametrize("name", ["ethusdt@aggTrade", "btcusdt@trade", "btcusdt@depth", "!forceOrder@arr", "x" * 64])
def test_a_frame_that_names_no_stream_of_ours(name: str) -> None:
    assert adapter().stream_of(combined(AGG_TRADE, name)) is None
    assert adapter().stream_of(raw(AGG_TRADE)) is None


# The book


def delta(first: int, last: int, previous: int, bid: tuple[str, str] = ("1", "1")) -> BookDelta:
    return BookDelta(BTC, first, last, previous, [bid], [], EVENT_NS, NOW_NS)


@pytest.mark.parametrize(
    ("first", "last", "previous", "follows"),
    [
        (90, 99, 80, None),  # before the snapshot
        (90, 100, 80, None),  # it has this one's last change too
        (90, 105, 80, True),  # U ≤ lastUpdateId ≤ u
        (100, 105, 95, True),
        (103, 105, 95, True),  # the ids between pu and U are no changes of this book
        (103, 105, 100, True),  # pu is the last u
        (103, 105, 101, False),  # something came between
        (101, 101, 101, False),
    ],
)
def test_follows(first: int, last: int, previous: int, follows: bool | None) -> None:
    """The page's rule, with the book at 100."""
    assert adapter().follows(100, delta(first, last, previous)) is follows


def test_without_the_id_before_nothing_follows() -> None:
    assert adapter().follows(100, BookDelta(BTC, 101, 102, None, [], [], 0, 0)) is False


DEPTH_REPLY: dict[str, Any] = {
    "lastUpdateId": 1_000, "E": EVENT_MS, "T": EVENT_MS - 1, "bids": [["4.00", "431"], ["3.99", "9"]],
    "asks": [["4.02", "12"]],
}  # fmt: skip


def chain(count: int) -> list[dict[str, Any]]:
    """Frames as the venue sends them: ids with holes, `pu` the `u` before; each sets its own bid."""
    frames, last = [], 989
    for number in range(count):
        first = last + 4
        frame = {"U": first, "u": first + 6, "pu": last, "b": [[f"3.{number:02}", f"{number + 1}"]], "a": []}
        frames.append(DEPTH | frame)
        last = first + 6
    return frames


def test_a_book_through_snapshot_and_frames_and_a_dropped_one_is_found_at_the_next() -> None:
    at = adapter()
    frames = chain(12)
    assert (frames[0]["U"], frames[0]["u"]) == (993, 999)  # before the snapshot
    assert frames[1]["pu"] < DEPTH_REPLY["lastUpdateId"] < frames[1]["U"]  # a snapshot between two frames
    for dropped in [None, *range(2, 11)]:
        book = Book(BTC, 20, at.follows, at.books)
        for number, frame in enumerate(frames):
            if number == dropped:
                continue
            (event,) = at.decode(combined(frame), NOW_NS)
            assert isinstance(event, BookDelta)
            need = book.apply(event)
            if number == 0:
                assert need is Need.RESYNC
                assert book.join(at.decode_book(raw(DEPTH_REPLY), BTC, 20, NOW_NS)) is Need.NOTHING
            elif dropped is not None and number > dropped:
                assert (number, book.in_sync) == (dropped + 1, False)
                assert need is Need.RESYNC
                break
            else:
                assert (need, book.in_sync, book.sequence) == (Need.NOTHING, True, frame["u"])
        if dropped is None:
            bids = [("4.00", "431"), ("3.99", "9"), *((f"3.{n:02}", f"{n + 1}") for n in range(11, 0, -1))]
            assert book.top() == (tuple(bids), (("4.02", "12"),))
            assert book.event_ns == EVENT_NS


def test_a_frame_that_comes_twice_changes_nothing() -> None:
    at = adapter()
    book = Book(BTC, 20, at.follows, at.books)
    book.expect()
    book.join(at.decode_book(raw(DEPTH_REPLY), BTC, 20, NOW_NS))
    for frame in [frame for frame in chain(4) for _ in range(2)]:
        (event,) = at.decode(combined(frame), NOW_NS)
        assert isinstance(event, BookDelta)
        assert book.apply(event) is Need.NOTHING
    assert book.in_sync


# REST


def test_requests() -> None:
    at, btc = adapter(), instrument("BTCUSDT")
    start_ns = OPEN_MS * MILLISECOND
    for request, path, weight, parameters in (
        (at.book_request(btc, 20), "depth", 20, {"limit": "1000"}),
        (at.book_request(btc, 5000), "depth", 20, {"limit": "1000"}),
        (at.candles_request(btc, start_ns=None, limit=2), "klines", 1, {"interval": "1m", "limit": "2"}),
        (at.candles_request(btc, start_ns=None, limit=99), "klines", 1, {"interval": "1m", "limit": "99"}),
        (at.candles_request(btc, start_ns=None, limit=100), "klines", 2, {"interval": "1m", "limit": "100"}),
        (at.candles_request(btc, start_ns=None, limit=499), "klines", 2, {"interval": "1m", "limit": "499"}),
        (at.candles_request(btc, start_ns=None, limit=500), "klines", 5, {"interval": "1m", "limit": "500"}),
        (
            at.candles_request(btc, start_ns=start_ns, limit=9999),
            "klines",
            5,
            {"interval": "1m", "limit": "1000", "startTime": str(OPEN_MS)},
        ),
        (at.latest_trade_request(btc), "aggTrades", 20, {"limit": "1"}),
        (
            at.trades_request(btc, start=26129, end=None, limit=500),
            "aggTrades",
            20,
            {"fromId": "26129", "limit": "500"},
        ),
        (at.trades_request(btc, start=None, end=9, limit=5000), "aggTrades", 20, {"fromId": "0", "limit": "1000"}),
        (at.poll_request(stream("BTCUSDT", "open_interest")), "openInterest", 1, {}),
    ):
        parts = urlsplit(request.url)
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "fapi.binance.com", f"/fapi/v1/{path}")
        assert parse_qs(parts.query) == {"symbol": ["BTCUSDT"], **{key: [value] for key, value in parameters.items()}}
        assert (request.weight, request.headers) == (weight, ())
    assert adapter(rest_url="http://h:1/").latest_trade_request(btc).url.startswith("http://h:1/fapi/v1/aggTrades?")
    assert "symbol=%E9%BE%99%E8%99%BEUSDT" in at.latest_trade_request(instrument("龙虾USDT")).url


def test_a_snapshot_has_the_time_of_its_last_change() -> None:
    state = BookState(
        BTC, 1_000, [("4.00", "431"), ("3.99", "9")], [("4.02", "12")], 1000, NOW_NS,
        event_ns=(EVENT_MS - 1) * MILLISECOND,
    )  # fmt: skip
    assert adapter().decode_book(raw(DEPTH_REPLY), BTC, 20, NOW_NS) == state


def test_trades_of_a_reply_are_those_of_the_stream() -> None:
    row = {key: AGG_TRADE[key] for key in ("a", "p", "q", "nq", "f", "l", "T", "m")}
    trades, bad = adapter().decode_trades(raw([row, AGG_ROW]), BTC, NOW_NS)
    assert trades == [A_TRADE, Trade(BTC, EVENT_NS, "26129", "sell", "0.01633102", "4.70443515", NOW_NS)]
    assert bad == []
    odd = AGG_ROW | {"p": "-1"}
    trades, bad = adapter().decode_trades(raw([odd, row]), BTC, NOW_NS)
    assert trades == [A_TRADE]
    assert [(one.reason.partition(":")[0], one.payload) for one in bad] == [("row of a reply", raw(odd))]


def test_the_latest_trade() -> None:
    assert adapter().decode_latest_trade(raw([AGG_ROW])) == 26129
    assert adapter().decode_latest_trade(b"[]") is None


def test_candles_of_a_reply_without_the_open_one() -> None:
    open_row = [OPEN_MS + 60_000, *KLINE_ROW[1:]]
    late_ns = (OPEN_MS + 60_000) * MILLISECOND
    candles, bad = adapter().decode_candles(
        raw([KLINE_ROW, open_row]), BTC, NOW_NS, CandleSource.REST, as_of_ns=late_ns
    )
    assert candles == [
        Candle(
            BTC, OPEN_MS * MILLISECOND, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815",
            "2434.19055334", 308, "1756.87402397", "28.46694368", CandleSource.REST, NOW_NS,
        )
    ]  # fmt: skip
    assert bad == []


def test_open_interest() -> None:
    polled = stream("BTCUSDT", "open_interest")
    expected = OpenInterest(BTC, EVENT_NS, "10659.509", None, NOW_NS)
    assert list(adapter().decode_poll(polled, raw(OPEN_INTEREST), NOW_NS)) == [expected]
    for channel in ("trades", "funding"):
        with pytest.raises(LookupError):
            adapter().poll_request(stream("BTCUSDT", channel))
        with pytest.raises(LookupError):
            adapter().decode_poll(stream("BTCUSDT", channel), b"{}", NOW_NS)


@pytest.mark.parametrize(
    "body",
    [
        *(raw(OPEN_INTEREST | {"openInterest": value}) for value in [*_NO_DECIMALS, 1, None]),
        *(raw(OPEN_INTEREST | {"time": value}) for value in (0, -1, "1", None, EVENT_MS + 90_000_000)),
        *(raw(OPEN_INTEREST | {"symbol": value}) for value in ("BNBUSDT", "", None)),
        b"", b"[]", b"null", b"\xff", b'{"code":-1121,"msg":"Invalid symbol."}',
    ],
)  # fmt: skip
def test_open_interest_that_cannot_be(body: bytes) -> None:
    with pytest.raises(Rejected):
        adapter().decode_poll(stream("BTCUSDT", "open_interest"), body, NOW_NS)


def _readings(body: bytes) -> list[Callable[[], object]]:
    at = adapter()
    return [
        lambda: at.decode_book(body, BTC, 20, NOW_NS),
        lambda: at.decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS),
        lambda: at.decode_trades(body, BTC, NOW_NS),
        lambda: at.decode_latest_trade(body),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"code":-1121,"msg":"Invalid symbol."}', b"<html>", b"\xff", b"null"])
def test_replies_of_a_wrong_shape(body: bytes) -> None:
    for call in _readings(body):
        with pytest.raises(Rejected):
            call()


@pytest.mark.parametrize("row", [b"{}", b"[1]", b"null", b"1", b'"x"', b"[]"])
def test_rows_of_a_wrong_shape_cost_only_themselves(row: bytes) -> None:
    at = adapter()
    candles, bad = at.decode_candles(
        b"[" + row + b"," + raw(KLINE_ROW) + b"]", BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS + MINUTE
    )
    assert (len(candles), [one.payload for one in bad]) == (1, [row])
    trades, bad = at.decode_trades(b"[" + row + b"," + raw(AGG_ROW) + b"]", BTC, NOW_NS)
    assert (len(trades), [one.payload for one in bad]) == (1, [row])
    assert all(isinstance(one, Bad) for one in bad)


def test_replies_are_told_from_their_url() -> None:
    at, base = adapter(), "https://fapi.binance.com/fapi/v1"
    received_ns = (OPEN_MS + 150_000) * MILLISECOND
    (state,) = at.decode_reply(f"{base}/depth?symbol=BTCUSDT&limit=1000", raw(DEPTH_REPLY), NOW_NS)
    assert state == at.decode_book(raw(DEPTH_REPLY), BTC, 20, NOW_NS)
    (state,) = at.decode_reply(f"{base}/depth?symbol=BTCUSDT", raw(DEPTH_REPLY), NOW_NS)
    assert isinstance(state, BookState)
    assert state.limit == 500  # what the page names
    (interest,) = at.decode_reply(f"{base}/openInterest?symbol=BTCUSDT", raw(OPEN_INTEREST), NOW_NS)
    assert interest == OpenInterest(BTC, EVENT_NS, "10659.509", None, NOW_NS)
    (trade,) = at.decode_reply(f"{base}/aggTrades?symbol=BNBUSDT&fromId=1", raw([AGG_ROW]), NOW_NS)
    assert isinstance(trade, Trade)
    assert trade.instrument_id == BNB
    (candle,) = at.decode_reply(f"{base}/klines?symbol=BTCUSDT&interval=1m", raw([KLINE_ROW]), received_ns)
    assert isinstance(candle, Candle)
    odd = [OPEN_MS + 1, *KLINE_ROW[1:]]
    (reject,) = at.decode_reply(f"{base}/klines?symbol=BTCUSDT&interval=1m", raw([odd]), received_ns)
    reason = f"row of a reply: candle: {OPEN_MS + 1} is not the start of a minute"
    assert reject == Reject("binanceusdm", "", reason, raw(odd), received_ns)
    for path in ("exchangeInfo", "historicalTrades", "premiumIndex"):
        assert list(at.decode_reply(f"{base}/{path}?symbol=BTCUSDT", b"", NOW_NS)) == [
            Ignored(f"REST {path}: not collected")
        ]
    with pytest.raises(Rejected, match="unknown symbol: 'ETHUSDT'"):
        at.decode_reply(f"{base}/depth?symbol=ETHUSDT", raw(DEPTH_REPLY), NOW_NS)
