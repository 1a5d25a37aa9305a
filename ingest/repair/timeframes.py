"""Candles longer than a minute: an adapter's request for one-minute candles in the venue's words for longer ones. Pure.

Replies have the same shape, so that the adapter's `decode_candles` reads them. Where each venue says how it calls them:

- Binance, spot and USDⓈ-M: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#klinecandlestick-data
- OKX, days and weeks of which begin at 16:00 UTC unless they are asked for as `utc`:
  https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
- Bybit: https://bybit-exchange.github.io/docs/v5/market/kline
- Kraken, whose weeks do not begin on Monday: https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
- Coinbase: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-candles
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct, structs

from ingest.clock import MILLISECOND, SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Request
from ingest.records import TIMEFRAMES, Timeframe
from ingest.store.window import LENGTHS


class _Words(Struct, frozen=True):
    """The parameter of a candle's length, and the one of the page's end, which must then reach further."""

    parameter: str
    words: Mapping[Timeframe, str]
    end: str | None = None
    unit_ns: int = MILLISECOND
    end_belongs: bool = True


def _each(*words: str) -> dict[Timeframe, str]:
    """By timeframe, from five minutes on; an empty word where the venue has none."""
    return {frame: word for frame, word in zip(TIMEFRAMES[1:], words, strict=True) if word}


_BINANCE = _Words("interval", _each("5m", "15m", "30m", "1h", "4h", "1d", "1w"))
_VENUES: Mapping[str, _Words] = {
    "binance": _BINANCE,
    "binanceusdm": _BINANCE,
    "okx": _Words("bar", _each("5m", "15m", "30m", "1H", "4H", "1Dutc", "1Wutc"), "after", end_belongs=False),
    "bybit": _Words("interval", _each("5", "15", "30", "60", "240", "D", "W"), "end"),
    "kraken": _Words("interval", _each("5", "15", "30", "60", "240", "1440", "")),
    "coinbase": _Words(
        "granularity",
        _each("FIVE_MINUTE", "FIFTEEN_MINUTE", "THIRTY_MINUTE", "ONE_HOUR", "", "ONE_DAY", ""),
        "end",
        SECOND,
    ),
}


def offered(exchange: str) -> tuple[Timeframe, ...]:
    """The timeframes whose candles can be asked of a venue."""
    words = _VENUES[exchange].words if exchange in _VENUES else {}
    return ("1m", *words)


def longer(request: Request, exchange: str, timeframe: Timeframe, *, start_ns: int, limit: int) -> Request:
    """The same request for `limit` candles of another timeframe. Raises Rejected where the venue has none."""
    if timeframe not in offered(exchange):
        raise Rejected(f"{exchange} has no candles of {timeframe}; it has {', '.join(offered(exchange))}")
    if timeframe == "1m":
        return request
    venue = _VENUES[exchange]
    parts = urlsplit(request.url)
    parameters = dict(parse_qsl(parts.query))
    parameters[venue.parameter] = venue.words[timeframe]
    if venue.end is not None:
        end = (start_ns + limit * LENGTHS[timeframe]) // venue.unit_ns
        parameters[venue.end] = str(end - 1 if venue.end_belongs else end)
    return structs.replace(request, url=parts._replace(query=urlencode(parameters)).geturl())
