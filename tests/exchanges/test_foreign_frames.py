"""Frames that others have recorded: of channels that a venue documents and that are not collected, and answers to them.

Each is understood and ignored for a reason; none is rejected. Payloads are those of the venues' pages, cut short.
"""

import json
from typing import Any

import pytest

from ingest.clock import SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Adapter, Ignored, Options
from ingest.exchanges.binance import Binance
from ingest.exchanges.binanceusdm import BinanceUsdm
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.okx import Okx
from ingest.records import BookDelta, Instrument, Stream

NOW_NS = 1_780_000_000 * SECOND
NOW_MS = NOW_NS // 1_000_000
LEVELS = [["0.0024", "10"]]
NOT_OURS = "answer: to no request of ours"


def adapter(kind: type[Adapter], native: str, *others: str) -> Adapter:
    return kind(dict.fromkeys((native, *others), 1), Options())


def ignored(venue: Adapter, frame: object) -> str:
    """The reason."""
    (event,) = venue.decode(json.dumps(frame, separators=(",", ":")).encode(), NOW_NS)
    assert isinstance(event, Ignored), event
    return event.reason


# Binance: …/web-socket-streams, …/usds-margined-futures/websocket-market-streams


def bare(frame: Any, stream: str) -> Any:
    return frame


def combined(frame: Any, stream: str) -> Any:
    return {"stream": stream, "data": frame}


by_wrap = pytest.mark.parametrize("wrap", [bare, combined])


@by_wrap
@pytest.mark.parametrize(
    ("stream", "frame", "reason"),
    [
        *(
            (f"btcusdt@depth{name}", {"lastUpdateId": 160, "bids": LEVELS, "asks": LEVELS}, "partial depth")
            for name in ("5", "10", "20", "5@100ms")
        ),
        ("btcusdt@depth5", {"lastUpdateId": 160, "bids": [], "asks": []}, "partial depth"),
        ("btcusdt@referencePrice", {"e": "referencePrice", "s": "BTCUSDT", "r": None, "t": NOW_MS}, "referencePrice"),
        ("btcusdt@blockTrade", {"e": "blockTrade", "E": NOW_MS, "s": "BTCUSDT", "t": 582, "p": "1"}, "blockTrade"),
        *(
            (f"btcusdt@ticker_{size}", {"e": f"{size}Ticker", "s": "BTCUSDT", "p": "0.0015"}, f"{size}Ticker")
            for size in ("1h", "4h", "1d")
        ),
        *(
            (f"!{name}@arr", [{"e": event, "s": "BTCUSDT"}, {"e": event, "s": "X"}], f"{event} of all markets")
            for name, event in {
                "miniTicker": "24hrMiniTicker",
                "ticker": "24hrTicker",
                "ticker_1h": "1hTicker",
                "ticker_4h": "4hTicker",
                "ticker_1d": "1dTicker",
            }.items()
        ),
    ],
)
def test_binance(wrap: Any, stream: str, frame: Any, reason: str) -> None:
    assert ignored(adapter(Binance, "BTCUSDT"), wrap(frame, stream)) == f"{reason}: channel not collected"


@by_wrap
@pytest.mark.parametrize(
    ("stream", "frame", "reason"),
    [
        *(
            (f"!{name}@arr", [{"e": event, "s": "BTCUSDT"}], f"{event} of all markets")
            for name, event in {
                "miniTicker": "24hrMiniTicker",
                "ticker": "24hrTicker",
                "markPrice": "markPriceUpdate",
                "assetIndex": "assetIndexUpdate",
            }.items()
        ),
        ("tradingSession", {"e": "EquityUpdate", "E": NOW_MS, "S": "OVERNIGHT"}, "EquityUpdate"),
        ("tradingSession", {"e": "CommodityUpdate", "E": NOW_MS, "S": "REGULAR"}, "CommodityUpdate"),
        ("btcusdt_perpetual@continuousKline_1m", {"e": "continuous_kline", "ps": "BTCUSDT"}, "continuous_kline"),
        ("defiusdt@compositeIndex", {"e": "compositeIndex", "s": "DEFIUSDT"}, "compositeIndex"),
        ("adausd@assetIndex", {"e": "assetIndexUpdate", "s": "ADAUSD"}, "assetIndexUpdate"),
    ],
)
def test_binance_futures(wrap: Any, stream: str, frame: Any, reason: str) -> None:
    assert ignored(adapter(BinanceUsdm, "BTCUSDT"), wrap(frame, stream)) == f"{reason}: channel not collected"


DEPTH = {
    "e": "depthUpdate", "E": NOW_MS, "T": NOW_MS, "s": "BTCUSDT", "U": 157, "u": 160, "pu": 149, "b": LEVELS, "a": [],
}  # fmt: skip


@pytest.mark.parametrize("name", ["depth5", "depth10@100ms", "depth20@500ms", "rpiDepth@500ms"])
def test_what_looks_like_the_changes_of_a_whole_book_of_binance_futures(name: str) -> None:
    """Taken for one, its levels that fell out would stay in the book for ever."""
    venue = adapter(BinanceUsdm, "BTCUSDT")
    reason = "depthUpdate: not the changes of the whole book"
    assert ignored(venue, combined(DEPTH, f"btcusdt@{name}")) == reason
    assert ignored(venue, combined(DEPTH, f"1000shibusdt_260925@{name}")) == reason


@pytest.mark.parametrize("name", ["depth", "depth@100ms", "depth@500ms", "depth@0ms"])
def test_the_changes_of_a_whole_book_of_binance_futures_at_any_pace(name: str) -> None:
    venue = adapter(BinanceUsdm, "BTCUSDT")
    for frame in (combined(DEPTH, f"btcusdt@{name}"), DEPTH):
        (event,) = venue.decode(json.dumps(frame).encode(), NOW_NS)
        assert isinstance(event, BookDelta)


@pytest.mark.parametrize("kind", [Binance, BinanceUsdm])
@by_wrap
@pytest.mark.parametrize(
    "rows", [[], [1], [{}], [{"e": "24hrTicker"}, {"e": "trade"}], [{"e": ["24hrTicker"]}], [[{"e": "24hrTicker"}]]]
)
def test_no_list_is_taken_for_one_of_all_markets(kind: type[Adapter], wrap: Any, rows: Any) -> None:
    with pytest.raises(Rejected, match="not an object"):
        adapter(kind, "BTCUSDT").decode(json.dumps(wrap(rows, "!any@arr")).encode(), NOW_NS)


@pytest.mark.parametrize("kind", [Binance, BinanceUsdm])
def test_answers_to_requests_of_others_at_binance(kind: type[Adapter]) -> None:
    """Ids are "64-bit signed integer; alphanumeric strings; max length 36; null"."""
    for name in ("a1b2", "9" * 36):
        assert ignored(adapter(kind, "BTCUSDT"), {"result": None, "id": name}) == NOT_OURS
        assert ignored(adapter(kind, "BTCUSDT"), {"error": {"code": 2, "msg": "no"}, "id": name}) == NOT_OURS


# Bybit: …/docs/v5/websocket/public


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("orderbook.rpi.BTCUSDT", {"s": "BTCUSDT", "b": [["1", "2", "0"]], "a": [], "u": 2258980, "seq": 79683241099}),
        ("insurance.USDT", [{"coin": "USDT", "symbols": "GRIFFAINUSDT", "balance": "25614.92972633"}]),
        ("insurance.inverse", []),
        ("priceLimit.BTCUSDT", {"symbol": "BTCUSDT", "buyLmt": "114450.00", "sellLmt": "103550.00"}),
        ("adlAlert.USDT", [{"c": "USDT", "s": "FWOGUSDT", "b": -5421.29889888}, {"c": "USDT", "s": "ZORAUSDT"}]),
        ("liquidation.BTCUSDT", {"price": "0.03803", "side": "Buy", "size": "1637", "symbol": "BTCUSDT"}),
        ("kline_lt.5.BTC3SUSDT", [{"start": NOW_MS, "interval": "5", "open": "1"}]),
        ("tickers_lt.BTC3SUSDT", {"symbol": "BTC3SUSDT", "lastPrice": "0.41"}),
        ("lt.BTC3SUSDT", {"symbol": "BTC3SUSDT", "nav": "0.413517419653406162"}),
        ("rfq.open.public.trades", [{"rfqId": "1"}]),
        ("system.status", [{"id": "4d95b2a0", "title": "upgrade"}]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_bybit(topic: str, data: Any, turned: bool) -> None:
    venue = adapter(Bybit, "BTCUSDT", "BTCUSDT:linear")
    venue.recorded("wss://stream.bybit.com/v5/public/linear")
    frame = {"topic": topic, "ts": NOW_MS, "type": "delta", "data": data}
    assert ignored(venue, dict(reversed(frame.items())) if turned else frame) == "topic not collected"


def test_other_depths_of_bybit() -> None:
    venue = adapter(Bybit, "BTCUSDT", "BTCUSDT:linear")
    venue.recorded("wss://stream.bybit.com/v5/public/linear")
    data = {"s": "BTCUSDT", "b": LEVELS, "a": [], "u": 5, "seq": 7}
    for topic in ("orderbook.full.BTCUSDT", "orderbook.200.BTCUSDT", "orderbook.1000.BTCUSDT", "orderbook.500.BTCUSDT"):
        frame = {"topic": topic, "ts": NOW_MS, "type": "delta", "data": data, "cts": NOW_MS}
        assert ignored(venue, frame) == "book: not the depth that is collected"


# OKX: https://www.okx.com/docs-v5/en/


@pytest.mark.parametrize(
    "channel",
    [
        *("books5", "books-l2-tbt", "books50-l2-tbt", "books-elp", "instruments", "price-limit", "opt-summary"),
        *("estimated-price", "mark-price-candle1m", "index-tickers", "index-candle1D", "status", "adl-warning"),
        *("public-struc-block-trades", "public-block-trades", "block-tickers", "option-trades", "economic-calendar"),
        *("sprd-bbo-tbt", "sprd-books5", "sprd-books-l2-tbt", "sprd-public-trades", "sprd-tickers", "sprd-candle1m"),
        *("call-auction-details", "event-contract-markets"),
    ],
)
def test_okx(channel: str) -> None:
    frame = {"arg": {"channel": channel, "instId": "BTC-USDT"}, "action": "snapshot", "data": [{"instId": "BTC-USDT"}]}
    assert ignored(adapter(Okx, "BTC-USDT"), frame) == "channel not collected"


@pytest.mark.parametrize("name", ["mine", "a1", "9" * 32])
def test_answers_to_requests_of_others_at_okx(name: str) -> None:
    """Ids are "a combination of case-sensitive alphanumerics", of up to 32."""
    argument = {"channel": "books", "instId": "BTC-USDT"}
    assert ignored(adapter(Okx, "BTC-USDT"), {"id": name, "event": "subscribe", "arg": argument}) == NOT_OURS
    refusal = {"id": name, "event": "error", "code": "60012", "msg": "Invalid request"}
    assert ignored(adapter(Okx, "BTC-USDT"), refusal) == NOT_OURS


# Kraken: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_kraken(kind: str) -> None:
    order = {"order_id": "O6ZQNQ-BXL4E-5WGINO", "limit_price": 0.55, "order_qty": 100.0}
    data = [{"symbol": "BTC/USD", "checksum": 1, "bids": [order], "asks": []}]
    assert ignored(adapter(Kraken, "BTC/USD"), {"channel": "level3", "type": kind, "data": data}).startswith("level3: ")


# Coinbase: …/websocket/websocket-channels


@pytest.mark.parametrize("channel", ["candles", "status", "ticker_batch", "futures_balance_summary", "user"])
def test_coinbase(channel: str) -> None:
    frame = {"channel": channel, "client_id": "", "timestamp": "", "sequence_num": 0, "events": [{"type": "snapshot"}]}
    venue = adapter(Coinbase, "BTC-USD")
    assert ignored(venue, frame) == f"{channel}: channel not collected"


def test_what_is_subscribed_is_still_held_to_its_form() -> None:
    """Names of other channels do not let a bad frame of ours pass."""
    swap = Instrument("bybit", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT")
    venue = adapter(Bybit, "BTCUSDT:linear")
    venue.url([Stream(1, swap, "trades")])
    frame = {"topic": "publicTrade.BTCUSDT", "ts": NOW_MS, "type": "snapshot", "data": [{"topic": "lt.BTC3SUSDT"}]}
    with pytest.raises(Rejected, match="malformed frame"):
        venue.decode(json.dumps(frame).encode(), NOW_NS)
