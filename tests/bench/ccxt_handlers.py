"""ccxt.pro's own handler on the frames that our adapters are measured with, against `orjson.loads` of them.

From the text of a frame to the unified structure in its cache, as `ccxt.pro` does with `orjson` installed; nobody
waits for the result, no row is made, and digits become floats. A book's change is applied as well, to a book of 1,000
levels a side; ours are in `book_us`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import ccxt.pro
import orjson

from ingest.records import Channel
from tests.bench import decode
from tests.bench.decode import Pass, compare
from tests.bench.harness import Bench, Figure, Group
from tests.bench.venues import LEAST, given, key
from tests.exchanges.evidence import VENUES

GROUP = Group("ccxt")

_OF: Mapping[Channel, str] = {
    **dict.fromkeys(("trades", "candles", "book", "quotes", "ticker"), "binance"),
    **dict.fromkeys(("mark_price", "liquidations"), "binanceusdm"),  # a mark price's frame holds the funding rate
}
"""By channel, the venue whose frames they are. Open interest is no stream of ccxt's."""
_URLS = {"binance": "wss://stream.binance.com:9443/stream", "binanceusdm": "wss://fstream.binance.com/market/stream"}
_LEVELS = 1_000


class Client:
    """What a handler needs of a connection; nobody waits."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.subscriptions: dict[str, object] = {}
        self.futures: dict[str, object] = {}

    def resolve(self, result: object, message_hash: str) -> object:  # noqa: ARG002 - what ccxt's takes
        return result


def frames(channel: Channel) -> list[bytes]:
    """Those of `decode_binance_…` and its neighbours."""
    known: dict[Channel, Callable[[decode.Frames], list[bytes]]] = {
        "trades": lambda found: found.trades,
        "candles": lambda found: found.candles,
        "book": lambda found: found.deltas,
    }
    if channel in known:
        return known[channel](decode.frames())
    found = given(VENUES[_OF[channel]](), channel).frames
    return found * -(-LEAST // len(found))


def handled(channel: Channel, wire: list[bytes]) -> tuple[Pass, Any]:
    """A pass of each frame through the handler, and the exchange whose it is."""
    exchange: Any = getattr(ccxt.pro, _OF[channel])()
    natives = {_native(orjson.loads(frame)["data"]) for frame in wire}
    exchange.set_markets([exchange.safe_market_structure(_market(native, channel)) for native in sorted(natives)])
    client = Client(_URLS[_OF[channel]])
    if channel != "book":

        def run() -> None:
            for frame in wire:
                exchange.handle_message(client, orjson.loads(frame))

        return run, exchange
    for market in exchange.markets.values():
        levels = [[1 + number / 1_000, 1.0] for number in range(_LEVELS)]
        exchange.orderbooks[market["symbol"]] = exchange.order_book(
            {"bids": levels, "asks": [[price + 1, amount] for price, amount in levels], "nonce": 1}, _LEVELS
        )

    def run_books() -> None:
        books = exchange.orderbooks
        for frame in wire:
            message = orjson.loads(frame)
            data = message["data"]
            books[data["s"]]["nonce"] = data["U"] - 1  # so that it follows, in every pass
            exchange.handle_message(client, message)

    return run_books, exchange


def _native(data: Mapping[str, Any]) -> str:
    native: str = (data.get("o") if isinstance(data.get("o"), dict) else data)["s"]  # type: ignore[index]
    return native


def _market(native: str, channel: Channel) -> dict[str, Any]:
    swap = _OF[channel] == "binanceusdm"
    return {
        "id": native,
        "lowercaseId": native.lower(),
        "symbol": native,
        "base": native,
        "quote": "X",
        "active": True,
        "type": "swap" if swap else "spot",
        "spot": not swap,
        "swap": swap,
        "contract": swap,
        "linear": swap,
        "option": False,
        "inverse": False,
        "contractSize": 1.0 if swap else None,
    }


def done(exchange: Any, channel: Channel) -> bool:
    """Whether the handler did its work: every instrument has what the channel brings."""
    if channel == "book":
        return all(book["nonce"] > 1 for book in exchange.orderbooks.values())
    if channel == "liquidations":
        return bool(exchange.liquidations)
    caches = {"trades": exchange.trades, "candles": exchange.ohlcvs, "quotes": exchange.bidsasks}
    return set(caches.get(channel, exchange.tickers)) == set(exchange.markets)


def _figure(channel: Channel, bench: Bench) -> Iterator[Figure]:
    wire = frames(channel)
    run, exchange = handled(channel, wire)
    pairs, note = compare(bench, wire, run)
    assert done(exchange, channel), "the handler passed the frames over"
    yield Figure(key("ccxt", channel), pairs.cost, note=f"{note}; {_OF[channel]}'s frames, ccxt {ccxt.pro.__version__}")


for _channel in _OF:
    GROUP.measures(key("ccxt", _channel))(partial(_figure, _channel))
