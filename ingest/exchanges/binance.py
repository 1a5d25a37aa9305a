"""Binance spot, natively.

Wire rules, with the pages that state them:

- streams, payloads, limits: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
- REST, weights: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
- microseconds: `timeUnit=MICROSECOND` on the stream's URL, the header `X-MBX-TIME-UNIT` on REST

Every time is taken in microseconds, so that a trade has one time whether it comes by stream, REST or dump.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import cast
from urllib.parse import urlencode

import msgspec
import orjson

from ingest.clock import MICROSECOND, MINUTE
from ingest.errors import Rejected
from ingest.exchanges import binance_rest as rest
from ingest.exchanges import binance_wire as wire
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

# The hosts that carry market data alone: they ask for no key and are open where the trading hosts are not.
REST_URL = "https://data-api.binance.vision"
HISTORY_URL = "https://api.binance.com"  # historicalTrades is not among what the market-data host serves
WS_URL = "wss://data-stream.binance.vision"

# Names of this module are found faster than attributes of another one, and these are looked up for every frame.
_decode_combined, _trade, _candle = wire.decode_combined, wire.trade, wire.candle
_KlineFrame, _DepthFrame = wire.KlineFrame, wire.DepthFrame
_STREAM, _OPEN = CandleSource.STREAM, CandleSource.OPEN

_STREAM_NAME_MAX = wire.STREAM_NAME_MAX

_HEADERS = (("X-MBX-TIME-UNIT", "MICROSECOND"),)
_PATHS = ("depth", "klines", "historicalTrades", "aggTrades")

_TOPICS: dict[Channel, str] = {
    "candles": "kline_1m",
    "book": "depth@100ms",
    "quotes": "bookTicker",
    "ticker": "ticker",
}
_CHANNELS: dict[str, Channel] = {
    "trade": "trades",
    "aggTrade": "trades",
    **{topic: channel for channel, topic in _TOPICS.items()},
}
_CHANNELS_OFFERED: tuple[Channel, ...] = ("trades", *_TOPICS)
_ID_SPACES: dict[Channel, str] = {"candles": "minute", "book": "update", "quotes": "update", "ticker": "time"}

_SHUTDOWN = (Shutdown(),)
_OPEN_CANDLE = (Ignored("candle: still open"),)
_ONE_SIDED = (Ignored("quote: a side of the book is empty"),)
_OTHER_INTERVAL = (wire.OTHER_INTERVAL,)
_PARTIAL_DEPTH = (Ignored("partial depth: channel not collected"),)  # of 5, 10 or 20 levels, and of no symbol
_ROLLING = ("1hTicker", "4hTicker", "1dTicker")
_NOT_COLLECTED = ("24hrMiniTicker", "avgPrice", "referencePrice", "blockTrade", *_ROLLING)
_OF_ALL_MARKETS = ("24hrMiniTicker", "24hrTicker", *_ROLLING)


class Binance(Adapter):
    """Translator for one connection to Binance spot. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "binance"
    limits = Limits(
        streams_per_connection=1024,
        messages_per_second=5,
        connections_per_window=300,
        connection_window_seconds=300,
        connection_lifetime_seconds=24 * 3600,
        weight_per_minute=6000,
        trades_page=1000,
        candles_page=1000,
        daily_dumps=("spot",),
    )
    promises: Mapping[Channel, Promise] = {
        "trades": "ids",  # of one symbol, for `t` and for `a` alike
        "candles": "grid",
        "book": "sequence",
        "quotes": "none",
        "ticker": "none",
    }

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by native symbol; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._history_url = (options.rest_url or HISTORY_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._trade_stream = options.trade_stream
        self._trade_type: type = wire.TradeFrame if options.trade_stream == "trade" else wire.AggTradeFrame
        self._quoting = False
        self._include_open = options.include_open_candles

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        return _CHANNELS_OFFERED if instrument.kind in self.kinds else ()

    def id_space(self, channel: Channel) -> str:
        return self._trade_stream if channel == "trades" else _ID_SPACES[channel]

    # Connecting

    def url(self, streams: Sequence[Stream]) -> str:
        """The documented form names a stream in the URL; `subscribe` names them all: only that is acknowledged."""
        return f"{self._ws_url}/stream?streams={self._topic(streams[0])}&timeUnit=MICROSECOND"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        self._quoting = any(stream.channel == "quotes" for stream in streams)
        return wire.subscriptions({self._topic(stream): (stream,) for stream in streams}, first_request_id)

    def _topic(self, stream: Stream) -> str:
        topic = self._trade_stream if stream.channel == "trades" else _TOPICS[stream.channel]
        return f"{stream.instrument.native.lower()}@{topic}"

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Translate a combined (`{"stream":…,"data":…}`) or raw frame; see `Adapter.decode`."""
        try:
            try:
                if self._quoting and frame.find(b"@bookTicker", 0, _STREAM_NAME_MAX) > 0:  # it names no event type
                    return self._quote(wire.decode_combined_quote(frame).data, received_ns)
                data = _decode_combined(frame).data
            except msgspec.ValidationError:  # raw, an acknowledgement, not collected, or wrong: rare, so it may be slow
                return self._decode_other(frame, received_ns)
            if type(data) is self._trade_type:
                return (_trade(self._ids[data.s], data, received_ns),)  # type: ignore[arg-type]  # told by its class
            if type(data) is _KlineFrame:
                return self._kline(data, received_ns)
            return self._event(data, received_ns)
        except KeyError as error:
            raise Rejected(f"unknown symbol: {error}") from error
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and name the field
            raise Rejected(f"malformed frame: {error}") from error

    def _event(self, data: wire.Frame, received_ns: int) -> Sequence[Event]:
        if type(data) is _KlineFrame:
            return self._kline(data, received_ns)
        if type(data) is _DepthFrame:
            if data.U > data.u:
                raise Rejected(f"depthUpdate: ids U={data.U}, u={data.u}")
            time_ns = wire.time_ns(data.E, received_ns)
            return (BookDelta(self._ids[data.s], data.U, data.u, None, data.b, data.a, time_ns, received_ns),)
        if isinstance(data, wire.TickerFrame):
            return (wire.ticker(self._ids[data.s], data, received_ns),)
        kind = data.__class__
        if kind is self._trade_type:
            return (_trade(self._ids[data.s], cast("wire.TradeFrame", data), received_ns),)
        return (Ignored(f"{kind.__struct_config__.tag}: trade_stream is {self._trade_stream!r}"),)

    def _quote(self, data: wire.QuoteFrame, received_ns: int) -> Sequence[Event]:
        """The wire gives no time, so it is the time of receipt, cut to microseconds."""
        quote = wire.quote(self._ids[data.s], data, received_ns - received_ns % MICROSECOND, received_ns)
        return _ONE_SIDED if quote is None else (quote,)

    def _kline(self, data: wire.KlineFrame, received_ns: int) -> Sequence[Event]:
        kline = data.k
        if kline.i != "1m":
            return _OTHER_INTERVAL
        if not kline.x and not self._include_open:
            return _OPEN_CANDLE
        source = _STREAM if kline.x else _OPEN
        return (_candle(self._ids[data.s], kline, source, received_ns),)

    def _decode_other(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = orjson.loads(frame)
        data = message.get("data", message) if isinstance(message, dict) else message
        if isinstance(data, list):
            return (wire.of_all_markets(data, _OF_ALL_MARKETS),)
        if not isinstance(data, dict):
            raise Rejected("the frame is not an object")
        event = data.get("e")
        if event in wire.TAGS:
            return self._event(msgspec.convert(data, wire.Frame), received_ns)
        if event == "serverShutdown":
            return _SHUTDOWN
        if event in _NOT_COLLECTED:
            return (Ignored(f"{event}: channel not collected"),)
        if event is None and not data.keys().isdisjoint("bBaA"):
            return self._quote(msgspec.convert(data, wire.QuoteFrame), received_ns)
        if event is None and not data.keys().isdisjoint(("result", "error", "code")):
            return (wire.ack(msgspec.convert(data, wire.Answer)),)
        if event is None and data.keys() >= {"lastUpdateId", "bids", "asks"}:
            return _PARTIAL_DEPTH
        raise Rejected(f"unknown event: {str(event)[:40]!r}")

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        symbol, topic = wire.named(frame) or ("", "")
        instrument_id, channel = self._ids.get(symbol), _CHANNELS.get(topic)
        return None if instrument_id is None or channel is None else (instrument_id, channel)

    # The book: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        if delta.last <= sequence:
            return None
        return delta.first <= sequence + 1

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        levels, weight = _snapshot_size(depth)
        return self._request("depth", weight, symbol=instrument.native, limit=levels)

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        levels, _ = _snapshot_size(depth)
        return rest.book_state(body, instrument_id, levels, received_ns)

    # REST history

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        asked = rest.asked(url, _PATHS, self._ids, limit=100)
        if isinstance(asked, Ignored):
            return (asked,)
        instrument_id = asked.instrument_id
        if asked.path == "depth":
            return (rest.book_state(body, instrument_id, asked.limit, received_ns),)
        if asked.path == "klines":
            source, as_of_ns = CandleSource.REST, received_ns - MINUTE
            found = self.decode_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)
            return self.rows(*found, received_ns)
        return self.rows(*self.decode_trades(body, instrument_id, received_ns), received_ns)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        start = {} if start_ns is None else {"startTime": start_ns // MICROSECOND}
        return self._request("klines", 2, symbol=instrument.native, interval="1m", limit=min(limit, 1000), **start)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        return rest.closed_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)

    def latest_trade_request(self, instrument: Instrument) -> Request:
        """Of aggregates the latest itself; of single trades the 24-hour ticker, which is cheaper and names the last."""
        if self._trade_stream == "aggTrade":
            return self._request("aggTrades", 4, symbol=instrument.native, limit=1)
        return self._request("ticker/24hr", 2, symbol=instrument.native)

    def decode_latest_trade(self, body: bytes) -> int | None:
        return rest.latest_trade(body)

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        path, weight = ("aggTrades", 4) if self._trade_stream == "aggTrade" else ("historicalTrades", 25)
        return self._request(path, weight, symbol=instrument.native, fromId=start or 0, limit=min(limit, 1000))

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        def make(reply: wire.TradeReply | wire.AggTradeReply) -> Trade:
            return wire.trade(instrument_id, reply, received_ns)

        if self._trade_stream == "aggTrade":
            return rest.rows(body, rest.decode_agg_trade, make)
        return rest.rows(body, rest.decode_trade, make)

    def _request(self, path: str, weight: int, **params: str | int) -> Request:
        host = self._history_url if path == "historicalTrades" else self._rest_url
        return Request(f"{host}/api/v3/{path}?{urlencode(params)}", weight, _HEADERS)


def _snapshot_size(depth: int) -> tuple[int, int]:
    """(levels, weight) of the REST snapshot for a book of `depth`: four times as deep at least, so that it lasts."""
    return (1000, 50) if depth <= 250 else (5000, 250)
