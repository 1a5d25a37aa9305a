"""What OKX calls its streams: where they are asked for, and where one is refused."""

import re

from ingest.exchanges.okx_wire import Argument
from ingest.records import Channel, Stream

TOPICS: dict[Channel, str] = {
    "trades": "trades-all",
    "candles": "candle1m",
    "book": "books",
    "quotes": "bbo-tbt",
    "ticker": "tickers",
    "funding": "funding-rate",
    "open_interest": "open-interest",
    "mark_price": "mark-price",
    "liquidations": "liquidation-orders",
}
CHANNELS: dict[str, Channel] = {"trades": "trades", **{topic: channel for channel, topic in TOPICS.items()}}
ROWS = {"liquidation-orders": ("data", "details")}
"""Where the rows of a frame are, if not in `data` itself."""
NOT_COLLECTED = re.compile(
    r"books5|books50-l2-tbt|books-(l2-tbt|elp|rpi)|instruments|index-tickers|price-limit|estimated-price|opt-summary"
    r"|option-trades|status|event-contract-markets|adl-warning|call-auction-details|((block|sprd|public|economic)-|(mark-price-|index-)candle).+"
)
"""Other channels that need no key."""
_INSTRUMENT_TYPES = {"swap": "SWAP", "future": "FUTURES"}


def argument_of(stream: Stream) -> Argument:
    """What subscribes a stream: liquidations come of all instruments of a type."""
    if stream.channel == "liquidations":
        return Argument(TOPICS[stream.channel], instType=_INSTRUMENT_TYPES[stream.instrument.kind])
    return Argument(TOPICS[stream.channel], stream.instrument.native)


def named(argument: Argument) -> str:
    """As words of refusal name it."""
    by = f"instId:{argument.instId}" if argument.instId else f"instType:{argument.instType}"
    return f"{argument.channel},{by}"
