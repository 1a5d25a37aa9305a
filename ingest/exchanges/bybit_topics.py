"""What Bybit calls its streams: where they are asked for, and in a message."""

import re

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
    rb'"topic":\s*"(orderbook\.(rpi|full)|insurance|priceLimit|adlAlert|liquidation|(kline|tickers)_lt|lt'
    rb'|rfq\.(open|site)\.public|system)\.[^"]'
)
"""Other public topics, of pages beside https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook-rpi: `full-ob`,
`insurance-pool`, `order-price-limit`, `adl-alert`, and until 2025 `liquidation` and those of leveraged tokens; also
https://bybit-exchange.github.io/docs/v5/rfq/websocket/public/public-transaction, …/v5/websocket/system/system-status.
"""


def named(frame: bytes) -> tuple[str, str] | None:
    """(topic up to its symbol, native symbol) of a message, as far as it tells."""
    found = _TOPIC.search(frame, 0, _WITHIN)
    return None if found is None else (found[1].decode(), found[2].decode(errors="replace"))


def not_collected(frame: bytes) -> bool:
    """Whether it is of another topic that the venue documents."""
    return _NOT_COLLECTED.search(frame) is not None
