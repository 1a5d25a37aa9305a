"""What shows how each venue speaks: frames of every channel, and half a minute of it where that was recorded.

The conformance test, the benchmarks and the table of docs/reference/venues.md take their frames from here. A new venue
adds one entry to `VENUES`.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct

from ingest.exchanges import ADAPTERS, adapter_of
from ingest.exchanges.adapter import Adapter, Options
from ingest.records import Channel, Instrument
from tests.exchanges import test_binance as binance
from tests.exchanges import test_binanceusdm as binanceusdm
from tests.exchanges import test_bybit as bybit
from tests.exchanges import test_coinbase as coinbase
from tests.exchanges import test_kraken as kraken
from tests.exchanges import test_okx as okx
from tests.exchanges.coinbase_today import PRODUCTS, reframed
from tests.exchanges.kraken_v2 import messages
from tests.exchanges.recordings import FOLDER, lines, recording


class Sample(Struct, frozen=True):
    """Frames of one channel of one instrument, in the order of a connection, as the venue's pages print them.

    `snapshot` is a REST reply with the book that they continue, where the stream sends none.
    """

    channel: Channel
    instrument: Instrument
    frames: tuple[bytes, ...]
    snapshot: bytes | None = None


class Step(Struct, frozen=True):
    """A frame that was received, or (with its `url`) a REST reply."""

    time_ns: int
    payload: bytes
    url: str = ""


class Recording(Struct, frozen=True):
    """One connection, with the REST replies in between."""

    file: str
    instruments: tuple[Instrument, ...]
    channels: tuple[Channel, ...]  # of which it holds frames
    steps: Callable[[], Iterator[Step]]
    checksums: int  # messages whose book is verified by one
    options: Options = Options()

    @property
    def present(self) -> bool:
        return (FOLDER / "streams" / self.file).exists()


class Message(Struct, frozen=True):
    """What one subscription may hold: of arguments, by the kind of its instruments, and of bytes.

    By the venue's page where it says so (Bybit, OKX), else what is ours.
    """

    arguments: Mapping[str, int]
    size: int


class Venue(Struct, frozen=True):
    adapter: type[Adapter]
    now_ns: int  # when the samples were received
    message: Message
    samples: tuple[Sample, ...]
    recordings: tuple[Recording, ...] = ()

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """One of each kind that the adapter translates."""
        return tuple({sample.instrument.kind: sample.instrument for sample in self.samples}.values())


def ids(venue: type[Adapter], instruments: Iterable[Instrument]) -> dict[str, int]:
    """Numbers for the instruments, as an adapter is given them."""
    return {venue.key(instrument): number for number, instrument in enumerate(instruments, 1)}


def _json(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _spot(exchange: str, native: str, base: str, quote: str) -> Instrument:
    return Instrument(exchange, f"{base}/{quote}", native, "spot", base, quote)


# Binance spot


def _binance() -> Venue:
    bnb, usdt = binance.stream("BNBBTC", "trades").instrument, binance.stream("BNBUSDT", "trades").instrument
    depth = {"lastUpdateId": 156, "bids": [["0.0023", "7"]], "asks": [["0.0027", "9.5"]]}

    def sample(channel: Channel, topic: str, *data: dict[str, Any], of: Instrument = bnb, **more: Any) -> Sample:
        name = f"{of.native.lower()}@{topic}"
        return Sample(channel, of, tuple(_json({"stream": name, "data": each}) for each in data), **more)

    return Venue(
        ADAPTERS["binance"],
        binance.NOW_NS,
        Message({"spot": 200}, 16_384),
        (
            sample("trades", "trade", binance.TRADE, binance.TRADE | {"t": 12346}),
            sample("candles", "kline_1m", binance.KLINE),
            sample(
                "book",
                "depth@100ms",
                binance.DEPTH,
                binance.DEPTH | {"U": 161, "u": 161, "b": [["0.0024", "0"]]},
                snapshot=_json(depth),
            ),
            sample("quotes", "bookTicker", binance.BOOK_TICKER, of=usdt),
            sample("ticker", "ticker", binance.TICKER),
        ),
        (
            Recording(
                "BINANCE.ws.1.0.gz",
                tuple(_spot("binance", base + quote, base, quote) for base, quote in (
                    ("NKN", "USDT"), ("BLZ", "ETH"), ("LRC", "BTC"), ("RUNE", "EUR"),
                )),
                ("trades", "book", "quotes"),
                lambda: _traffic("BINANCE.ws.1.0.gz", "BINANCE.http.0.0.gz"),
                0,
                Options(trade_stream="aggTrade"),
            ),
        ),
    )  # fmt: skip


def _traffic(*names: str) -> Iterator[Step]:
    """What was received, in the order of time."""
    found = [Step(line.time_ns, line.text.encode(), line.url) for name in names for line in lines(recording(name))
             if line.mark in ("", "->")]  # fmt: skip
    yield from sorted(found, key=lambda step: step.time_ns)


# Binance USDⓈ-M


def _binanceusdm() -> Venue:
    def sample(channel: Channel, topic: str, *data: dict[str, Any], native: str = "BTCUSDT", **more: Any) -> Sample:
        name = f"{native.lower()}@{topic}"
        frames = tuple(_json({"stream": name, "data": each}) for each in data)
        return Sample(channel, binanceusdm.instrument(native), frames, **more)

    module = binanceusdm
    return Venue(
        ADAPTERS["binanceusdm"],
        module.NOW_NS,
        Message({"swap": 200}, 16_384),
        (
            sample("trades", "aggTrade", module.AGG_TRADE, module.AGG_TRADE | {"a": 5933015}),
            sample("candles", "kline_1m", module.KLINE),
            sample("book", "depth@100ms", *module.chain(12), snapshot=_json(module.DEPTH_REPLY)),
            sample("quotes", "bookTicker", module.BOOK_TICKER, native="BNBUSDT"),
            sample("ticker", "ticker", module.TICKER),
            sample("mark_price", "markPrice@1s", module.MARK_PRICE),
            sample("funding", "markPrice@1s", module.MARK_PRICE),
            sample("liquidations", "forceOrder", module.FORCE_ORDER),
        ),
    )


# Bybit


def _bybit() -> Venue:
    module, linear, spot = bybit, bybit.LINEAR_BTC, bybit.SPOT_BTC
    rose = Instrument("bybit", "ROSE/USDT:USDT", "ROSEUSDT", "swap", "ROSE", "USDT", "USDT")
    snapshot = module.SNAPSHOT
    change = snapshot["data"] | {"u": snapshot["data"]["u"] + 1, "seq": snapshot["data"]["seq"] + 9,
                                 "b": [["16493.00", "0"]], "a": []}  # fmt: skip
    delta = snapshot | {"type": "delta", "data": change}
    of_both: tuple[tuple[Any, ...], ...] = (
        ("candles", module.KLINE), ("book", snapshot, delta), ("quotes", module.BEST),
    )  # fmt: skip
    figures: tuple[Channel, ...] = ("ticker", "funding", "open_interest", "mark_price")
    told = ({"lastPrice": "66666.70"}, {"fundingRate": "0.0001"}, {"openInterest": "1.5"}, {"markPrice": "66.5"})
    news = {
        channel: module.TICKER | {"type": "delta", "data": {"symbol": "BTCUSDT", **said}}
        for channel, said in zip(figures, told, strict=True)
    }
    return Venue(
        ADAPTERS["bybit"],
        module.NOW_NS,
        Message({"spot": 10, "swap": 100}, 21_000),
        (
            Sample("trades", spot, (_json(module.SPOT_TRADES),)),
            Sample("ticker", spot, (_json(module.SPOT_TICKER),)),
            *(
                Sample(channel, of, tuple(map(_json, frames)))
                for of in (spot, linear)
                for channel, *frames in of_both
            ),
            Sample("trades", linear, (_json(module.TRADE),)),
            *(Sample(channel, linear, (_json(module.TICKER), _json(news[channel]))) for channel in figures),
            Sample("liquidations", rose, (_json(module.LIQUIDATION),)),
        ),
    )  # fmt: skip


# OKX


def _okx() -> Venue:
    module, of = okx, okx.INSTRUMENTS
    spot, swap, future = of["BTC-USDT"], of["BTC-USDT-SWAP"], of["LTC-USD-190628"]
    book, change = module.BOOK, module.CHANGE | {"bids": [["8476.97", "0", "0", "0"]], "asks": []}

    def sample(channel: Channel, topic: str, instrument: Instrument, *rows: Any) -> Sample:
        named = [row | {"instId": instrument.native} if isinstance(row, dict) and "instId" in row else row
                 for row in rows]  # fmt: skip
        return Sample(channel, instrument, (module.frame(topic, *named, native=instrument.native),))

    def books(instrument: Instrument) -> Sample:
        frames = (("snapshot", book), ("update", change))
        told = tuple(module.frame("books", row, native=instrument.native, action=action) for action, row in frames)
        return Sample("book", instrument, told)

    everywhere = [
        each
        for instrument in (spot, swap, future)
        for each in (
            sample("trades", "trades-all", instrument, module.TRADE),
            sample("candles", "candle1m", instrument, module.CANDLE),
            books(instrument),
            sample("quotes", "bbo-tbt", instrument, module.BBO),
            sample("ticker", "tickers", instrument, module.TICKER),
        )
    ]
    contracts = [
        each
        for instrument in (swap, future)
        for each in (
            sample("open_interest", "open-interest", instrument, module.OPEN_INTEREST),
            sample("mark_price", "mark-price", instrument, module.MARK),
            Sample("liquidations", instrument, (_liquidation(instrument),)),
        )
    ]
    return Venue(
        ADAPTERS["okx"],
        module.NOW_NS,
        Message({"spot": 200, "swap": 200, "future": 200}, 65_536),
        (*everywhere, *contracts, sample("funding", "funding-rate", swap, module.FUNDING)),
        (
            Recording(
                "OKX.ws.1.0.gz",
                (
                    _spot("okx", "BTC-USDT", "BTC", "USDT"),
                    Instrument("okx", "UNI/USD:UNI", "UNI-USD-SWAP", "swap", "UNI", "USD", "UNI"),
                    Instrument("okx", "BTC/USD:BTC-220527", "BTC-USD-220527", "future", "BTC", "USD", "BTC"),
                ),
                ("trades", "book", "ticker"),
                lambda: _traffic("OKX.ws.1.0.gz"),
                290,
            ),
        ),
    )


def _liquidation(instrument: Instrument) -> bytes:
    row = okx.LIQUIDATION | {"instId": instrument.native}
    kind = {"swap": "SWAP", "future": "FUTURES"}[instrument.kind]
    return _json({"arg": {"channel": "liquidation-orders", "instType": kind}, "data": [row]})


# Kraken


def _kraken() -> Venue:
    btc, algo = kraken.instrument(), kraken.stream("ALGO/USD", "ticker").instrument
    levels = kraken.pairs(kraken.LEVELS_OF_THE_GUIDE)
    bids, asks = (" ".join(map(" ".join, side)) for side in (levels[:10], levels[10:]))
    best, *others = levels[:10]
    changed = _crc([(best[0], "0.20000000"), *others], levels[10:])
    frames = (
        kraken.book(bids, asks, crc=3310070434, kind="snapshot"),
        kraken.book(f"{best[0]} 0.20000000", "", crc=changed),
        kraken.book(f"{best[0]} {best[1]}", "", crc=3310070434),
    )
    pairs = ("WAVES/EUR", "XMR/USD", "KSM/BTC", "GRT/ETH", "SC/EUR", "ETH/CHF", "OCEAN/BTC", "OMG/USD", "BTC/CHF",
             "ADA/BTC")  # fmt: skip
    books, trades = "KRAKEN.ws.50.0.gz", "KRAKEN.ws.48.0.gz"
    instruments = tuple(_spot("kraken", pair, *pair.split("/")) for pair in pairs)
    return Venue(
        ADAPTERS["kraken"],
        kraken.NOW_NS,
        Message({"spot": 100}, 16_384),
        (
            Sample("trades", btc, (kraken.trade(), kraken.trade(trade_id="4665847"))),
            Sample("candles", btc, (kraken.ohlc(-1, kind="snapshot"), kraken.ohlc(0), kraken.ohlc(1))),
            Sample("book", btc, frames),
            Sample("quotes", algo, (kraken.ticker(),)),
            Sample("ticker", algo, (kraken.ticker(),)),
        ),
        (
            Recording(books, instruments, ("book",), lambda: _kraken_steps(books), 4_279, Options(book_depth=1000)),
            Recording(trades, instruments, ("trades",), lambda: _kraken_steps(trades), 0),
        ),
    )


def _kraken_steps(file: str) -> Iterator[Step]:
    """The snapshots of old had no checksum: they get that of their best levels, which come first."""
    for message in messages(file):
        crc = message.checksum or (_crc(message.bids[:10], message.asks[:10]) if message.kind == "snapshot" else 0)
        yield Step(message.time_ns, message.frame(crc))


def _crc(bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> int:
    """https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2, apart from the adapter."""
    return zlib.crc32("".join(n.replace(".", "").lstrip("0") for level in (*asks, *bids) for n in level).encode())


# Coinbase


def _coinbase() -> Venue:
    btc = coinbase.instrument("BTC-USD")
    change = coinbase.change
    sides = [change("bid", "68900.00", "1.5"), change("bid", "68899.5", "0.75"), change("offer", "68901.00", "0.5")]
    newer = coinbase.TRADE | {"trade_id": "929248664"}
    return Venue(
        ADAPTERS["coinbase"],
        coinbase.NOW_NS,
        Message({"spot": 100}, 16_384),
        (
            Sample("trades", btc, (coinbase.trades(0, coinbase.TRADE), coinbase.trades(1, newer))),
            Sample(
                "book",
                btc,
                (coinbase.level2(0, "snapshot", *sides), coinbase.level2(1, "update", change("bid", "68900.00", "0"))),
            ),
            Sample("quotes", btc, (coinbase.ticks(0, coinbase.TICK),)),
            Sample("ticker", btc, (coinbase.ticks(0, coinbase.TICK),)),
        ),
        (
            Recording(
                "COINBASE.ws.28.0.gz",
                tuple(_spot("coinbase", product, *product.split("-")) for product in PRODUCTS),
                ("trades", "book", "quotes", "ticker"),
                lambda: (Step(framed.time_ns, framed.frame) for framed in reframed()),
                0,
            ),
        ),
    )


# Any other exchange: the frames that our session writes of what ccxt gives


def _gate() -> Venue:
    spot = _spot("gate", "BTC_USDT", "BTC", "USDT")
    swap = Instrument("gate", "BTC/USDT:USDT", "BTC_USDT", "swap", "BTC", "USDT", "USDT")
    ms = 1_630_994_940_000

    def sample(of: Instrument, channel: Channel, *frames: dict[str, Any]) -> Sample:
        return Sample(channel, of, tuple(_json({"channel": channel, "symbol": of.symbol} | frame) for frame in frames))

    def each(of: Instrument) -> tuple[Sample, ...]:
        best = {"bid": "52648.60", "bid_amount": "0.10", "ask": "52648.7", "ask_amount": "0.5"}
        day = {"open": None, "high": "53000.0", "low": "50100", "volume": "120.5000", "quote_volume": "6300000"}
        return (
            sample(
                of,
                "trades",
                {"rows": [["5001", ms + 1, "buy", "52648.62", "0.00000001"]]},
                {"rows": [["5002", ms + 2, "sell", "52648.6", "1"], ["5003", ms + 2, None, "52648.61", "2.50"]]},
            ),
            sample(
                of,
                "candles",
                {"rows": [[ms, "52600", "52650.5", "52599.90", "52648.6", "12.30"]]},
                {"rows": [[ms + 60_000, "52649", "52649", "52649", "52649", "0.1"]]},
            ),
            sample(
                of,
                "book",
                {"time": ms, "nonce": 71, "bids": [["52648.6", "0.1"]], "asks": [["52648.7", "2"], ["52649", "1"]]},
                {"time": ms + 90, "nonce": 72, "bids": [["52648.60", "0.30"]], "asks": [["52649", "1"]]},
            ),
            sample(of, "quotes", {"time": ms, **best}),
            sample(of, "ticker", {"time": ms, "last": "52648.62", **best, **day}),
        )

    return Venue(
        adapter_of("gate"),
        (ms + 120_000) * 1_000_000,
        Message({"spot": 100, "swap": 100}, 16_384),
        (*each(spot), *each(swap)),
    )


VENUES: dict[str, Callable[[], Venue]] = {
    "binance": cache(_binance),
    "binanceusdm": cache(_binanceusdm),
    "bybit": cache(_bybit),
    "coinbase": cache(_coinbase),
    "kraken": cache(_kraken),
    "okx": cache(_okx),
}

THROUGH_CCXT: dict[str, Callable[[], Venue]] = {"gate": cache(_gate)}
"""One for all that have no adapter of their own."""
