"""Candles longer than a minute, from each venue's reply as its pages describe it to `ingest.candles_coarse`.

The venues below answer by the documents alone: which bounds count, in what order rows come, what stands in them.

- https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#klinecandlestick-data
- https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
- https://bybit-exchange.github.io/docs/v5/market/kline
- https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
- https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-candles
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from msgspec import structs

from ingest.backfill.cuts import cut_of
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Options, Request
from ingest.exchanges.rest import Reply
from ingest.records import TIMEFRAMES, Instrument, Timeframe
from ingest.repair.repair import Repair
from ingest.repair.timeframes import offered
from ingest.store.backfill import Backfills
from ingest.store.copy_writer import CopyWriter
from ingest.store.queue import Queue
from ingest.store.registry import Registry
from ingest.store.window import LENGTHS, Range, opening, place
from tests.conftest import Fetch
from tests.db.history import RECEIVED
from tests.db.support import moment

INSTRUMENTS = {
    "binance": Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT"),
    "binanceusdm": Instrument("binanceusdm", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT"),
    "okx": Instrument("okx", "BTC/USDT", "BTC-USDT", "spot", "BTC", "USDT"),
    "bybit": Instrument("bybit", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT"),
    "kraken": Instrument("kraken", "BTC/USD", "XXBTZUSD", "spot", "BTC", "USD", info=b'{"wsname":"XBT/USD"}'),
    "coinbase": Instrument("coinbase", "BTC/USD", "BTC-USD", "spot", "BTC", "USD"),
}
ASKED, PAGE = 7, 3
NOW = RECEIVED + 2 * MINUTE
Query = dict[str, str]


class Bar:
    """One candle of a venue, its figures made of its place; the last one is still open."""

    def __init__(self, number: int, timeframe: Timeframe) -> None:
        self.open_ns = opening(number, timeframe)
        self.is_closed = self.open_ns + LENGTHS[timeframe] <= NOW
        self.open, self.high, self.low, self.close = (f"{100 + number % 50}.{digit}0" for digit in "1503")
        self.volume, self.quote = f"{number % 90 + 1}.12345678", f"{number % 90 + 1}000.5"

    @property
    def ms(self) -> int:
        return self.open_ns // MILLISECOND

    @property
    def seconds(self) -> int:
        return self.open_ns // SECOND


def binance(bars: list[Bar], query: Query, *, unit: int = MICROSECOND) -> Any:
    first = int(query["startTime"]) * unit
    return [
        [bar.open_ns // unit, bar.open, bar.high, bar.low, bar.close, bar.volume, 0, bar.quote, 308, "1.5", "2.5", "0"]
        for bar in bars
        if bar.open_ns >= first
    ][: int(query["limit"])]


def okx(bars: list[Bar], query: Query) -> Any:
    """`after`: earlier than; `before`: newer than; the newest first."""
    found = [bar for bar in bars if int(query["before"]) < bar.ms < int(query["after"])]
    rows = [
        [str(b.ms), b.open, b.high, b.low, b.close, b.volume, b.quote, b.quote, "1" if b.is_closed else "0"]
        for b in reversed(found)
    ]
    return {"code": "0", "msg": "", "data": rows[: int(query["limit"])]}


def bybit(bars: list[Bar], query: Query) -> Any:
    """Both bounds count; the newest first."""
    found = [bar for bar in bars if int(query["start"]) <= bar.ms <= int(query["end"])]
    rows = [[str(b.ms), b.open, b.high, b.low, b.close, b.volume, b.quote] for b in reversed(found)]
    result = {"symbol": "BTCUSDT", "category": "spot", "list": rows[: int(query["limit"])]}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": NOW // MILLISECOND}


def kraken(bars: list[Bar], query: Query) -> Any:
    """Those that are newer than `since`; the last one is never final."""
    found = [bar for bar in bars if bar.seconds > int(query["since"])]
    rows = [[b.seconds, b.open, b.high, b.low, b.close, b.close, b.volume, 23] for b in found]
    return {"error": [], "result": {"XXBTZUSD": rows, "last": found[-2].seconds if found[1:] else 0}}


def coinbase(bars: list[Bar], query: Query) -> Any:
    """Both bounds count; the newest first; no order of fields."""
    found = [bar for bar in bars if int(query["start"]) <= bar.seconds <= int(query["end"])]
    rows = [
        {"start": str(b.seconds), "low": b.low, "high": b.high, "open": b.open, "close": b.close, "volume": b.volume}
        for b in reversed(found)
    ]
    return {"candles": rows[: int(query["limit"])]}


# The name of a length's parameter, and its values from five minutes on.
LONG = ("5m", "15m", "30m", "1h", "4h", "1d", "1w")
VENUES: Mapping[str, tuple[Callable[[list[Bar], Query], Any], str, tuple[str, ...]]] = {
    "binance": (binance, "interval", ("5m", "15m", "30m", "1h", "4h", "1d", "1w")),
    "binanceusdm": (lambda bars, query: binance(bars, query, unit=MILLISECOND), "interval", LONG),
    "okx": (okx, "bar", ("5m", "15m", "30m", "1H", "4H", "1Dutc", "1Wutc")),
    "bybit": (bybit, "interval", ("5", "15", "30", "60", "240", "D", "W")),
    "kraken": (kraken, "interval", ("5", "15", "30", "60", "240", "1440", "10080")),
    "coinbase": (
        coinbase,
        "granularity",
        ("FIVE_MINUTE", "FIFTEEN_MINUTE", "THIRTY_MINUTE", "ONE_HOUR", "FOUR_HOUR", "ONE_DAY", "ONE_WEEK"),
    ),
}


class Source:
    """A venue with candles of every length up to now. Stands in for `Rest`."""

    def __init__(self, exchange: str) -> None:
        self._answer, self._parameter, words = VENUES[exchange]
        self._frames = dict(zip(words, TIMEFRAMES[1:], strict=True))
        self.calls = 0

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply:  # noqa: ARG002 - there is no limiter
        self.calls += 1
        query = dict(parse_qsl(urlsplit(request.url).query))
        frame = self._frames[query[self._parameter]]
        last = place(NOW, frame)
        bars = [Bar(number, frame) for number in range(last - 40, last + 1)]
        return Reply(orjson.dumps(self._answer(bars, query)), NOW, NOW)


CASES = [(exchange, frame) for exchange in VENUES for frame in offered(exchange)[1:]]


@pytest.mark.parametrize(("exchange", "timeframe"), CASES)
async def test_longer_candles_are_fetched_decoded_and_stored(
    database_url: str, fetch: Fetch, exchange: str, timeframe: Timeframe
) -> None:
    instrument, source = INSTRUMENTS[exchange], Source(exchange)
    registry = Registry(database_url)
    number = (await registry.register_instruments(exchange, [instrument]))[instrument.symbol]
    await registry.close()
    ids: dict[str, int] = {}
    adapter = ADAPTERS[exchange](ids, Options())
    adapter.limits = structs.replace(adapter.limits, candles_page=PAGE)
    ids[adapter.key(instrument)] = number
    last = place(NOW, timeframe)
    asked = Range(number, "candles", opening(last - ASKED, timeframe), opening(last, timeframe), timeframe)
    writer = CopyWriter(database_url, role="test", instruments={number: instrument})
    async with Queue(database_url, role="test queue") as queue, Backfills(database_url) as store:
        cut = cut_of(asked, PAGE, by_id=False)
        assert await store.queue(asked, cut, page=PAGE, by_id=False) == 3
        repair = Repair(exchange, source, adapter, {number: instrument}, queue, writer, worker_name="a", ranges=[asked])
        while await repair.step():
            pass
        assert await store.queue(asked, cut, page=PAGE, by_id=False) == 0
    await writer.close()
    assert source.calls == 3
    assert fetch("SELECT DISTINCT state, error FROM ingest.backfill_jobs") == [("done", None)]
    bars = [Bar(place, timeframe) for place in range(last - ASKED, last)]
    assert fetch(
        "SELECT time, timeframe::text, open, high, low, close, volume FROM ingest.candles_coarse ORDER BY time"
    ) == [
        (moment(b.open_ns), timeframe, *(Decimal(text) for text in (b.open, b.high, b.low, b.close, b.volume)))
        for b in bars
    ]
    assert fetch("SELECT count(*) FROM ingest.candles_1m") == [(0,)]
    shown = "SELECT count(*) FROM market.candles WHERE timeframe = %s AND source = 'rest' AND instrument_id = %s"
    assert fetch(shown, timeframe, number) == [(ASKED,)]
