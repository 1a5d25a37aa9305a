"""Kraken's frames and replies as its documentation prints them, and what no venue should send.

The frames are those of https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book and its neighbours, the
replies those of https://docs.kraken.com/api-reference/market-data/get-recent-trades and its neighbours.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.collect.book import Book, Need
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Ignored, Options
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.kraken_wire import checksum
from ingest.exchanges.markets import load_instruments
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
from tests.exchanges.recordings import FOLDER, lines, recording, sample

BTC, ALGO = 7, 8
IDS = {"BTC/USD": BTC, "ALGO/USD": ALGO}
NOW_NS = 1_696_613_760 * SECOND  # 2023-10-06T17:36:00Z
EVENT_NS = 1_696_613_755_440_295 * MICROSECOND  # 2023-10-06T17:35:55.440295Z
OPEN_NS = 1_696_613_700 * SECOND  # 17:35
OPEN = CandleSource.OPEN

LEVELS_OF_THE_GUIDE = """
    45283.5 0.10000000  45283.4 1.54582015  45282.1 0.10000000  45281.0 0.10000000  45280.3 1.54592586
    45279.0 0.07990000  45277.6 0.03310103  45277.5 0.30000000  45277.3 1.54602737  45276.6 0.15445238
    45285.2 0.00100000  45286.4 1.54571953  45286.6 1.54571109  45289.6 1.54560911  45290.2 0.15890660
    45291.8 1.54553491  45294.7 0.04454749  45296.1 0.35380000  45297.5 0.09945542  45299.5 0.18772827
"""
"""Ten bids and ten asks, of the example in the guide to the checksum: it says 3310070434."""

LEVELS_AS_SENT = """
    0.9999 653645.22211  0.9998 21389.49905  0.9997 311181.88799  0.9996 935949.00167  0.9995 5.25262
    0.9993 15819.07585  0.9990 28045.34609  0.9985 35372.52894  0.9900 10.07905  0.9835 240.14072
    1.0000 382506.65119  1.0001 242215.90771  1.0002 357570.43200  1.0003 936797.08901  1.0004 10578.85361
    1.0005 83656.47123  1.0007 15819.07585  1.0010 23655.03579  1.0015 35372.52894  1.0024 5000.00000
"""
"""USDG/USD as the venue sent it on 2026-09-17, with zeros at the end and the checksum 3225719247."""


def adapter(**options: Any) -> Kraken:
    return Kraken(IDS, Options(**options))


def book(bids: str, asks: str, crc: int = 1, kind: str = "update", symbol: str = "BTC/USD", stamp: str = "") -> bytes:
    """Of `price amount price amount …`, the digits as they are."""
    sides = [",".join(f'{{"price":{price},"qty":{amount}}}' for price, amount in pairs(side)) for side in (bids, asks)]
    told = f',"timestamp":"{stamp or "2023-10-06T17:35:55.440295Z"}"' if stamp != "none" else ""
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{sides[0]}],"asks":[{sides[1]}],'
        f'"checksum":{crc}{told}}}]}}'
    ).encode()


def pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def trade(**fields: str) -> bytes:
    """Values as JSON text."""
    told = {
        "symbol": '"BTC/USD"',
        "side": '"sell"',
        "price": "4136.4",
        "qty": "0.23374249",
        "ord_type": '"limit"',
        "trade_id": "4665846",
        "timestamp": '"2023-10-06T17:35:55.440295Z"',
        **fields,
    }
    rows = ",".join(f'"{name}":{value}' for name, value in told.items() if value)
    return f'{{"channel":"trade","type":"update","data":[{{{rows}}}]}}'.encode()


def ohlc(
    minute: int,
    close: str = "0.5627",
    trades: int = 12,
    *,
    kind: str = "update",
    symbol: str = "BTC/USD",
    at: str = "",
    **fields: str,
) -> bytes:
    """Of the minute 17:35 + `minute`; `at` is the time of the frame."""
    return ohlc_frame([ohlc_row(minute, close, trades, symbol, **fields)], kind, at)


def ohlc_row(minute: int, close: str = "0.5627", trades: int = 12, symbol: str = "BTC/USD", **fields: str) -> str:
    begin = f"2023-10-06T17:{35 + minute:02}:00.000000000Z"
    told = {
        "symbol": f'"{symbol}"',
        "open": "0.5624",
        "high": "0.5628",
        "low": "0.5622",
        "close": close,
        "trades": str(trades),
        "volume": "30927.68066226",
        "vwap": "0.5626",
        "interval_begin": f'"{begin}"',
        "interval": "1",
        **fields,
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in told.items() if value) + "}"


def ohlc_frame(rows: Sequence[str], kind: str = "update", at: str = "") -> bytes:
    stamp = f'"timestamp":"{at}",' if at else ""
    return f'{{"channel":"ohlc","type":"{kind}",{stamp}"data":[{",".join(rows)}]}}'.encode()


def a_candle(minute: int, close: str = "0.5627", trades: int = 12, number: int = BTC, **changes: Any) -> Candle:
    values = ("0.5624", "0.5628", "0.5622", close, "30927.68066226", None, trades, None, None)
    candle = Candle(number, OPEN_NS + minute * MINUTE, *values, CandleSource.STREAM, NOW_NS)
    return structs.replace(candle, **changes)


def ticker(**fields: str | None) -> bytes:
    told = {
        "symbol": '"ALGO/USD"',
        "bid": "0.10025",
        "bid_qty": "740.00000000",
        "ask": "0.10036",
        "ask_qty": "1361.44813783",
        "last": "0.10035",
        "volume": "997038.98383185",
        "vwap": "0.10148",
        "low": "0.09979",
        "high": "0.10285",
        "change": "-0.00017",
        "change_pct": "-0.17",
        "timestamp": '"2023-10-06T17:35:55.440295Z"',
        **fields,
    }
    rows = ",".join(f'"{name}":{value}' for name, value in told.items() if value)
    return f'{{"channel":"ticker","type":"update","data":[{{{rows}}}]}}'.encode()


def quoting(**options: Any) -> Kraken:
    at = adapter(**options)
    at.subscribe([stream("ALGO/USD", "quotes")], 1)
    return at


def instrument(name: str = "BTC/USD", native: str = "XXBTZUSD", wsname: str = "XBT/USD") -> Instrument:
    info = json.dumps({"wsname": wsname, "altname": "any"}).encode() if wsname else b"{}"
    base, _, quote = name.partition("/")
    return Instrument("kraken", name, native, "spot", base, quote, info=info)


def stream(name: str, channel: Channel) -> Stream:
    wsname = name.replace("BTC", "XBT")
    return Stream(IDS.get(name, 99), instrument(name, wsname.replace("/", ""), wsname), channel)


def events(frame: bytes, **options: Any) -> list[object]:
    return list(adapter(**options).decode(frame, NOW_NS))


def refused(frame: bytes, at: Kraken | None = None) -> str:
    with pytest.raises(Rejected) as caught:
        (at or adapter()).decode(frame, NOW_NS)
    return str(caught.value)


# Samples


SAMPLES: dict[str, list[object]] = {
    "ws_book_snapshot": [
        BookState(
            BTC, 1,
            [("105944.20", "0.136"), ("105935.40", "0.024"), ("105920.10", "0.052")],
            [("105944.30", "0.136"), ("105946.90", "0.095"), ("105955.80", "0.003")],
            None, NOW_NS, True, EVENT_NS, 2439117997,
        )
    ],
    "ws_book_update": [BookDelta(BTC, 1, 1, None, [("105944.20", "0.250")], [], EVENT_NS, NOW_NS, 2114181697)],
    "ws_ohlc_update": [Ignored("candle: still open")],
    "ws_pong": [Ignored("pong")],
    "ws_subscribe_response": [Ack(1)],
    "ws_ticker_snapshot": [
        Ticker(
            BTC, 1_671_960_659_123_456 * MICROSECOND, "105899.40", "105944.20", "2.5", "105944.30", "3.2", None,
            "106613.10", "104711.00", "163.28908096", None, NOW_NS,
        )
    ],
    "ws_trade_update": [
        Trade(BTC, 1_696_613_755_440 * MILLISECOND, "10218208", "buy", "105944.20", "0.00027625", NOW_NS),
        Trade(BTC, 1_696_613_756_123 * MILLISECOND, "10218209", "sell", "105910.50", "0.00012460", NOW_NS),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    assert events(sample(f"kraken/{name}.json")) == SAMPLES[name]


def test_no_sample_is_left_out() -> None:
    """Those of the futures are of another interface, which is not collected: no frame of it passes as one of ours."""
    if not FOLDER.exists():
        pytest.skip(f"{FOLDER} is not on this machine")
    for path in sorted((FOLDER / "samples" / "kraken").glob("ws_*.json")):
        if path.stem.startswith("ws_futures"):
            assert refused(path.read_bytes()) == "malformed frame: Object missing required field `channel`"
        else:
            assert path.stem in SAMPLES


def test_a_candle_of_the_sample() -> None:
    (candle,) = events(sample("kraken/ws_ohlc_update.json"), include_open_candles=True)
    values = ("106038.2", "106044.3", "106038.1", "106040.1", "30927.68066226", None, 12, None, None)
    assert candle == Candle(BTC, 1_696_436_700 * SECOND, *values, OPEN, NOW_NS)


# Trades


def test_a_trade() -> None:
    """https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade; milliseconds are what REST gives, too."""
    assert events(trade()) == [
        Trade(BTC, 1_696_613_755_440 * MILLISECOND, "4665846", "sell", "4136.4", "0.23374249", NOW_NS)
    ]


@pytest.mark.parametrize(
    ("price", "kept"),
    [
        ("0.00005100", "0.00005100"),
        ("62807.0", "62807.0"),
        ("5", "5"),
        ("1e-8", "0.00000001"),
        ("1.50E-7", "0.000000150"),
        ("2.5e+3", "2500"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0.1000000000000000000000000000000000001", "0.1000000000000000000000000000000000001"),
        ('"0.10"', "0.10"),  # as the guide to the checksum quotes them
    ],
)
def test_digits_are_kept(price: str, kept: str) -> None:
    (found,) = events(trade(price=price))
    assert isinstance(found, Trade)
    assert found.price == kept
    (found,) = events(trade(qty=price))
    assert isinstance(found, Trade)
    assert found.amount == kept
    (delta,) = events(book(f"{price} 5", f"7 {price}"))
    assert isinstance(delta, BookDelta)
    assert (delta.bids, delta.asks) == ([(kept, "5")], [("7", kept)])


@pytest.mark.parametrize(
    "value",
    [
        *("null", "true", "false", "[]", "{}", '["1"]', '{"a":1}', '"abc"', '"NaN"', '"Infinity"', '"1_0"', '" 1"'),
        *('"1\\n"', '"١"', '"+1"', '"."', '"1.2.3"', '""', '"0x10"', "NaN", "Infinity", "-1", "-0.5", "-1e-8", "1e999"),
        *("1e100", "1e-999999999", "9" * 400, "9" * 5000, "01", "1.", ".5", "+1", "0x1", "1_0", '"\\ud800"'),
    ],
)
@pytest.mark.parametrize("field", ["price", "qty"])
def test_a_number_that_is_none(field: str, value: str) -> None:
    reason = refused(trade(**{field: value}))
    assert re.match(r"(malformed frame|not a decimal number|trade): ", reason)
    assert len(reason) < 1000


@pytest.mark.parametrize("value", ["0", "0.0", "0.00000000", "-0", "-0.0", "0e5", '"0"'])
@pytest.mark.parametrize("field", ["price", "qty"])
def test_a_trade_of_nothing(field: str, value: str) -> None:
    refused(trade(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("side", value) for value in ('"b"', '"Buy"', "null", "1", '""')),
        *(("trade_id", value) for value in ("0", "-1", '"1"', "1.5", "1e3", "null", "true", str(2**63))),
        *(("symbol", value) for value in ("1", "null", '["BTC/USD"]')),
    ],
)
def test_a_field_of_another_kind_is_named(field: str, value: str) -> None:
    assert f".{field}`" in refused(trade(**{field: value}))


@pytest.mark.parametrize("field", ["symbol", "side", "price", "qty", "trade_id", "timestamp"])
def test_a_trade_without_a_field(field: str) -> None:
    assert f"`{field}`" in refused(trade(**{field: ""}))


@pytest.mark.parametrize("symbol", ["XBT/USD", "btc/usd", "BTCUSD", "", "BTC/USD ", "XXBTZUSD"])
def test_an_unknown_symbol_is_named(symbol: str) -> None:
    name = f'"{symbol}"'
    for frame in (trade(symbol=name), ticker(symbol=name), ohlc(0, symbol=symbol), book("1 1", "2 1", symbol=symbol)):
        assert refused(frame) == f"unknown symbol: {symbol!r}"


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2023-10-06T17:35:55.440295Z", EVENT_NS),
        ("2023-10-06T17:35:55.440295999Z", EVENT_NS),  # cut, not rounded
        ("2023-10-06T17:35:55Z", EVENT_NS // SECOND * SECOND),
        ("2023-10-06T19:35:55.440295+02:00", EVENT_NS),
        ("2023-10-06T17:35:59.999999999Z", 1_696_613_759_999_999 * MICROSECOND),
    ],
)
def test_times_are_cut(text: str, at_ns: int) -> None:
    (found,) = events(trade(timestamp=f'"{text}"'))
    assert isinstance(found, Trade)
    assert found.time_ns == at_ns // MILLISECOND * MILLISECOND
    (delta,) = events(book("1 1", "", stamp=text))
    assert isinstance(delta, BookDelta)
    assert delta.event_ns == at_ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2023-10-06", "2023-10-06T17:35:55.440295", "2023-13-06T17:35:55Z", "1696613755"),
        *("2008-12-31T23:59:59Z", "2023-10-07T17:36:01Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "x" * 9999),
    ],
)
def test_absurd_times(text: str) -> None:
    for frame in (
        trade(timestamp=f'"{text}"'),
        ohlc(0, interval_begin=f'"{text}"'),
        book("1 1", "", stamp=text or "?"),
    ):
        assert refused(frame).startswith("absurd time: ")
    for value in ("1696613755", "null", "1.5", "[]"):
        assert ".timestamp`" in refused(trade(timestamp=value))


# Books


def test_the_checksum_of_the_guide() -> None:
    levels = pairs(LEVELS_OF_THE_GUIDE)
    assert checksum(tuple(levels[:10]), tuple(levels[10:])) == 3310070434
    assert checksum((), ()) == 0
    assert checksum((("0.05000", "0.00000500"),), ()) == checksum((("5000", "500"),), ())


@pytest.mark.parametrize(
    ("text", "crc"), [(LEVELS_OF_THE_GUIDE, 3310070434), (LEVELS_AS_SENT, 3225719247)], ids=["guide", "sent"]
)
def test_a_snapshot_with_its_checksum(text: str, crc: int) -> None:
    levels = pairs(text)
    bids, asks = (" ".join(f"{price} {amount}" for price, amount in part) for part in (levels[:10], levels[10:]))
    at = adapter()
    (state,) = at.decode(book(bids, asks, crc, "snapshot"), NOW_NS)
    whole = (levels[:10], levels[10:], None, NOW_NS, True, EVENT_NS, crc)
    assert state == BookState(BTC, 1, *whole)
    assert isinstance(state, BookState)
    kept = Book(BTC, 20, at.follows, at.books)
    assert kept.restart(state) is Need.NOTHING
    assert kept.in_sync
    shorter = bids.replace("0.10000000", "0.1000000", 1).replace("653645.22211", "653645.2221", 1)
    (wrong,) = adapter().decode(book(shorter, asks, crc, "snapshot"), NOW_NS)
    assert isinstance(wrong, BookState)
    assert kept.restart(wrong) is Need.RESYNC
    assert kept.cause.startswith("snapshot checksum: ")


def test_book_messages_are_numbered_by_instrument() -> None:
    at = adapter()
    found = [
        *at.decode(book("1 1", "2 1", kind="snapshot"), NOW_NS),
        *at.decode(book("1 2", ""), NOW_NS),
        *at.decode(book("1 1", "2 1", kind="snapshot", symbol="ALGO/USD"), NOW_NS),
        *at.decode(book("", "3 0.00000000"), NOW_NS),
    ]
    assert [(e.instrument_id, e.sequence) for e in found if isinstance(e, BookState)] == [(BTC, 1), (ALGO, 1)]
    deltas = [event for event in found if isinstance(event, BookDelta)]
    assert [(delta.instrument_id, delta.first, delta.last) for delta in deltas] == [(BTC, 2, 2), (BTC, 3, 3)]
    assert deltas[1].asks == [("3", "0.00000000")]
    assert all(at.follows(sequence, deltas[0]) for sequence in (0, 1, 99))


def test_a_snapshot_may_have_no_time() -> None:
    (state,) = events(book("1 1", "2 1", kind="snapshot", stamp="none"))
    assert isinstance(state, BookState)
    assert state.event_ns is None
    assert refused(book("1 1", "2 1", stamp="none")) == "absurd time: ''"


@pytest.mark.parametrize(
    ("wanted", "given"), [(1, 10), (10, 10), (11, 25), (20, 25), (26, 100), (501, 1000), (9999, 1000)]
)
def test_the_depth_is_one_that_the_venue_has(wanted: int, given: int) -> None:
    at = adapter(book_depth=wanted)
    assert (at.books.snapshot, at.books.keep, at.books.checksum_levels) == ("stream", given, 10)
    (subscription,) = at.subscribe([stream("BTC/USD", "book")], 1)
    assert json.loads(subscription.frame)["params"]["depth"] == given


def test_what_falls_out_below_is_dropped() -> None:
    """The venue sends no removal of it: "you will not receive `qty: 0` for levels that fall out of scope"."""
    at = adapter(book_depth=10)
    asks = " ".join(f"{20 + n} 1" for n in range(10))
    bids = " ".join(f"{19 - n} 1" for n in range(10))
    kept = Book(BTC, 10, at.follows, at.books)
    (state,) = at.decode(book(bids, asks, 0, "snapshot"), NOW_NS)
    assert isinstance(state, BookState)
    kept.restart(structs.replace(state, checksum=None))
    for frame in (book("", "19.5 1"), book("", "19.5 0")):
        (delta,) = at.decode(frame, NOW_NS)
        assert isinstance(delta, BookDelta)
        kept.apply(structs.replace(delta, checksum=None))
    assert [price for price, _ in kept.top()[1]] == [str(20 + n) for n in range(9)]


@pytest.mark.parametrize("crc", ["-1", str(2**32), "1.5", '"1"', "null", "true"])
def test_a_checksum_that_is_none(crc: str) -> None:
    assert ".checksum`" in refused(book("1 1", "").replace(b'"checksum":1,', f'"checksum":{crc},'.encode()))


@pytest.mark.parametrize("level", ["NaN 1", "1 NaN", "1 null", "true 1", '"x" 1', "1e99999 1", "1 -1", "-1 1", "1 []"])
def test_a_level_that_is_none(level: str) -> None:
    for frame in (book(level, ""), book("", level), book(f"1 1 {level}", "", kind="snapshot")):
        assert re.match(r"(malformed frame|not a decimal number): ", refused(frame))


def test_a_level_in_another_form() -> None:
    for bids in ('[["1","1"]]', '[{"price":1}]', '[{"qty":1}]', "[1]", "null", '"x"', "{}"):
        refused(book("", "").replace(b'"bids":[]', f'"bids":{bids}'.encode()))
    refused(book("1 1", "", kind="delta"))


# Candles


def test_a_minute_is_told_when_a_newer_one_begins() -> None:
    at = adapter()
    frames = [
        ohlc_frame([ohlc_row(-2), ohlc_row(-1), ohlc_row(0, "0.5623", 1)], "snapshot", "2023-10-06T17:35:10Z"),
        ohlc(0, "0.5627", 12, at="2023-10-06T17:35:50Z"),
        ohlc(1, "0.5625", 1, at="2023-10-06T17:36:01Z"),
        ohlc(1, "0.5626", 2),
        ohlc(4, "0.5626", 2),
    ]
    found = [event for frame in frames for event in at.decode(frame, NOW_NS)]
    candles = [event for event in found if isinstance(event, Candle)]
    assert candles == [a_candle(0), a_candle(1, "0.5626", 2)]
    assert [event for event in found if not isinstance(event, Candle)] == [Ignored("candle: still open")] * 3


@pytest.mark.parametrize(
    "frame",
    [
        b'{"method":"pong","req_id":1,"time_in":"2023-10-06T17:36:02Z","time_out":"2023-10-06T17:36:03.000000Z"}',
        book("1 1", "", stamp="2023-10-06T17:36:03Z"),
        ticker(timestamp='"2023-10-06T17:36:03Z"'),
        ohlc(1, symbol="ALGO/USD", at="2023-10-06T17:36:03Z"),
    ],
    ids=["pong", "book", "ticker", "ohlc"],
)
def test_a_minute_is_told_when_the_venues_time_is_past_it(frame: bytes) -> None:
    """Once: a heartbeat tells no time, and a later row of the next minute finds it told."""
    at = adapter()
    early = frame.replace(b"17:36:03", b"17:36:02")
    at.decode(ohlc(0, kind="snapshot", at="2023-10-06T17:35:10Z"), NOW_NS)
    for still in (early, b'{"channel":"heartbeat"}'):
        assert not [event for event in at.decode(still, NOW_NS) if isinstance(event, Candle)]
    assert [event for event in at.decode(frame, NOW_NS) if isinstance(event, Candle)] == [a_candle(0)]
    for later in (frame, b'{"channel":"heartbeat"}', ohlc(1), ohlc(0)):
        assert not [event for event in at.decode(later, NOW_NS) if isinstance(event, Candle)]


def test_minutes_of_several_instruments() -> None:
    at = adapter()
    at.decode(ohlc_frame([ohlc_row(0), ohlc_row(0, symbol="ALGO/USD")], "snapshot"), NOW_NS)
    assert at.decode(ohlc(1), NOW_NS) == [a_candle(0)]
    assert at.decode(book("1 1", "", stamp="2023-10-06T17:36:03Z"), NOW_NS)[0] == a_candle(0, number=ALGO)


def test_a_minute_whose_beginning_was_not_seen_is_not_told() -> None:
    """Without a snapshot nothing shows that the first row's minute was followed from its beginning."""
    at = adapter()
    assert at.decode(ohlc(0), NOW_NS) == [Ignored("candle: still open")]
    assert at.decode(ohlc(1, "0.5626", 2), NOW_NS) == [Ignored("candle: still open")]
    assert at.decode(ohlc(2), NOW_NS) == [a_candle(1, "0.5626", 2)]


def test_what_was_over_before_the_snapshot_is_rests() -> None:
    """It may be a day old, and nothing was collected since."""
    at = adapter()
    snapshot = ohlc_frame([ohlc_row(-9), ohlc_row(-5)], "snapshot", "2023-10-06T17:35:50Z")
    assert at.decode(snapshot, NOW_NS) == [Ignored("candle: still open")]
    assert at.decode(ohlc(1), NOW_NS) == [Ignored("candle: still open")]
    assert at.decode(ohlc(2), NOW_NS) == [a_candle(1)]


def test_a_second_snapshot_holds_what_the_stream_missed() -> None:
    """The subscription was dead for a while and was made anew: the minute is told as the venue has it."""
    at = adapter()
    at.decode(ohlc(0, "0.5623", 1, kind="snapshot", at="2023-10-06T17:35:10Z"), NOW_NS)
    again = ohlc_frame([ohlc_row(-1), ohlc_row(0), ohlc_row(2), ohlc_row(3, "0.5623", 1)], "snapshot")
    assert at.decode(again, NOW_NS) == [a_candle(0), a_candle(2)]
    assert at.decode(ohlc(4), NOW_NS) == [a_candle(3, "0.5623", 1)]


@pytest.mark.parametrize("kind", ["update", "snapshot"])
def test_a_row_that_changes_what_was_told_is_kept_as_such(kind: str) -> None:
    at = adapter()
    at.decode(ohlc(0, kind="snapshot", at="2023-10-06T17:35:10Z"), NOW_NS)
    assert a_candle(0) in at.decode(book("1 1", "", stamp="2023-10-06T17:36:03Z"), NOW_NS)
    assert at.decode(ohlc(0, kind=kind), NOW_NS + 5) == [Ignored("candle: still open")]  # the same once more
    late = ohlc(0, "0.5628", 13, kind=kind)
    reason = "candle: changed after its minute was over"
    assert at.decode(late, NOW_NS) == [Reject("kraken", "", reason, late, NOW_NS)]
    at.decode(ohlc(1), NOW_NS)
    older = [Ignored("candle: still open")] if kind == "snapshot" else [Reject("kraken", "", reason, late, NOW_NS)]
    assert at.decode(late, NOW_NS) == older


def test_open_candles() -> None:
    at = adapter(include_open_candles=True)
    assert at.decode(ohlc(0, kind="snapshot"), NOW_NS) == [a_candle(0, source=OPEN)]
    assert at.decode(ohlc(1), NOW_NS) == [a_candle(0), a_candle(1, source=OPEN)]


def test_other_intervals_and_nothing_at_all() -> None:
    assert events(ohlc(0, interval="5")) == [Ignored("candle: not 1m")]
    assert events(ohlc_frame([], "snapshot")) == [Ignored("candle: still open")]
    for channel in ("trade", "book", "ticker"):
        frame = f'{{"channel":"{channel}","type":"update","data":[]}}'.encode()
        assert events(frame) == [Ignored("nothing in it")]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"low": "0.5625"}, "cannot be"),
        ({"high": "0.5623"}, "cannot be"),
        ({"open": "0.5629"}, "cannot be"),
        ({"close": "0"}, "cannot be"),
        ({"low": "0"}, "cannot be"),
        ({"volume": "-1"}, "not a decimal number"),
        ({"volume": "9" * 400}, "cannot be"),
        ({"open": "null"}, "not a decimal number"),
        ({"trades": "-1"}, ".trades`"),
        ({"trades": "1.5"}, ".trades`"),
        ({"interval": '"1"'}, ".interval`"),
        ({"interval_begin": '"2023-10-06T17:35:00.5Z"'}, "not the start of a minute"),
        ({"volume": ""}, "`volume`"),
        ({"interval_begin": ""}, "`interval_begin`"),
    ],
)
def test_a_candle_that_cannot_be(fields: dict[str, str], named: str) -> None:
    row = ohlc_row(0, fields["close"]) if "close" in fields else ohlc_row(0, symbol="BTC/USD", **fields)  # type: ignore[arg-type]
    at = adapter()
    assert named in refused(ohlc_frame([row], "snapshot"), at)
    assert not [e for e in at.decode(ohlc(1, symbol="BTC/USD"), NOW_NS) if isinstance(e, Candle)]  # nothing was taken


# Quotes and tickers


def test_a_ticker() -> None:
    """https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker"""
    assert events(ticker()) == [
        Ticker(
            ALGO, EVENT_NS, "0.10035", "0.10025", "740.00000000", "0.10036", "1361.44813783", None, "0.10285",
            "0.09979", "997038.98383185", None, NOW_NS,
        )
    ]  # fmt: skip


def test_a_ticker_of_what_is_not_traded() -> None:
    empty = {"bid": "null", "bid_qty": None, "last": "null", "high": "0", "low": "0", "volume": "0", "timestamp": None}
    assert events(ticker(**empty)) == [
        Ticker(ALGO, NOW_NS, None, None, None, "0.10036", "1361.44813783", None, "0", "0", "0", None, NOW_NS)
    ]


def test_a_quote_is_numbered_by_its_time() -> None:
    quote = Quote(
        ALGO, EVENT_NS, EVENT_NS // 1000, "0.10025", "740.00000000", "0.10036", "1361.44813783", NOW_NS + 1999
    )
    assert quoting().decode(ticker(), NOW_NS + 1999) == [quote]
    at_ns = NOW_NS + 1000
    untimed = structs.replace(quote, time_ns=at_ns, sequence=at_ns // 1000)
    assert quoting().decode(ticker(timestamp=None), NOW_NS + 1999) == [untimed]


@pytest.mark.parametrize("fields", [{"bid": "0"}, {"ask": "0.0"}, {"bid": "null"}, {"ask": None}])
def test_a_quote_of_one_side(fields: dict[str, str | None]) -> None:
    assert quoting().decode(ticker(**fields), NOW_NS) == [Ignored("quote: a side of the book is empty")]


@pytest.mark.parametrize("value", ["-1", '"x"', "true", "[]", "NaN", "1e999", "9" * 400])
@pytest.mark.parametrize("field", ["bid", "bid_qty", "ask", "ask_qty"])
def test_a_quote_or_a_ticker_that_cannot_be(field: str, value: str) -> None:
    for at in (adapter(), quoting()):
        reason = refused(ticker(**{field: value}), at)
        assert re.match(r"(malformed frame|not a decimal number|ticker): ", reason)


# What is addressed to the connection


STATUS = b"""{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":13834774380200032777,
"system":"online","version":"2.0.0"}]}"""


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (STATUS, Ignored("status")),
        (b'{"channel":"heartbeat"}', Ignored("heartbeat")),
        (b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[]}}', Ignored("instrument")),
        (b'{"method":"pong","time_in":"2023-09-25T09:05:00Z","time_out":"2023-09-25T09:05:00Z"}', Ignored("pong")),
        (b'{"error":"Already subscribed","method":"subscribe","success":false}', Ack(0, "Already subscribed")),
        (b'{"method":"subscribe","success":false,"req_id":3}', Ack(3, "refused")),
        (b'{"Error":"Exceeded msg rate"}', Ack(0, "Exceeded msg rate")),
        (b'{"method":"unsubscribe","req_id":5,"result":{"channel":"book","symbol":"BTC/USD"},"success":true}', Ack(5)),
    ],
)  # fmt: skip
def test_frames_for_the_connection(frame: bytes, event: object) -> None:
    assert events(frame) == [event]


def test_a_request_is_acknowledged_when_each_of_its_symbols_is() -> None:
    at = adapter()
    at.subscribe([stream("BTC/USD", "trades"), stream("ALGO/USD", "trades"), stream("BTC/USD", "book")], 3)

    def answer(request_id: int, symbol: str) -> object:
        result = {"channel": "any", "symbol": symbol, "snapshot": True}
        frame = {"method": "subscribe", "req_id": request_id, "result": result, "success": True}
        (event,) = at.decode(json.dumps(frame).encode(), NOW_NS)
        return event

    assert answer(3, "BTC/USD") == Ignored("subscription: acknowledged in part")
    assert answer(4, "BTC/USD") == Ack(4)
    assert answer(3, "ALGO/USD") == Ack(3)


@pytest.mark.parametrize("last", [True, False])
def test_a_symbol_that_is_refused_is_named_and_counts_as_answered(last: bool) -> None:
    at = adapter()
    streams = [stream("BTC/USD", "trades"), stream("ALGO/USD", "trades")]
    at.subscribe(streams, 4)
    refused = b"""{"error":"Currency pair not supported ALGO/USD","method":"subscribe","success":false,"req_id":4,
        "symbol":"ALGO/USD","time_in":"2023-09-25T09:05:00Z","time_out":"2023-09-25T09:05:00Z"}"""
    accepted = b"""{"method":"subscribe","req_id":4,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true}"""
    no, yes = Ack(4, "Currency pair not supported ALGO/USD"), Ack(4)
    part = Ignored("subscription: acknowledged in part")
    answers = [[*at.decode(frame, NOW_NS)] for frame in ((accepted, refused) if last else (refused, accepted))]
    assert answers == ([[part], [no, yes]] if last else [[no], [yes]])
    assert no.error is not None
    topics = at.refuses.topics(no.error)
    assert [found for found in streams if at.topic(found) in topics] == streams[1:]
    assert at.refuses.topics("Already subscribed") == at.refuses.topics("Exceeded msg rate") == set()


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b" ", b"\xff\xfe", b"nonsense", b"null", b"1", b'"trade"', b"[]", b"{}", b'{"channel":null}'),
        *(b"[" * 99999, b'{"req_id":1}', b'{"success":true}', b'{"channel":"trade"}', b'{"channel":"level4"}'),
        *(b'{"channel":"trade","data":null}', b'{"channel":"trade","data":[null]}', b'{"method":1,"success":true}'),
        *(b'{"method":"add_order","success":true,"req_id":1}', b'{"method":"subscribe","req_id":1}'),
        *(b'{"method":"subscribe","success":true,"req_id":"1"}', b'{"method":"subscribe","success":1,"req_id":1}'),
        b'{"channel":"ohlc","type":"x","data":[]}',
        trade() + trade(),
        trade().replace(b"BTC", b"\xc3\x28"),
        b'{"method":"pong","time_out":"soon"}',
    ],
)  # fmt: skip
def test_not_a_frame_at_all(frame: bytes) -> None:
    assert re.match(r"(malformed frame|absurd time): ", refused(frame))


@pytest.mark.parametrize("frame", [trade(), ohlc(0), ticker(), book("1 1", "2 1"), STATUS])
def test_truncated_anywhere(frame: bytes) -> None:
    for length in range(len(frame)):
        assert refused(frame[:length]).startswith("malformed frame: ")


def test_a_long_list() -> None:
    (delta,) = events(book("1.10 2.20 " * 200_000, ""))
    assert isinstance(delta, BookDelta)
    assert delta.bids == [("1.10", "2.20")] * 200_000


_VALUES = st.sampled_from(
    [
        *(
            "null",
            "true",
            "0",
            "-1",
            "1",
            "1e-8",
            "1e400",
            "1.5",
            "9" * 5000,
            "{}",
            "[]",
            '""',
            '"0.1"',
            '"NaN"',
            "[1]",
        ),
        *(
            '"BTC/USD"',
            '"2023-10-06T17:35:00Z"',
            '"buy"',
            '"snapshot"',
            '"\\ud800"',
            "[[]]",
            '{"price":1,"qty":1}',
            "1" * 30,
        ),
    ]
)
_BOOKS = [book("1 1 2 2", "3 1"), book("1 1", "2 1", kind="snapshot")]
_FRAMES = [trade(), ohlc(0), ohlc(1, kind="snapshot"), ticker(), *_BOOKS, STATUS]
_TOKENS = re.compile(rb'(?<=:)("[^"]*"|-?[0-9.]+|true|null)')
_FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_WHOSE = {None, *((number, channel) for number in IDS.values() for channel in ("trades", "candles", "book", "ticker"))}


def _survives(frame: bytes) -> None:
    for at in (adapter(), quoting(include_open_candles=True)):
        at.decode(ohlc(-1, kind="snapshot"), NOW_NS)
        try:
            found = at.decode(frame, NOW_NS)
        except Rejected as error:
            assert str(error)  # noqa: PT017 - a reason is owed
        else:
            assert found
        assert at.stream_of(frame) in _WHOSE | {(BTC, "quotes"), (ALGO, "quotes")}


@_FUZZ
@given(frame=st.sampled_from(_FRAMES), at=st.integers(0, 12), value=_VALUES)
def test_fuzz_values(frame: bytes, at: int, value: str) -> None:
    places = list(_TOKENS.finditer(frame))
    place = places[at % len(places)]
    _survives(frame[: place.start()] + value.encode() + frame[place.end() :])


@_FUZZ
@given(frame=st.sampled_from(_FRAMES), cut=st.tuples(st.floats(0, 1), st.integers(0, 4)), insert=st.binary(max_size=4))
def test_fuzz_bytes(frame: bytes, cut: tuple[float, int], insert: bytes) -> None:
    at = int(cut[0] * len(frame))
    _survives(frame[:at] + insert + frame[at + cut[1] :])


# Connecting and subscribing


def test_url_and_groups() -> None:
    streams = [stream("BTC/USD", "trades")]
    assert adapter().url(streams) == "wss://ws.kraken.com/v2"
    assert adapter(ws_url="ws://127.0.0.1:9/").url(streams) == "ws://127.0.0.1:9"
    channels = adapter().channels(instrument())
    assert set(channels) == {"trades", "candles", "book", "quotes", "ticker"}
    groups = {channel: adapter().group(stream("BTC/USD", channel)) for channel in channels}
    assert groups.pop("quotes") not in groups.values()
    assert len(set(groups.values())) == 1
    assert json.loads(adapter().ping.frame) == {"method": "ping"}
    assert adapter().ping.seconds < 60


def test_subscribe_frames() -> None:
    every: list[Channel] = ["book", "trades", "candles", "ticker"]
    topics: list[tuple[str, dict[str, Any]]] = [
        ("book", {"depth": 25, "snapshot": True}),
        ("trade", {"snapshot": False}),
        ("ohlc", {"interval": 1, "snapshot": True}),
        ("ticker", {"event_trigger": "trades", "snapshot": True}),
    ]
    streams = [stream(name, channel) for name in IDS for channel in every]
    subscriptions = adapter(book_depth=20).subscribe(streams, 5)
    symbols = ["BTC/USD", "ALGO/USD"]
    assert [json.loads(subscription.frame) for subscription in subscriptions] == [
        {"method": "subscribe", "params": {"channel": topic, "symbol": symbols, **more}, "req_id": request_id}
        for request_id, (topic, more) in enumerate(topics, 5)
    ]
    assert [subscription.request_id for subscription in subscriptions] == [5, 6, 7, 8]
    assert Counter(s for subscription in subscriptions for s in subscription.streams) == Counter(streams)
    (quotes,) = adapter().subscribe([stream("BTC/USD", "quotes")], 1)
    assert json.loads(quotes.frame)["params"]["event_trigger"] == "bbo"


@pytest.mark.parametrize(("count", "frames"), [(0, 0), (1, 1), (100, 1), (101, 2), (300, 3)])
def test_subscribe_in_parts(count: int, frames: int) -> None:
    streams = [stream(f"C{number}/USD", "trades") for number in range(count)]
    subscriptions = adapter().subscribe(streams, 11)
    assert [subscription.request_id for subscription in subscriptions] == list(range(11, 11 + frames))
    assert [s for subscription in subscriptions for s in subscription.streams] == streams
    named = [name for subscription in subscriptions for name in json.loads(subscription.frame)["params"]["symbol"]]
    assert named == [s.instrument.symbol for s in streams]


@pytest.mark.parametrize(
    ("channel", "params"),
    [
        ("book", {"channel": "book", "depth": 25}),
        ("candles", {"channel": "ohlc", "interval": 1}),
        ("quotes", {"channel": "ticker", "event_trigger": "bbo"}),
        ("trades", {"channel": "trade"}),
    ],
)
def test_a_subscription_is_made_anew(channel: Channel, params: dict[str, Any]) -> None:
    (ended, begun) = adapter().resubscribe(stream("BTC/USD", channel), 9)
    assert (ended.streams, begun.streams) == ((), (stream("BTC/USD", channel),))
    wanted = {"symbol": ["BTC/USD"], **params}
    assert json.loads(ended.frame) == {"method": "unsubscribe", "params": wanted, "req_id": 9}
    again = {**wanted, "snapshot": channel != "trades"}
    assert json.loads(begun.frame) == {"method": "subscribe", "params": again, "req_id": 10}


@pytest.mark.parametrize(
    ("frame", "whose"),
    [
        (trade(price="NaN"), (BTC, "trades")),
        (ohlc(0, symbol="ALGO/USD"), (ALGO, "candles")),
        (book("1 1", ""), (BTC, "book")),
        (ticker(), (ALGO, "ticker")),
        (trade(symbol='"ETH/USD"'), None),
        (b'{"channel":"heartbeat"}', None),
        (b"\xff", None),
    ],
)
def test_whose_frame_it_was(frame: bytes, whose: tuple[int, Channel] | None) -> None:
    assert adapter().stream_of(frame) == whose
    assert quoting().stream_of(ticker()) == (ALGO, "quotes")


def test_keys() -> None:
    """https://docs.kraken.com/exchange/api-reference/spot-websocket: XBT/USD of v1 is BTC/USD in v2."""
    assert Kraken.key(instrument()) == "BTC/USD"
    assert Kraken.key(instrument("DOGE/BTC", "XXDGXXBT", "XDG/XBT")) == "DOGE/BTC"
    assert Kraken.key(instrument("LUNC/USD", "LUNAUSD", "LUNA/USD")) == "LUNA/USD"
    assert Kraken.key(instrument("ADA/USD", "ADAUSD", "")) == "ADA/USD"
    assert Kraken.key(structs.replace(instrument(), info=b"[")) == "BTC/USD"


def test_every_listed_pair_is_found_by_its_key_and_by_its_name_in_rest() -> None:
    (listing,) = lines(recording("KRAKEN.0.gz"))
    nothing = b'{"error":[],"result":{}}'
    replies = {"/0/public/AssetPairs": listing.text.encode(), "/0/public/Assets": nothing}
    listed = asyncio.run(load_instruments("kraken", replies=replies))
    pairs_listed = [found for found in listed if not found.native.endswith(".d")]  # dark pools, closed since
    assert len(pairs_listed) > 250
    ids = {Kraken.key(found): number for number, found in enumerate(pairs_listed)}
    assert len(ids) == len(pairs_listed)
    at = Kraken(ids, Options())
    for number, found in enumerate(pairs_listed):
        request = at.trades_request(found, start=None, end=None, limit=1)
        body = f'{{"error":[],"result":{{"{found.native}":[["1","1",1696613755.4402,"b","m","",5]],"last":"1"}}}}'
        (event,) = at.decode_reply(request.url, body.encode(), NOW_NS)
        assert isinstance(event, Trade)
        assert event.instrument_id == number


# REST


TRADES = b"""{"error":[],"result":{"XXBTZUSD":[
["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],
["30243.30000","0.00376960",1688669598.2804112,"s","l","",61044953],
["30243.30000","0.01235716",1688669602.698379,"s","m","",61044956]],"last":"1688671969993150842"}}"""
OHLC = b"""{"error":[],"result":{"XXBTZUSD":[
[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39243896",23],
[1688671260,"30304.5","30304.5","30300.0","30300.0","30300.0","4.42996871",18],
[1688671320,"30300.3","30300.3","30300.3","30300.3","0.0","0.00000000",0]],"last":1688672160}}"""
DEPTH = b"""{"error":[],"result":{"XXBTZUSD":{
"asks":[["30384.10000","2.059",1688671659],["30387.90000","1.500",1688671380]],
"bids":[["30297.00000","1.115",1688671636],["30296.70000","2.002",1688671674]]}}}"""


def test_rest_addresses() -> None:
    at, btc = adapter(), instrument()
    base = "https://api.kraken.com/0/public"
    assert [
        at.candles_request(btc, start_ns=None, limit=5).url,
        at.candles_request(btc, start_ns=1_688_671_260 * SECOND, limit=5).url,
        at.latest_trade_request(btc).url,
        at.trades_request(btc, start=1_688_669_597_827 * MILLISECOND, end=None, limit=5000).url,
        at.trades_request(btc, start=None, end=None, limit=7).url,
        at.book_request(btc, 20).url,
        at.book_request(btc, 100).url,
    ] == [
        f"{base}/OHLC?pair=XXBTZUSD&interval=1",
        f"{base}/OHLC?pair=XXBTZUSD&interval=1&since=1688671200",
        f"{base}/Trades?pair=XXBTZUSD&count=1",
        f"{base}/Trades?pair=XXBTZUSD&since=1688669597826999999&count=1000",
        f"{base}/Trades?pair=XXBTZUSD&since=0&count=7",
        f"{base}/Depth?pair=XXBTZUSD&count=100",
        f"{base}/Depth?pair=XXBTZUSD&count=500",
    ]
    own = adapter(rest_url="http://127.0.0.1:9/").latest_trade_request(btc)
    assert (own.url, own.weight) == ("http://127.0.0.1:9/0/public/Trades?pair=XXBTZUSD&count=1", 1)
    assert (at.history.by, at.history.upwards) == ("time", True)
    assert (at.limits.trades_page, at.limits.candles_page, at.limits.weight_per_minute) == (1000, 720, 60)


def test_trades_of_rest() -> None:
    at_ms = (1_688_669_597_827, 1_688_669_598_280, 1_688_669_602_698)
    wanted = [
        Trade(BTC, at_ms[0] * MILLISECOND, "61044952", "buy", "30243.40000", "0.34507674", NOW_NS),
        Trade(BTC, at_ms[1] * MILLISECOND, "61044953", "sell", "30243.30000", "0.00376960", NOW_NS),
        Trade(BTC, at_ms[2] * MILLISECOND, "61044956", "sell", "30243.30000", "0.01235716", NOW_NS),
    ]
    assert adapter().decode_trades(TRADES, BTC, NOW_NS) == (wanted, [])
    assert adapter().decode_latest_trade(TRADES) == 61044956
    assert adapter().decode_latest_trade(b'{"error":[],"result":{"X":[],"last":"0"}}') is None
    url = "https://api.kraken.com/0/public/Trades?pair=XXBTZUSD&since=0"
    assert list(adapter().decode_reply(url, TRADES, NOW_NS)) == wanted


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('["1","1",1688669597.8,"b","m","",0]', "[6]"),  # as until 2024 of some pairs
        ('["1","1",1688669597.8,"x","m","",5]', "[3]"),
        ('["0","1",1688669597.8,"b","m","",5]', "price '0'"),
        ('["1","NaN",1688669597.8,"b","m","",5]', "amount 'NaN'"),
        ('["1","1",-5,"b","m","",5]', "not a decimal number"),
        ('["1","1",99999999999,"b","m","",5]', "absurd time"),
        ('["1","1","soon","b","m","",5]', "not a decimal number"),
        ('[1,"1",1688669597.8,"b","m","",5]', "[0]"),
        ('["1","1",1688669597.8]', "length"),
        ('{"price":"1"}', "array"),
    ],
)
def test_an_odd_row_costs_only_itself(row: str, named: str) -> None:
    good = '["1","1",1688669597,"b","m","",5]'
    body = f'{{"error":[],"result":{{"X":[{row},{good}],"last":"1"}}}}'.encode()
    trades, bad = adapter().decode_trades(body, BTC, NOW_NS)
    assert trades == [Trade(BTC, 1_688_669_597 * SECOND, "5", "buy", "1", "1", NOW_NS)]
    assert [one.payload for one in bad] == [row.encode()]
    assert named in bad[0].reason


def test_candles_of_rest() -> None:
    def a_row(minute: int, *values: str, trades: int) -> Candle:
        told = (*values, None, trades, None, None, CandleSource.REST, NOW_NS)
        return Candle(BTC, (1_688_671_200 + 60 * minute) * SECOND, *told)  # type: ignore[arg-type]

    wanted = [
        a_row(0, "30306.1", "30306.2", "30305.7", "30305.7", "3.39243896", trades=23),
        a_row(1, "30304.5", "30304.5", "30300.0", "30300.0", "4.42996871", trades=18),
    ]
    as_of_ns = 1_688_671_379 * SECOND
    found = adapter().decode_candles(OHLC, BTC, NOW_NS, CandleSource.REST, as_of_ns=as_of_ns)
    assert found == (wanted, [])
    url = "https://api.kraken.com/0/public/OHLC?pair=XXBTZUSD&interval=1"
    idle = a_row(2, "30300.3", "30300.3", "30300.3", "30300.3", "0.00000000", trades=0)
    assert list(adapter().decode_reply(url, OHLC, NOW_NS)) == [*wanted, idle]
    assert list(adapter().decode_reply(f"{url}5", OHLC, NOW_NS)) == [Ignored("candle: not 1m")]


def test_a_book_of_rest() -> None:
    bids = [("30297.00000", "1.115"), ("30296.70000", "2.002")]
    asks = [("30384.10000", "2.059"), ("30387.90000", "1.500")]
    assert adapter().decode_book(DEPTH, BTC, 20, NOW_NS) == BookState(BTC, 0, bids, asks, 100, NOW_NS)
    url = "https://api.kraken.com/0/public/Depth?pair=XXBTZUSD"
    assert list(adapter().decode_reply(url, DEPTH, NOW_NS)) == [Ignored("REST Depth: not collected")]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b'{"error":["EAPI:Rate limit exceeded"]}', Retryable, "kraken: EAPI:Rate limit exceeded"),
        (b'{"error":["EGeneral:Too many requests"]}', Retryable, "kraken: EGeneral:Too many requests"),
        (b'{"error":["EService:Unavailable"],"result":{}}', Retryable, "kraken: EService:Unavailable"),
        (b'{"error":["EQuery:Unknown asset pair"]}', Rejected, "refused by the venue: EQuery:Unknown asset pair"),
        (b'{"error":[],"result":{}}', Rejected, "malformed reply: of 0 pairs"),
        (b'{"error":[],"result":{"A":[],"B":[],"last":1}}', Rejected, "malformed reply: of 2 pairs"),
        (b'{"error":[],"result":{"A":5}}', Rejected, "malformed reply: "),
        (b'{"error":[],"result":[]}', Rejected, "malformed reply: "),
        (b'{"result":{}}', Rejected, "malformed reply: "),
        (b"<html>", Rejected, "malformed reply: "),
        (b"", Rejected, "malformed reply: "),
        (b"[" * 99_999, Rejected, "malformed reply: "),
    ],
)
def test_a_reply_without_what_was_asked_for(body: bytes, kind: type[Exception], reason: str) -> None:
    at = adapter()
    for call in (
        lambda: at.decode_trades(body, BTC, NOW_NS),
        lambda: at.decode_candles(body, BTC, NOW_NS, CandleSource.REST, as_of_ns=NOW_NS),
        lambda: at.decode_book(body, BTC, 20, NOW_NS),
        lambda: at.decode_latest_trade(body),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "url", ["https://h/0/public/Trades?pair=ETHUSD", "https://h/0/public/OHLC", "https://[/Trades"]
)
def test_a_reply_from_an_address_that_is_no_good(url: str) -> None:
    with pytest.raises(Rejected, match=r"^(unknown symbol|malformed URL): "):
        adapter().decode_reply(url, TRADES, NOW_NS)


def test_promises_and_id_spaces() -> None:
    at = adapter()
    assert at.promises == {
        "trades": "ids",
        "candles": "grid",
        "book": "sequence",
        "quotes": "none",
        "ticker": "none",
    }
    assert [at.id_space(channel) for channel in at.channels(instrument())] == [
        "trade",
        "minute",
        "message",
        "time",
        "time",
    ]
