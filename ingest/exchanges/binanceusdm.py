"""Binance USDⓈ-M futures (perpetuals), natively.

Wire rules, with the pages that state them, below
https://developers.binance.com/docs/derivatives/usds-margined-futures/ :

- two addresses, `/public` for depth and bookTicker and `/market` for the rest; a stream that is asked for at the other
  one is acknowledged and never comes: websocket-market-streams/Important-WebSocket-Change-Notice
- 1024 streams a connection, 10 messages a second, 24 hours; the venue pings: websocket-market-streams/Connect
- payloads: websocket-market-streams/Aggregate-Trade-Streams, …/Diff-Book-Depth-Streams, …/Mark-Price-Stream and so on
- books by `pu`: websocket-market-streams/How-to-manage-a-local-order-book-correctly
- REST and its weights: market-data/rest-api/Compressed-Aggregate-Trades-List, …/Order-Book, …/Kline-Candlestick-Data,
  …/Open-Interest; 2400 a minute: general-info

Trades are aggregates (`aggTrade`), whose ids `a` have no holes and are asked for again without a key: up to a year
back. `@trade` is not documented and mixes in fills of the insurance fund. Of liquidations the venue shows one a second
and symbol, so they are never complete. Every time is in milliseconds, by stream, REST and dump alike.
"""

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import quote, urlencode

import msgspec
import orjson

from ingest.clock import MILLISECOND, MINUTE
from ingest.errors import Rejected
from ingest.exchanges import binance_rest as rest
from ingest.exchanges import binance_wire as spot
from ingest.exchanges import binanceusdm_wire as wire
from ingest.exchanges.adapter import Adapter, Bad, Event, Ignored, Limits, Options, Request, Shutdown, Subscription
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Instrument,
    Promise,
    Stream,
    Trade,
)

REST_URL = "https://fapi.binance.com"
WS_URL = "wss://fstream.binance.com"

# Names of this module are found faster than attributes of another one, and these are looked up for every frame.
_decode_combined, _trade, _delta, _quote = wire.decode_combined, spot.trade, wire.delta, spot.quote
_AggTradeFrame, _DepthFrame, _QuoteFrame = spot.AggTradeFrame, wire.DepthFrame, wire.QuoteFrame
_time_ns = spot.time_ns

_BOOK_LEVELS = 1000  # the most there is: a book of 500 is asked for twice as cheaply, and four times as often
_OPEN_INTEREST_SECONDS = 60.0
_PATHS = ("depth", "klines", "aggTrades", "openInterest")
_PUBLIC: tuple[Channel, ...] = ("book", "quotes")

_MARK_PRICE = "markPrice@1s"
_TOPICS: dict[Channel, str] = {
    "trades": "aggTrade",
    "candles": "kline_1m",
    "book": "depth@100ms",
    "quotes": "bookTicker",
    "ticker": "ticker",
    "mark_price": _MARK_PRICE,
    "funding": _MARK_PRICE,
    "liquidations": "forceOrder",
}
_CHANNELS: dict[str, Channel] = {topic: channel for channel, topic in _TOPICS.items() if channel != "funding"}
_CHANNELS_OFFERED: tuple[Channel, ...] = (*_TOPICS, "open_interest")
_ID_SPACES: dict[Channel, str] = {"trades": "aggTrade", "candles": "minute", "book": "update", "quotes": "update"}

_SHUTDOWN = (Shutdown(),)
_OPEN_CANDLE = (Ignored("candle: still open"),)
_OTHER_INTERVAL = (spot.OTHER_INTERVAL,)
_ONE_SIDED = (Ignored("quote: a side of the book is empty"),)
_UNFILLED = (Ignored("liquidation: nothing is filled yet"),)
_NOTHING_ASKED = (Ignored("markPriceUpdate: nothing in it is subscribed"),)
_SINGLE_TRADE = (Ignored("trade: not documented, and mixed with fills of the insurance fund"),)
_OTHER_DEPTH = (Ignored("depthUpdate: not the changes of the whole book"),)
_NOT_COLLECTED = (
    *("24hrMiniTicker", "continuous_kline", "compositeIndex", "contractInfo", "assetIndexUpdate"),
    *("EquityUpdate", "CommodityUpdate"),  # of `tradingSession`
)
_OF_ALL_MARKETS = ("24hrMiniTicker", "24hrTicker", "markPriceUpdate", "assetIndexUpdate")


class BinanceUsdm(Adapter):
    """Translator for one connection to Binance USDⓈ-M futures. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "binanceusdm"
    kinds = ("swap",)
    limits = Limits(
        streams_per_connection=1024,
        messages_per_second=10,
        connections_per_window=300,  # none is stated: spot's
        connection_window_seconds=300,
        connection_lifetime_seconds=24 * 3600,
        weight_per_minute=2400,
        trades_page=1000,
        candles_page=1000,
        daily_dumps=("swap",),
    )
    promises: Mapping[Channel, Promise] = {
        "trades": "ids",
        "candles": "grid",
        "book": "sequence",
        "quotes": "none",
        "ticker": "none",
        "mark_price": "none",
        "funding": "none",
        "liquidations": "none",
        "open_interest": "none",
    }

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`options.trade_stream` is spot's: here trades are aggregates always."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._include_open = options.include_open_candles
        self._subscribed: frozenset[tuple[int, Channel]] | None = None  # None: to whatever a recording holds

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        return _CHANNELS_OFFERED if instrument.kind in self.kinds else ()

    def polled(self, instrument: Instrument) -> Mapping[Channel, float]:
        return {"open_interest": _OPEN_INTEREST_SECONDS}

    def id_space(self, channel: Channel) -> str:
        return _ID_SPACES.get(channel, "time")

    # Connecting

    def group(self, stream: Stream) -> str:
        """Which of the venue's two addresses has it."""
        return "public" if stream.channel in _PUBLIC else "market"

    def url(self, streams: Sequence[Stream]) -> str:
        """The documented form names a stream in the URL; `subscribe` names them all: only that is acknowledged."""
        topic = quote(_topic(streams[0]), safe="@")  # there are symbols beyond ASCII
        return f"{self._ws_url}/{self.group(streams[0])}/stream?streams={topic}"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Mark price and funding are one topic, which is asked for once and acknowledges both."""
        self._subscribed = frozenset((stream.instrument_id, stream.channel) for stream in streams)
        topics: dict[str, list[Stream]] = {}
        for stream in streams:
            topics.setdefault(_topic(stream), []).append(stream)
        return spot.subscriptions(topics, first_request_id)

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Translate a combined (`{"stream":…,"data":…}`) or raw frame; see `Adapter.decode`."""
        try:
            try:
                data = _decode_combined(frame).data
            except msgspec.ValidationError:  # raw, an acknowledgement, not collected, or wrong: rare, so it may be slow
                return self._decode_other(frame, received_ns)
            kind = type(data)
            if kind is _AggTradeFrame:
                return (_trade(self._ids[data.s], data, received_ns),)  # type: ignore[arg-type, union-attr]
            if kind is _QuoteFrame:
                return self._quote(data, received_ns)  # type: ignore[arg-type]
            return self._event(data, frame, received_ns)
        except KeyError as error:
            raise Rejected(f"unknown symbol: {error}") from error
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and name the field
            raise Rejected(f"malformed frame: {error}") from error

    def _event(self, data: wire.Frame, frame: bytes, received_ns: int) -> Sequence[Event]:
        if isinstance(data, _AggTradeFrame):
            return (_trade(self._ids[data.s], data, received_ns),)
        if isinstance(data, _QuoteFrame):
            return self._quote(data, received_ns)
        if isinstance(data, _DepthFrame):
            if self._subscribed is None and b"@depth@" not in frame[:64] and wire.other_depth(frame):
                return _OTHER_DEPTH
            return (_delta(self._ids[data.s], data, received_ns),)
        if isinstance(data, spot.KlineFrame):
            return self._kline(data, received_ns)
        if isinstance(data, wire.MarkPriceFrame):
            return self._mark_price(data, received_ns)
        if isinstance(data, wire.TickerFrame):
            return (wire.ticker(self._ids[data.s], data, received_ns),)
        assert isinstance(data, wire.ForceOrderFrame)  # noqa: S101 - what is left of the union
        forced = wire.liquidation(self._ids[data.o.s], data.o, received_ns)
        return _UNFILLED if forced is None else (forced,)

    def _quote(self, data: wire.QuoteFrame, received_ns: int) -> Sequence[Event]:
        best = _quote(self._ids[data.s], data, _time_ns(data.T, received_ns), received_ns)
        return _ONE_SIDED if best is None else (best,)

    def _kline(self, data: spot.KlineFrame, received_ns: int) -> Sequence[Event]:
        kline = data.k
        if kline.i != "1m":
            return _OTHER_INTERVAL
        if not kline.x and not self._include_open:
            return _OPEN_CANDLE
        source = CandleSource.STREAM if kline.x else CandleSource.OPEN
        return (spot.candle(self._ids[data.s], kline, source, received_ns),)

    def _mark_price(self, data: wire.MarkPriceFrame, received_ns: int) -> Sequence[Event]:
        """One frame of two channels: what of them is subscribed."""
        instrument_id, subscribed, at_ns = self._ids[data.s], self._subscribed, _time_ns(data.E, received_ns)
        events: list[Event] = []
        if subscribed is None or (instrument_id, "mark_price") in subscribed:
            events.append(wire.mark_price(instrument_id, data, at_ns, received_ns))
        if subscribed is None or (instrument_id, "funding") in subscribed:
            funding = wire.funding(instrument_id, data, at_ns, received_ns)
            if funding is not None:
                events.append(funding)
        return events or _NOTHING_ASKED

    def _decode_other(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = orjson.loads(frame)
        data = message.get("data", message) if isinstance(message, dict) else message
        if isinstance(data, list):
            return (spot.of_all_markets(data, _OF_ALL_MARKETS),)
        if not isinstance(data, dict):
            raise Rejected("the frame is not an object")
        event = data.get("e")
        if event in wire.TAGS:
            return self._event(msgspec.convert(data, wire.Frame), frame, received_ns)
        if event == "trade":
            return _SINGLE_TRADE
        if event == "serverShutdown":  # documented for spot
            return _SHUTDOWN
        if event in _NOT_COLLECTED:
            return (Ignored(f"{event}: channel not collected"),)
        if event is None and not data.keys().isdisjoint(("result", "error", "code")):
            return (spot.ack(msgspec.convert(data, spot.Answer)),)
        raise Rejected(f"unknown event: {str(event)[:40]!r}")

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        """A mark price is `mark_price`'s where that is subscribed, else `funding`'s."""
        symbol, topic = spot.named(frame) or ("", "")
        instrument_id, channel = self._ids.get(symbol), _CHANNELS.get(topic)
        if instrument_id is None or channel is None:
            return None
        subscribed = self._subscribed
        if channel == "mark_price" and subscribed is not None and (instrument_id, channel) not in subscribed:
            return instrument_id, "funding"
        return instrument_id, channel

    # The book

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """A frame holds all that changed after `pu`, up to `u`: it continues every state between the two.

        The page asks for `pu` to be the last frame's `u`, and of the first frame after a snapshot for U ≤ lastUpdateId
        ≤ u. Ids between `pu` and `U` belong to no change of this book, so a snapshot at one of them is continued too.
        """
        if delta.last <= sequence:
            return None
        return delta.previous is not None and delta.previous <= sequence

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._request("depth", 20, symbol=instrument.native, limit=_BOOK_LEVELS)

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        return rest.book_state(body, instrument_id, _BOOK_LEVELS, received_ns)

    # REST

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        asked = rest.asked(url, _PATHS, self._ids, limit=500)
        if isinstance(asked, Ignored):
            return (asked,)
        instrument_id = asked.instrument_id
        if asked.path == "depth":
            return (rest.book_state(body, instrument_id, asked.limit, received_ns),)
        if asked.path == "openInterest":
            return (wire.open_interest(instrument_id, asked.symbol, body, received_ns),)
        if asked.path == "klines":
            source, as_of_ns = CandleSource.REST, received_ns - MINUTE
            found = self.decode_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)
            return self.rows(*found, received_ns)
        return self.rows(*self.decode_trades(body, instrument_id, received_ns), received_ns)

    def poll_request(self, stream: Stream) -> Request:
        if stream.channel != "open_interest":
            raise LookupError(f"{self.exchange} polls no {stream.channel}")
        return self._request("openInterest", 1, symbol=stream.instrument.native)

    def decode_poll(self, stream: Stream, body: bytes, received_ns: int) -> Sequence[Event]:
        if stream.channel != "open_interest":
            raise LookupError(f"{self.exchange} polls no {stream.channel}")
        return (wire.open_interest(stream.instrument_id, stream.instrument.native, body, received_ns),)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        start = {} if start_ns is None else {"startTime": start_ns // MILLISECOND}
        limit = min(limit, 1000)
        weight = 1 if limit < 100 else 2 if limit < 500 else 5
        return self._request("klines", weight, symbol=instrument.native, interval="1m", limit=limit, **start)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        return rest.closed_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)

    def latest_trade_request(self, instrument: Instrument) -> Request:
        """The 24-hour ticker names the last single trade, whose ids are others."""
        return self._request("aggTrades", 20, symbol=instrument.native, limit=1)

    def decode_latest_trade(self, body: bytes) -> int | None:
        return rest.latest_trade(body)

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        return self._request("aggTrades", 20, symbol=instrument.native, fromId=start or 0, limit=min(limit, 1000))

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        return rest.rows(body, rest.decode_agg_trade, lambda reply: _trade(instrument_id, reply, received_ns))

    def _request(self, path: str, weight: int, **params: str | int) -> Request:
        return Request(f"{self._rest_url}/fapi/v1/{path}?{urlencode(params)}", weight)


def _topic(stream: Stream) -> str:
    return f"{stream.instrument.native.lower()}@{_TOPICS[stream.channel]}"
