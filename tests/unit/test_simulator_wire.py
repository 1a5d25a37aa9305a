"""Payloads against the keys and forms that Binance's documentation prints, and the frames that carry them."""

from typing import Any

import orjson
import pytest

from ingest.simulator.candles import Candle, flat
from ingest.simulator.commands import Command, Misspoken, parse, result
from ingest.simulator.connection import Frames, header
from ingest.simulator.listing import KNOWN, listings
from ingest.simulator.market import Batch
from ingest.simulator.tape import Aggregate, Trade
from ingest.simulator.wire import Scribe, exchange_info, server_shutdown

SCRIBE = Scribe(KNOWN["BTC/USDT"])  # a tick of 0.01, a lot of 0.00001
NOW_US = 1_672_515_782_136_789
MINUTE = Candle(1_672_515_780_000_000, 100, 300, 50, 200, 7, 1_400, 3, 2, 600, 10, 12)
BATCH = Batch(
    0, NOW_US, 10, 5, [NOW_US - 2_000, NOW_US - 2_000, NOW_US - 1], [100, 100, 101], [1, 2, 100_000],
    [0, 0, 1], [77, 77, 60], [50, 51, 78], [0, 2], [-100], [0], 9,
)  # fmt: skip


def read(text: str) -> Any:
    return orjson.loads(text)


def test_trade() -> None:
    first, second, third = map(read, SCRIBE.trades(BATCH, micro=False))
    assert first == {
        "e": "trade", "E": 1_672_515_782_136, "s": "BTCUSDT", "t": 10, "p": "1.00000000", "q": "0.00001000",
        "b": 77, "a": 50, "T": 1_672_515_782_134, "m": False, "M": True,
    }  # fmt: skip
    assert (second["t"], second["q"], third["t"], third["q"], third["m"]) == (11, "0.00002000", 12, "1.00000000", True)
    assert read(SCRIBE.trades(BATCH, micro=True)[2])["T"] == NOW_US - 1


def test_agg_trade() -> None:
    first, second = map(read, SCRIBE.aggregates(BATCH, micro=True))
    assert first == {
        "e": "aggTrade", "E": NOW_US, "s": "BTCUSDT", "a": 5, "p": "1.00000000", "q": "0.00003000",
        "f": 10, "l": 11, "T": NOW_US - 2_000, "m": False, "M": True,
    }  # fmt: skip
    assert (second["a"], second["f"], second["l"], second["m"]) == (6, 12, 12, True)


@pytest.mark.parametrize("micro", [False, True])
def test_kline(micro: bool) -> None:
    unit = 1 if micro else 1_000
    assert read(SCRIBE.kline("1m", MINUTE, NOW_US, closed=True, micro=micro)) == {
        "e": "kline",
        "E": NOW_US // unit,
        "s": "BTCUSDT",
        "k": {
            "t": 1_672_515_780_000_000 // unit,
            "T": 1_672_515_840_000_000 // unit - 1,
            "s": "BTCUSDT",
            "i": "1m",
            "f": 10,
            "L": 12,
            "o": "1.00000000",
            "c": "2.00000000",
            "h": "3.00000000",
            "l": "0.50000000",
            "v": "0.00007000",
            "n": 3,
            "x": True,
            "q": "0.00014000",
            "V": "0.00002000",
            "Q": "0.00006000",
            "B": "0",
        },
    }


def test_a_candle_without_trades_repeats_the_close() -> None:
    candle = read(SCRIBE.kline("1m", flat(0, 200), NOW_US, closed=False, micro=False))["k"]
    assert {candle[key] for key in "ohlc"} == {"2.00000000"}
    assert {candle[key] for key in "vqVQ"} == {"0.00000000"}
    assert (candle["n"], candle["f"], candle["L"], candle["x"]) == (0, -1, -1, False)


def test_depth_and_book_ticker() -> None:
    update = SCRIBE.depth_update(157, 160, [(100, 3)], [(101, 0)], NOW_US, micro=False)
    assert read(update) == {
        "e": "depthUpdate", "E": NOW_US // 1_000, "s": "BTCUSDT", "U": 157, "u": 160,
        "b": [["1.00000000", "0.00003000"]], "a": [["1.01000000", "0.00000000"]],
    }  # fmt: skip
    assert read(SCRIBE.depth(9, [], [(101, 1)])) == {
        "lastUpdateId": 9, "bids": [], "asks": [["1.01000000", "0.00001000"]]
    }  # fmt: skip
    assert read(SCRIBE.book_ticker(9, (100, 1), (101, 2))) == {
        "u": 9, "s": "BTCUSDT", "b": "1.00000000", "B": "0.00001000", "a": "1.01000000", "A": "0.00002000",
    }  # fmt: skip


def test_tickers() -> None:
    ticker = read(SCRIBE.ticker(MINUTE, 4, (100, 1), (101, 2), NOW_US, micro=False))
    assert set(ticker) == set("eEspPwxcQbBaAohlvqOCFLn")
    assert (ticker["p"], ticker["P"], ticker["w"], ticker["n"]) == ("1.00000000", "100.000", "2.00000000", 3)
    mini = read(SCRIBE.mini_ticker(MINUTE, NOW_US, micro=True))
    assert set(mini) == set("eEscohlvq")
    assert read(server_shutdown(NOW_US, micro=False)) == {"e": "serverShutdown", "E": NOW_US // 1_000}


def test_rest_rows() -> None:
    assert read(SCRIBE.kline_row("1m", MINUTE, micro=False)) == [
        1_672_515_780_000, "1.00000000", "3.00000000", "0.50000000", "2.00000000", "0.00007000", 1_672_515_839_999,
        "0.00014000", 3, "0.00002000", "0.00006000", "0",
    ]  # fmt: skip
    assert read(SCRIBE.trade_row(Trade(1, NOW_US, 100, 3, 1), micro=True)) == {
        "id": 1, "price": "1.00000000", "qty": "0.00003000", "quoteQty": "0.00003000", "time": NOW_US,
        "isBuyerMaker": True, "isBestMatch": True,
    }  # fmt: skip
    assert set(read(SCRIBE.aggregate_row(Aggregate(1, NOW_US, 100, 3, 1, 2, 3), micro=False))) == set("apqflTmM")


def test_exchange_info_states_ticks_and_lots() -> None:
    reply = exchange_info(listings(("BTC/USDT",)), NOW_US, 6_000, micro=False)
    filters = {one["filterType"]: one for one in reply["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1_000, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("stream", [None, "btcusdt@trade"])
def test_frames_are_unmasked_text_frames(size: int, stream: str | None) -> None:
    frames = Frames(["x" * size, "y"], stream)
    blob, texts = frames.blob(), []
    while blob:
        assert blob[0] == 0x81
        length, start = blob[1], 2
        if length == 126:
            length, start = int.from_bytes(blob[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(blob[2:10], "big"), 10
        texts.append(blob[start : start + length].decode())
        blob = blob[start + length :]
    assert texts == frames.texts()
    assert texts[1] == ('{"stream":"btcusdt@trade","data":y}' if stream else "y")


def test_control_frames_have_their_opcode() -> None:
    assert header(3, 0x89).encode("latin-1") == b"\x89\x03"


def test_requests_and_their_errors() -> None:
    assert parse('{"method":"SUBSCRIBE","params":["a@trade"],"id":1}') == Command("SUBSCRIBE", 1, ("a@trade",))
    assert parse('{"method":"LIST_SUBSCRIPTIONS","id":"ab1"}') == Command("LIST_SUBSCRIPTIONS", "ab1")
    assert parse('{"method":"SET_PROPERTY","params":["combined",true],"id":null}').value is True
    assert read(result(3)) == {"result": None, "id": 3}
    for said, code in (
        ("{", 3),
        ("[]", 2),
        ('{"id":1}', 2),
        ('{"method":"SHOUT","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":1}', 2),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2),
    ):
        with pytest.raises(Misspoken) as caught:
            parse(said)
        assert read(caught.value.reply)["code"] == code
