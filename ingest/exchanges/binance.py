"""Binance spot, natively.

Wire rules, with the pages that state them:

- streams, payloads, limits: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
- REST, weights: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
- microseconds: `timeUnit=MICROSECOND` on the stream's URL, the header `X-MBX-TIME-UNIT` on REST

Every time is taken in microseconds, so that a trade has one time whether it comes by stream, REST or dump.
"""

from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import orjson
from msgspec import Struct, field

from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Event, Ignored, Limits, Options, Request, Shutdown, Subscription
from ingest.records import BookDelta, BookState, Candle, CandleSource, Channel, Instrument, Stream, Trade

# The hosts that carry market data alone: they ask for no key and are open where the trading hosts are not.
REST_URL = "https://data-api.binance.vision"
WS_URL = "wss://data-stream.binance.vision"

_HEADERS = (("X-MBX-TIME-UNIT", "MICROSECOND"),)
_STREAMS_PER_MESSAGE = 200
_EARLIEST_NS = 1_230_768_000 * SECOND  # 2009: before the first trade of any of this
_LATE_NS = 86_400 * SECOND  # a clock may be wrong by hours, not by more
_MICROSECONDS_FROM = 100_000_000_000_000  # as milliseconds the year 5138, as microseconds 1973
_INFINITY = float("inf")

_SHUTDOWN = (Shutdown(),)
_OPEN_CANDLE = (Ignored("candle: still open"),)
_OTHER_INTERVAL = (Ignored("candle: not 1m"),)


class _Trade(Struct, tag_field="e", tag="trade", gc=False):
    """`<symbol>@trade`. Names are the wire's; msgspec checks presence and types as it decodes."""

    s: str
    p: str
    q: str
    T: int
    m: bool
    id: int = field(name="t")


class _AggTrade(Struct, tag_field="e", tag="aggTrade", gc=False):
    s: str
    p: str
    q: str
    T: int
    m: bool
    id: int = field(name="a")


class _Depth(Struct, tag_field="e", tag="depthUpdate", gc=False):
    """`<symbol>@depth@100ms`: U and u are the first and last update id, b and a the changed bids and asks."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Kline(Struct, gc=False):
    """The `k` of `<symbol>@kline_1m`: times t, interval i, closed x, volumes v q (all) and V Q (taker bought)."""

    t: int
    i: str
    x: bool
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    q: str
    n: int
    V: str
    Q: str


class _KlineEvent(Struct, tag_field="e", tag="kline", gc=False):
    s: str
    k: _Kline


_Data = _Trade | _AggTrade | _Depth | _KlineEvent
_COLLECTED = ("trade", "aggTrade", "depthUpdate", "kline")


class _Combined(Struct, gc=False):
    data: _Data


class _DepthReply(Struct, gc=False):
    """`GET /api/v3/depth`."""

    lastUpdateId: int  # noqa: N815 - the wire's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _TradeReply(Struct, gc=False):
    """One of `GET /api/v3/historicalTrades`."""

    id: int
    p: str = field(name="price")
    q: str = field(name="qty")
    T: int = field(name="time")
    m: bool = field(name="isBuyerMaker")


class _AggTradeReply(Struct, gc=False):
    """One of `GET /api/v3/aggTrades`."""

    p: str
    q: str
    T: int
    m: bool
    id: int = field(name="a")


class _KlineReply(Struct, array_like=True, gc=False):
    """One of `GET /api/v3/klines`."""

    t: int
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    close_time: int
    q: str
    n: int
    V: str
    Q: str


_decode_combined = msgspec.json.Decoder(_Combined).decode
_decode_depth = msgspec.json.Decoder(_DepthReply).decode
_decode_klines = msgspec.json.Decoder(list[_KlineReply]).decode
_decode_trades = msgspec.json.Decoder(list[_TradeReply]).decode
_decode_agg_trades = msgspec.json.Decoder(list[_AggTradeReply]).decode


class Binance:
    """Translator for one connection to Binance spot. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "binance"
    limits = Limits(
        streams_per_connection=1024,
        messages_per_second=5,
        connections_per_window=300,
        connection_window_seconds=300,
        connection_lifetime_seconds=24 * 3600,
        weight_per_minute=6000,
    )
    contiguous_trade_ids = True  # of one symbol, for `t` and for `a` alike

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by native symbol; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._trade_stream = options.trade_stream
        self._trade_type: type = _Trade if options.trade_stream == "trade" else _AggTrade
        self._include_open = options.include_open_candles

    def id_space(self, channel: Channel) -> str:
        return {"trades": self._trade_stream, "candles": "minute", "book": "update"}[channel]

    # Connecting

    def url(self, streams: Sequence[Stream]) -> str:
        """The documented form names a stream in the URL; `subscribe` names them all: only that is acknowledged."""
        return f"{self._ws_url}/stream?streams={self._topic(streams[0])}&timeUnit=MICROSECOND"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        subscriptions: list[Subscription] = []
        for start in range(0, len(streams), _STREAMS_PER_MESSAGE):
            part = tuple(streams[start : start + _STREAMS_PER_MESSAGE])
            request_id = first_request_id + len(subscriptions)
            message = {"method": "SUBSCRIBE", "params": [self._topic(stream) for stream in part], "id": request_id}
            subscriptions.append(Subscription(request_id, orjson.dumps(message).decode(), part))
        return subscriptions

    def _topic(self, stream: Stream) -> str:
        suffix = {"trades": self._trade_stream, "candles": "kline_1m", "book": "depth@100ms"}[stream.channel]
        return f"{stream.instrument.native.lower()}@{suffix}"

    # Frames

    def decode(self, frame: bytes | str, received_ns: int) -> Sequence[Event]:
        """Translate a combined (`{"stream":…,"data":…}`) or raw frame; see `Adapter.decode`."""
        try:
            try:
                data = _decode_combined(frame).data
            except msgspec.ValidationError:
                data = None
            if data is None:  # raw, an acknowledgement, not collected, or wrong: rare, so it may be slow
                return self._decode_other(frame, received_ns)
            return self._event(data, received_ns)
        except KeyError as error:
            raise Rejected(f"unknown symbol {error}") from error
        except ValueError as error:  # msgspec's errors are ValueErrors, and name the field
            raise Rejected(f"malformed frame: {error}") from error

    def _event(self, data: _Data, received_ns: int) -> Sequence[Event]:
        kind = data.__class__
        if kind is self._trade_type:
            return (_trade(self._ids[data.s], cast("_Trade", data), received_ns),)
        if isinstance(data, _Depth):
            if data.U > data.u:
                raise Rejected(f"depthUpdate: ids U={data.U}, u={data.u}")
            time_ns = _time_ns(data.E, received_ns)
            return (BookDelta(self._ids[data.s], data.U, data.u, None, data.b, data.a, time_ns, received_ns),)
        if isinstance(data, _KlineEvent):
            return self._kline(data, received_ns)
        return (Ignored(f"{kind.__struct_config__.tag}: trade_stream is {self._trade_stream!r}"),)

    def _kline(self, data: _KlineEvent, received_ns: int) -> Sequence[Event]:
        kline = data.k
        if kline.i != "1m":
            return _OTHER_INTERVAL
        if not kline.x and not self._include_open:
            return _OPEN_CANDLE
        source = CandleSource.STREAM if kline.x else CandleSource.OPEN
        return (_candle(self._ids[data.s], kline, source, received_ns),)

    def _decode_other(self, frame: bytes | str, received_ns: int) -> Sequence[Event]:
        message = orjson.loads(frame)
        if not isinstance(message, dict):
            raise Rejected("the frame is not an object")
        data = message.get("data", message)
        event = data.get("e") if isinstance(data, dict) else None
        if event in _COLLECTED:
            return self._event(msgspec.convert(data, _Data), received_ns)
        if event == "serverShutdown":
            return _SHUTDOWN
        if event in ("24hrTicker", "24hrMiniTicker", "avgPrice"):
            return (Ignored(f"{event}: channel not collected"),)
        if event is None and isinstance(data, dict):
            if "B" in data and "A" in data:
                return (Ignored("bookTicker: channel not collected"),)
            if "id" in data and ("result" in data or "error" in data or "code" in data):
                error = data.get("error", data)
                refusal = None if "result" in data else f"{error.get('code')}: {error.get('msg')}"
                return (Ack(int(data["id"] or 0), refusal),)
        raise Rejected(f"unknown event {event!r}")

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
        return _book_state(body, instrument_id, levels, received_ns)

    # REST history

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query))
        path = parts.path.rpartition("/")[2]
        if path not in ("depth", "klines", "historicalTrades", "aggTrades"):
            return (Ignored(f"REST {path}: not collected"),)
        instrument_id = self._ids.get(parameters.get("symbol", ""))
        if instrument_id is None:
            raise Rejected(f"unknown symbol {parameters.get('symbol')!r}")
        if path == "depth":
            return (_book_state(body, instrument_id, int(parameters.get("limit", "100")), received_ns),)
        if path == "klines":
            source, as_of_ns = CandleSource.REST, received_ns - MINUTE
            return self.decode_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)
        return self.decode_trades(body, instrument_id, received_ns)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        start = {} if start_ns is None else {"startTime": start_ns // MICROSECOND}
        return self._request("klines", 2, symbol=instrument.native, interval="1m", limit=min(limit, 1000), **start)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> list[Candle]:
        try:
            candles = [_candle(instrument_id, kline, source, received_ns) for kline in _decode_klines(body)]
        except ValueError as error:
            raise Rejected(f"klines: malformed reply: {error}") from error
        return [candle for candle in candles if candle.time_ns + MINUTE <= as_of_ns]

    def trades_request(self, instrument: Instrument, *, from_id: int, limit: int) -> Request:
        if self._trade_stream == "aggTrade":
            return self._request("aggTrades", 4, symbol=instrument.native, fromId=from_id, limit=min(limit, 1000))
        return self._request("historicalTrades", 25, symbol=instrument.native, fromId=from_id, limit=min(limit, 1000))

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> list[Trade]:
        decode = _decode_agg_trades if self._trade_stream == "aggTrade" else _decode_trades
        try:
            return [_trade(instrument_id, reply, received_ns) for reply in decode(body)]
        except ValueError as error:
            raise Rejected(f"trades: malformed reply: {error}") from error

    def _request(self, path: str, weight: int, **params: str | int) -> Request:
        return Request(f"{self._rest_url}/api/v3/{path}?{urlencode(params)}", weight, _HEADERS)


def _snapshot_size(depth: int) -> tuple[int, int]:
    """(levels, weight) of the REST snapshot for a book of `depth`: four times as deep at least, so that it lasts."""
    return (1000, 50) if depth <= 250 else (5000, 250)


def _book_state(body: bytes, instrument_id: int, levels: int, received_ns: int) -> BookState:
    try:
        reply = _decode_depth(body)
    except ValueError as error:
        raise Rejected(f"depth: malformed reply: {error}") from error
    return BookState(instrument_id, reply.lastUpdateId, reply.bids, reply.asks, levels, received_ns)


def _time_ns(value: int, received_ns: int) -> int:
    """Microseconds, or the milliseconds that older recordings and some replies hold; told apart by size."""
    time_ns = value * MICROSECOND if value >= _MICROSECONDS_FROM else value * MILLISECOND
    if not _EARLIEST_NS <= time_ns <= received_ns + _LATE_NS:
        raise Rejected(f"time {value} is absurd")
    return time_ns


def _trade(instrument_id: int, data: _Trade | _AggTrade | _TradeReply | _AggTradeReply, received_ns: int) -> Trade:
    price, amount = data.p, data.q
    # float only judges here, the text itself goes on; what it takes and PostgreSQL does not, COPY refuses.
    if not (0.0 < float(price) < _INFINITY and 0.0 < float(amount) < _INFINITY):
        raise Rejected(f"trade: price {price!r}, amount {amount!r}")
    return Trade(
        instrument_id,
        _time_ns(data.T, received_ns),
        str(data.id),
        "sell" if data.m else "buy",  # the buyer was the maker, so the taker sold
        price,
        amount,
        received_ns,
    )


def _candle(instrument_id: int, kline: _Kline | _KlineReply, source: CandleSource, received_ns: int) -> Candle:
    low, opened, closed, high = float(kline.l), float(kline.o), float(kline.c), float(kline.h)
    if not (0.0 < low <= opened <= high < _INFINITY and low <= closed <= high):
        raise Rejected(f"candle: open {kline.o}, high {kline.h}, low {kline.l}, close {kline.c} cannot be")
    if not all(0.0 <= float(amount) < _INFINITY for amount in (kline.v, kline.q, kline.V, kline.Q)) or kline.n < 0:
        raise Rejected(f"candle: volumes {kline.v}, {kline.q}, {kline.V}, {kline.Q}, trades {kline.n}")
    return Candle(
        instrument_id,
        _time_ns(kline.t, received_ns),
        kline.o,
        kline.h,
        kline.l,
        kline.c,
        kline.v,
        kline.q,
        kline.n,
        kline.V,
        kline.Q,
        source,
        received_ns,
    )
