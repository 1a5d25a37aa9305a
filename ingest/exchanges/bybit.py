"""Bybit v5, natively: spot, and linear perpetuals (settled in what they are quoted in: USDT, USDC).

Wire rules, with the pages that state them (as of July 2026):

- addresses, pings, limits of a subscription: https://bybit-exchange.github.io/docs/v5/ws/connect
- books: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook; how their ids go on is said in
  https://bybit-exchange.github.io/docs/v5/websocket/public/full-ob
- trades, tickers, candles, liquidations: `trade`, `ticker`, `kline`, `all-liquidation` beside it
- REST: https://bybit-exchange.github.io/docs/v5/market/orderbook, `kline`, `recent-trade` beside it
- limits of calls and connections: https://bybit-exchange.github.io/docs/v5/rate-limit

Spot and linear are served at two addresses and share native ids (`BTCUSDT`), and no frame tells which it is of: an
adapter knows it from the streams that `url` or `subscribe` was given, and rejects every symbol before.

Ids. Of linear trades they are UUIDs. Those of spot count the trades of all symbols together
(https://bybit-exchange.github.io/doc-v3-offline/spot/ws-public/public-trade), and the daily files number spot's rows
anew. So trades promise nothing. Of a book `u` goes up by one with each message of a topic and starts again at 1 when
the service does; `seq` is the matching engine's state, which never goes back and is the same in every topic and in
REST, but skips. So `seq` is the sequence of books and quotes, and `u` shows that a change follows the one before.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges import bybit_wire as wire
from ingest.exchanges.adapter import (
    Adapter,
    Bad,
    BookRule,
    Event,
    History,
    Ignored,
    Limits,
    Options,
    Ping,
    Refusal,
    Request,
    Subscription,
)
from ingest.exchanges.bybit_topics import CHANNELS, SHARED, TOPICS, named, not_collected
from ingest.exchanges.pieces import row_by_row
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

REST_URL = "https://api.bybit.com"
WS_URL = "wss://stream.bybit.com"

Category = Literal["spot", "linear", "inverse"]

_SPOT: tuple[Channel, ...] = ("trades", "candles", "book", "quotes", "ticker")
_LINEAR: tuple[Channel, ...] = (*_SPOT, *SHARED[1:], "liquidations")
_ID_SPACES: dict[Channel, str] = {"trades": "execId", "candles": "minute", "book": "seq", "quotes": "seq"}
_NONE: Promise = "none"
_UNKNOWN = ":?"  # of the key of an instrument, while it is not known what the connection is of

_BOOK_DEPTHS = (50, 200, 1000)  # level 1 is the quotes'
_TRADES_MAX: dict[Category, int] = {"spot": 60, "linear": 1000, "inverse": 1000}
_ARGS_PER_REQUEST: dict[Category, int] = {"spot": 10, "linear": 100, "inverse": 100}
_UNSAID = (None, None)
_TELL_NS = 20 * SECOND
"""Figures that do not change are told again after this: it shows that they are still told."""

_HEAD = len('{"topic":"pub')  # bytes by which the five topics are told apart

# Names of this module are found faster than attributes of another one, and these are looked up for every frame.
_decode_trades, _decode_book, _trade = wire.decode_trades, wire.decode_book, wire.trade

_NOTHING = (Ignored("message: nothing in it"),)
_OTHER_DEPTH = (Ignored("book: not the depth that is collected"),)
_ONE_SIDED = (Ignored("quote: a side of the book is empty"),)
_NO_SNAPSHOT = (Ignored("ticker: a delta without its snapshot"),)
_NO_FIGURES = (Ignored("ticker: nothing that is collected"),)
_OPEN_CANDLE = (Ignored("candle: still open"),)
_OTHER_INTERVAL = (Ignored("candle: not 1m"),)
_NOT_COLLECTED = (Ignored("topic not collected"),)
_PONG = (Ignored("pong"),)


class Bybit(Adapter):
    """Translator for one connection to Bybit. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "bybit"
    kinds = ("spot", "swap")
    limits = Limits(
        streams_per_connection=500,  # "args" of a connection within 21,000 characters, of up to 42 each
        messages_per_second=10,  # none is stated
        connections_per_window=500,
        connection_window_seconds=300,
        connection_lifetime_seconds=30 * 24 * 3600,  # none is stated
        # Each call weighs 1. The venue allows 600 in any 5 s, and bans for 10 minutes; the limiter, which spends a
        # sixth of a minute's weight at once, keeps to 480.
        weight_per_minute=2400,
        trades_page=1000,
        candles_page=1000,
        daily_dumps=("swap",),  # those of spot number their rows
    )
    promises: Mapping[Channel, Promise] = {**dict.fromkeys(_LINEAR, _NONE), "candles": "grid", "book": "sequence"}
    ping = Ping('{"op":"ping"}', 20.0)
    books = BookRule(snapshot="stream")  # what falls out of its depth is deleted by the message that pushes it out
    history = History("recent")
    refuses = Refusal(re.compile(r"(?:handler not found,topic:|Invalid symbol :\[)([\w.-]+)"), whole=True)

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by `key`; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._include_open = options.include_open_candles
        depth = next((depth for depth in _BOOK_DEPTHS if depth >= options.book_depth), _BOOK_DEPTHS[-1])
        self._book_topic = f"orderbook.{depth}."
        self._suffix = _UNKNOWN  # what a native symbol lacks to be a key
        self._said: dict[int, tuple[int, int]] = {}  # of each book: `u` and `seq` of its latest message
        self._tickers: dict[int, wire.TickerBody] = {}  # as the snapshot and the deltas since have it
        self._told_ns: dict[int, int] = {}  # when all figures were told
        self._wanted: dict[int, set[Channel]] = {}  # of those that share a topic
        self._by_topic: dict[str, Callable[[bytes, int], Sequence[Event]]] = {
            "publicTrade": self._trades,
            "orderbook": self._book,
            "tickers": self._figures,
            "kline": self._candles,
            "allLiquidation": self._liquidations,
        }
        self._by_head = {f'{{"topic":"{name}'.encode()[:_HEAD]: handler for name, handler in self._by_topic.items()}

    @staticmethod
    def key(instrument: Instrument) -> str:
        return instrument.native + _suffix(_category(instrument))

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        if instrument.kind == "spot":
            return _SPOT
        return _LINEAR if instrument.kind == "swap" and _category(instrument) == "linear" else ()

    def group(self, stream: Stream) -> str:
        return _category(stream.instrument)

    def id_space(self, channel: Channel) -> str:
        return _ID_SPACES.get(channel, "time")

    # Connecting

    def url(self, streams: Sequence[Stream]) -> str:
        return f"{self._ws_url}/v5/public/{self._serve(streams[0])}"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Each topic once: a request that names one that is subscribed already is refused as a whole."""
        topics: dict[str, list[Stream]] = {}
        for stream in streams:
            topics.setdefault(self.topic(stream), []).append(stream)
            if stream.channel in SHARED:
                self._wanted.setdefault(stream.instrument_id, set()).add(stream.channel)
        size = _ARGS_PER_REQUEST[self._serve(streams[0])] if streams else 1
        names = list(topics)
        parts = [names[start : start + size] for start in range(0, len(names), size)]
        return [
            _request(request_id, "subscribe", part, [stream for name in part for stream in topics[name]])
            for request_id, part in enumerate(parts, first_request_id)
        ]

    def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
        topic = self.topic(stream)
        return [
            _request(first_request_id, "unsubscribe", [topic], [stream]),
            _request(first_request_id + 1, "subscribe", [topic], [stream]),
        ]

    def recorded(self, said: str) -> None:
        if "/v5/public/" in said:
            self._suffix = _suffix("spot" if said.rstrip("/").endswith("/spot") else "linear")

    def _serve(self, stream: Stream) -> Category:
        category = _category(stream.instrument)
        self._suffix = _suffix(category)
        return category

    def topic(self, stream: Stream) -> str:
        return TOPICS.get(stream.channel, self._book_topic) + stream.instrument.native

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        handler = self._by_head.get(frame[:_HEAD])
        try:
            return self._other(frame, received_ns) if handler is None else handler(frame, received_ns)
        except (Rejected, KeyError, ValueError, RecursionError) as error:
            if not_collected(frame):
                return _NOT_COLLECTED
            number, channel = self.stream_of(frame) or (0, None)
            if channel in SHARED:
                self._tickers.pop(number, None)  # it may have been a delta, which is lost now
            return row_by_row(self.decode, frame, received_ns, error, "data")

    def _trades(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        ids, suffix, rows = self._ids, self._suffix, _decode_trades(frame).data
        if len(rows) == 1:
            row = rows[0]
            return (_trade(ids[row.s + suffix], row, received_ns),)
        return [_trade(ids[row.s + suffix], row, received_ns) for row in rows] or _NOTHING

    def _book(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = _decode_book(frame)
        data = message.data
        number = self._ids[data.s + self._suffix]
        at_ns = wire.time_ns(message.ts if message.cts is None else message.cts, received_ns)
        if not message.topic.startswith(self._book_topic):
            return self._quote(number, message, at_ns, received_ns)
        u, seq = data.u, data.seq
        last_u, last_seq = self._said.get(number, (0, 0))
        self._said[number] = (u, seq)
        if message.type == "snapshot" or u == 1:  # "which is a snapshot data due to the restart of the service"
            return (BookState(number, seq, data.b, data.a, None, received_ns, streamed=True, event_ns=at_ns),)
        previous = last_seq if u == last_u + 1 and seq >= last_seq else None
        return (BookDelta(number, seq, seq, previous, data.b, data.a, at_ns, received_ns),)

    def _quote(self, number: int, message: wire.Book, at_ns: int, received_ns: int) -> Sequence[Event]:
        if not message.topic.startswith(TOPICS["quotes"]):
            return _OTHER_DEPTH
        if message.type != "snapshot":
            raise Rejected("quote: a delta, and level 1 has snapshots only")
        if not (message.data.b and message.data.a):
            return _ONE_SIDED
        return (wire.quote(number, message.data, at_ns, received_ns),)

    def _figures(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """The ticker, and of the other figures those that the message speaks of; all of them once in a while."""
        message = wire.decode_tickers(frame)
        number = self._ids[message.data.symbol + self._suffix]
        known = self._tickers.pop(number, None)  # and there is none where this one is refused
        new = wire.said(message.data)
        at_ns = wire.time_ns(message.ts, received_ns)
        all_of_them = message.type == "snapshot" or at_ns - self._told_ns.get(number, 0) >= _TELL_NS
        data = new
        if message.type == "delta":
            if known is None:
                return _NO_SNAPSHOT
            data = wire.merged(known, new)
        rate, interest = (new.fundingRate, new.nextFundingTime), (new.openInterest, new.openInterestValue)
        wanted = self._wanted.get(number, SHARED)
        found: list[Event | None] = []
        if "ticker" in wanted:
            found.append(wire.ticker(number, data, at_ns, received_ns))
        if "funding" in wanted and (all_of_them or rate != _UNSAID):
            found.append(wire.funding(number, data, at_ns, received_ns))
        if "open_interest" in wanted and (all_of_them or interest != _UNSAID):
            found.append(wire.open_interest(number, data, at_ns, received_ns))
        if "mark_price" in wanted and (all_of_them or (new.markPrice, new.indexPrice) != _UNSAID):
            found.append(wire.mark_price(number, data, at_ns, received_ns))
        self._tickers[number] = data
        if all_of_them:
            self._told_ns[number] = at_ns
        return [event for event in found if event is not None] or _NO_FIGURES

    def _candles(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = wire.decode_klines(frame)
        if not message.topic.startswith(TOPICS["candles"]):
            return _OTHER_INTERVAL
        number = self._ids[message.topic.removeprefix(TOPICS["candles"]) + self._suffix]
        return [
            wire.candle(number, row, CandleSource.STREAM if row.confirm else CandleSource.OPEN, received_ns)
            for row in message.data
            if row.confirm or self._include_open
        ] or _OPEN_CANDLE

    def _liquidations(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        ids, suffix, rows = self._ids, self._suffix, wire.decode_liquidations(frame).data
        return [wire.liquidation(ids[row.s + suffix], row, received_ns) for row in rows] or _NOTHING

    def _other(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """A message that is written in another way, or an answer: rare, so it may be slow."""
        message = wire.decode_other(frame)
        if message.topic is not None:
            handler = self._by_topic.get(message.topic.partition(".")[0])
            if handler is None:
                raise Rejected(f"unknown topic: {message.topic[:40]!r}")
            return handler(frame, received_ns)
        if message.op == "pong" or message.ret_msg == "pong":
            return _PONG
        return (wire.ack(message),)

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        topic, native = named(frame) or ("", "")
        number = self._ids.get(native + self._suffix)
        channel = CHANNELS.get(topic, "book" if topic == self._book_topic else None)
        if channel == "ticker" and number is not None:  # or another of the several that share it: one can be named
            wanted = self._wanted.get(number, SHARED)
            channel = next(channel for channel in SHARED if channel in wanted)
        return None if number is None or channel is None else (number, channel)

    # The book

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """`previous` is None where `u` shows that the message before is not the one that came before."""
        if delta.previous == sequence:
            return True
        return None if delta.last <= sequence else False

    def tells_latest(self, stream: Stream) -> bool:
        """REST shows the best bid and ask; of a whole book only that something changed, perhaps below our levels."""
        return stream.channel == "quotes"

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._request("orderbook", instrument, limit=min(4 * depth, 1000))

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        return wire.book_state(body, instrument_id, min(4 * depth, 1000), received_ns)

    # REST history

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        try:
            parts = urlsplit(url)
            asked = dict(parse_qsl(parts.query))
            levels = int(asked.get("limit", "1"))
        except ValueError as error:
            raise Rejected(f"malformed URL: {error}") from error
        path = parts.path.rpartition("/")[2]
        if path not in ("orderbook", "kline", "recent-trade"):
            return (Ignored(f"REST {path}: not collected"),)
        if path == "kline" and asked.get("interval") != "1":
            return _OTHER_INTERVAL
        category = asked.get("category", "linear")
        number = self._ids.get(asked.get("symbol", "") + ("" if category == "spot" else f":{category}"))
        if number is None:
            raise Rejected(f"unknown symbol: {category} {asked.get('symbol')!r}")
        if path == "orderbook":
            return (wire.book_state(body, number, levels, received_ns),)
        if path == "recent-trade":
            return self.rows(*self.decode_trades(body, number, received_ns), received_ns)
        found = self.decode_candles(body, number, received_ns, CandleSource.REST, as_of_ns=received_ns - MINUTE)
        return self.rows(*found, received_ns)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        """With an end: what a start alone gives is not stated, and replies begin with the newest."""
        limit = max(1, min(limit, self.limits.candles_page))
        if start_ns is None:
            return self._request("kline", instrument, interval=1, limit=limit)
        start, end = start_ns // MILLISECOND, (start_ns + limit * MINUTE) // MILLISECOND - 1
        return self._request("kline", instrument, interval=1, start=start, end=end, limit=limit)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        candles, bad = wire.rows(
            body, wire.decode_kline_reply, lambda row: wire.candle(instrument_id, row, source, received_ns)
        )
        return [candle for candle in candles if candle.time_ns + MINUTE <= as_of_ns], bad

    def latest_trade_request(self, instrument: Instrument) -> None: ...

    def decode_latest_trade(self, body: bytes) -> None: ...

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """The latest, whatever the bounds: 60 of spot, 1,000 of linear at most."""
        return self._request("recent-trade", instrument, limit=max(1, min(limit, _TRADES_MAX[_category(instrument)])))

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        return wire.rows(body, wire.decode_trade_reply, lambda row: _trade(instrument_id, row, received_ns))

    def _request(self, path: str, instrument: Instrument, **params: str | int) -> Request:
        query = urlencode({"category": _category(instrument), "symbol": instrument.native, **params})
        return Request(f"{self._rest_url}/v5/market/{path}?{query}", 1)


def _category(instrument: Instrument) -> Category:
    if instrument.kind == "spot":
        return "spot"
    return "linear" if instrument.settle == instrument.quote else "inverse"


def _suffix(category: Category) -> str:
    return "" if category == "spot" else f":{category}"


def _request(request_id: int, op: str, topics: Sequence[str], streams: Sequence[Stream]) -> Subscription:
    message = {"req_id": str(request_id), "op": op, "args": topics}
    return Subscription(request_id, orjson.dumps(message).decode(), tuple(streams))
