"""What an exchange offers through ccxt: each channel by websocket, by REST, or not at all."""

import difflib
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

import ccxt.async_support as ccxt
import ccxt.pro
from msgspec import Struct

from ingest.errors import ConfigError
from ingest.records import Channel

_WAYS: Mapping[Channel, tuple[str | None, str]] = {
    "trades": ("watchTrades", "fetchTrades"),
    "candles": ("watchOHLCV", "fetchOHLCV"),
    "book": ("watchOrderBook", "fetchOrderBook"),
    "quotes": ("watchBidsAsks", "fetchBidsAsks"),
    "ticker": ("watchTicker", "fetchTicker"),
    "funding": ("watchFundingRate", "fetchFundingRate"),
    "open_interest": (None, "fetchOpenInterest"),
    "mark_price": ("watchMarkPrice", "fetchMarkPrice"),
    "liquidations": ("watchLiquidations", "fetchLiquidations"),
}
"""ccxt's names for a way to have a channel: by websocket, by REST."""

_NO_WEBSOCKET = {
    "ndax": "its messages hold JSON within JSON, which ccxt reads as floats",
    **({} if find_spec("google") and find_spec("google.protobuf") else {"mexc": "ccxt needs protobuf to read it"}),
}
"""Exchanges whose websocket ccxt has, and which are polled all the same."""


class Way(Struct, frozen=True):
    """How a channel is had: ccxt's methods, None where it has none. One of the two there always is."""

    watch: str | None
    fetch: str | None


class Offer(Struct, frozen=True):
    """What ccxt says of an exchange. `call_ms` is the least time between two plain REST calls."""

    exchange: str
    ways: Mapping[Channel, Way]
    call_ms: int


def client_class(exchange: str) -> type[Any]:
    """The class in ccxt of the exchange, with websockets where it has them.

    Raises ConfigError for one that ccxt does not know, with those that sound like it.
    """
    if exchange not in ccxt.exchanges:
        near = difflib.get_close_matches(exchange, ccxt.exchanges, n=3)
        known = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(ccxt.exchanges)}"
        raise ConfigError(f"ccxt {ccxt.__version__} does not know the exchange {exchange!r}; {known}")
    module = ccxt.pro if exchange in ccxt.pro.exchanges else ccxt
    found: type[Any] = getattr(module, exchange)
    return found


@cache
def offer(exchange: str) -> Offer:
    """Raises ConfigError as `client_class` does."""
    client = client_class(exchange)()
    has, sockets = client.has, exchange in ccxt.pro.exchanges and exchange not in _NO_WEBSOCKET
    ways: dict[Channel, Way] = {}
    for channel, (watched, fetched) in _WAYS.items():
        if channel == "candles" and "1m" not in (client.timeframes or {}):
            continue
        watch = _method(watched) if watched is not None and sockets and _has(has, watched) else None
        fetch = _method(fetched) if _has(has, fetched) else None
        if watch is not None or fetch is not None:
            ways[channel] = Way(watch, fetch)
    return Offer(exchange, ways, max(1, math.ceil(client.rateLimit)))


def _method(feature: str) -> str:
    """`watchOHLCV` is `watch_ohlcv` in Python."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", feature).lower()


def _has(has: Mapping[str, Any], feature: str) -> bool:
    """An emulated trade or candle is made of something else, and not the exchange's own."""
    own_only = feature in ("watchOHLCV", "fetchOHLCV", "watchTrades", "fetchTrades")
    return has.get(feature) is True or (has.get(feature) == "emulated" and not own_only)
