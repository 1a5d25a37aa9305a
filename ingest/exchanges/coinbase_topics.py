"""What Coinbase calls its channels and products: where they are asked for, and in a frame."""

import re
from collections.abc import Sequence

import orjson

from ingest.exchanges.adapter import Refusal
from ingest.records import Channel, Instrument

SUBSCRIBED_AS: dict[Channel, str] = {
    "trades": "market_trades",
    "book": "level2",
    "quotes": "ticker",
    "ticker": "ticker",
}
CHANNELS_OF: dict[str, tuple[Channel, ...]] = {
    "market_trades": ("trades",),
    "l2_data": ("book",),
    "ticker": ("quotes", "ticker"),
}
ROWS = {"market_trades": ("events", "trades"), "ticker": ("events", "tickers")}
"""Where the rows of a frame are that do not belong together, as changes of a book do."""
REFUSES = Refusal(re.compile(r"(\S+) is not a valid product"), whole=True)
"""Words of Coinbase Exchange, whose products these are: https://github.com/thrasher-corp/gocryptotrader/pull/1421.

No page of Advanced Trade states how a product is refused (`websocket-overview`, `-channels` and `-rate-limits` tell of
no error), and its own client, coinbase/coinbase-advanced-py, knows none. An error in other words is the connection's,
with these words in the log; the streams of a product that is gone end by the listing.
"""

_CHANNEL = re.compile(rb'"channel":\s*"([a-z0-9_]+)"')
_PRODUCT = re.compile(rb'"product_id":\s*"([^"]+)"')


def named(frame: bytes) -> tuple[str, set[str]]:
    """The channel and the products of a frame, as far as it tells them: also of one that cannot be decoded."""
    channel, products = _CHANNEL.search(frame), set(_PRODUCT.findall(frame))
    return channel[1].decode() if channel else "", {product.decode(errors="replace") for product in products}


def streamed_name(instrument: Instrument) -> str:
    """How frames name it: most `-USDC` products are another name of the `-USD` one, and frames know only that."""
    return str(orjson.loads(instrument.info).get("alias") or instrument.native)


def request(action: str, name: str, products: Sequence[str]) -> str:
    """Heartbeats are of no product."""
    message = {"type": action, "channel": name} | ({"product_ids": products} if products else {})
    return orjson.dumps(message).decode()
