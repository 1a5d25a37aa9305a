"""What Bybit calls its streams: where they are asked for, and in a message."""

import re

import msgspec
from msgspec import Struct

from ingest.records import Channel

SHARED: tuple[Channel, ...] = ("ticker", "funding", "open_interest", "mark_price")  # of one topic
TOPICS: dict[Channel, str] = {  # beside the book's, which is named by its depth
    "trades": "publicTrade.",
    "candles": "kline.1.",
    "quotes": "orderbook.1.",
    **dict.fromkeys(SHARED, "tickers."),
    "liquidations": "allLiquidation.",
}
CHANNELS: dict[str, Channel] = {topic: channel for channel, topic in reversed(TOPICS.items())}

_WITHIN = 256  # bytes of a message within which its topic is named
_TOPIC = re.compile(rb'"topic":\s*"([A-Za-z]+\.(?:\d+\.)?)([^".]+)"')
_NOT_COLLECTED = re.compile(
    r"(orderbook\.(rpi|full)|insurance|priceLimit|adlAlert|liquidation|(kline|tickers)_lt|lt"
    r"|rfq\.(open|site)\.public|system)\..+"
)
"""Other public topics, by pages beside https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook-rpi:
`full-ob`, `insurance-pool`, `order-price-limit`, `adl-alert`, until 2025 `liquidation` and those of leveraged tokens;
also …/docs/v5/rfq/websocket/public/public-transaction and …/docs/v5/websocket/system/system-status.
"""


class _Message(Struct):
    topic: str = ""


_decode = msgspec.json.Decoder(_Message).decode


def named(frame: bytes) -> tuple[str, str] | None:
    """(topic up to its symbol, native symbol) of a message, as far as it tells."""
    found = _TOPIC.search(frame, 0, _WITHIN)
    return None if found is None else (found[1].decode(), found[2].decode(errors="replace"))


def not_collected(frame: bytes) -> bool:
    """Whether a message is of another topic that the venue documents."""
    try:
        return _NOT_COLLECTED.fullmatch(_decode(frame).topic) is not None
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return False
