"""Kraken spot, natively: websocket v2 and public REST.

Wire rules, with the pages that state them:

- endpoints, heartbeats, connections: https://docs.kraken.com/exchange/guides/websockets/introduction
- channels: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book (and `trade`, `ohlc`, `ticker`)
- the checksum: https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2
- REST: https://docs.kraken.com/api-reference/market-data/get-recent-trades (and `get-ohlc-data`, `get-order-book`)
- how far REST reaches:
  https://support.kraken.com/hc/en-us/articles/218198197-How-to-retrieve-historical-time-and-sales-trading-history-using-the-REST-API-Trades-endpoint-
- REST's limits: https://support.kraken.com/articles/206548367-what-are-the-api-rate-limits-

A book has no sequence: its messages are numbered here, and what shows that none is missing is the checksum of each.
It covers ten levels a side, so the fewest levels that suffice are subscribed. Trades are numbered per pair, one by one
("a sequence number, unique per book"). A trade's time is in milliseconds (`wire.trade` says why), others in
microseconds.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import orjson
from msgspec import structs

from ingest.clock import MINUTE, SECOND
from ingest.errors import Rejected
from ingest.exchanges import kraken_rest as rest
from ingest.exchanges import kraken_wire as wire
from ingest.exchanges.adapter import (
    Ack,
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
from ingest.exchanges.kraken_minutes import Minutes
from ingest.exchanges.kraken_names import rest_names, websocket_name
from ingest.exchanges.pieces import row_by_row
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Instrument,
    Promise,
    Reject,
    Stream,
    Trade,
)

REST_URL = "https://api.kraken.com"
WS_URL = "wss://ws.kraken.com/v2"

# Names of this module are found faster than attributes of another one, and these are looked up for every frame.
_decode, _trade, _levels, _time_ns = wire.decode_frame, wire.trade, wire.levels, wire.time_ns
_candle = wire.candle
_BookFrame, _TradeFrame, _OhlcFrame, _TickerFrame = wire.BookFrame, wire.TradeFrame, wire.OhlcFrame, wire.TickerFrame

_SYMBOLS_PER_MESSAGE = 100
_DEPTHS = (10, 25, 100, 500, 1000)
_CHECKED_LEVELS = 10
_CANDLES, _TRADES = 720, 1000  # of one reply

_TOPICS: dict[Channel, str] = {
    "trades": "trade",
    "candles": "ohlc",
    "book": "book",
    "quotes": "ticker",
    "ticker": "ticker",
}
_CHANNELS: dict[bytes, Channel] = {topic.encode(): channel for channel, topic in _TOPICS.items()}
_ID_SPACES: dict[Channel, str] = {"trades": "trade", "candles": "minute", "book": "message"}
_TOPIC = re.compile(rb'"channel":\s*"(\w+)"')
_SYMBOL = re.compile(rb'"symbol":\s*"([^"]+)"')

_OPEN_CANDLE = Ignored("candle: still open")
_OTHER_INTERVAL = Ignored("candle: not 1m")
_ONE_SIDED = Ignored("quote: a side of the book is empty")
_EMPTY = (Ignored("nothing in it"),)
_LEVEL3 = (Ignored("level3: channel not collected"),)
_PARTLY = (Ignored("subscription: acknowledged in part"),)


class Kraken(Adapter):
    """Translator for one connection to Kraken spot. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "kraken"
    limits = Limits(
        streams_per_connection=300,  # ours: the venue names none, and lets one connection have all that it streams
        messages_per_second=5,  # ours: the venue's varies with its load
        connections_per_window=150,
        connection_window_seconds=600,
        connection_lifetime_seconds=24 * 3600,  # ours: none is stated
        weight_per_minute=60,  # a call is one unit, and a call a second is what the venue promises to serve:
        burst=1.2,  # so never two within one
        trades_page=_TRADES,
        candles_page=_CANDLES,
        candles_kept=_CANDLES,
    )
    promises: Mapping[Channel, Promise] = {
        "trades": "ids",
        "candles": "grid",
        "book": "sequence",
        "quotes": "none",
        "ticker": "none",
    }
    # After a minute without a request the venue closes; and the answer tells its time, which heartbeats do not.
    ping = Ping('{"method":"ping"}', 10.0)
    history = History(by="time", upwards=True)
    refuses = Refusal(re.compile(r"Currency pair not .*?(\S+)$"))

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by `key`; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._include_open = options.include_open_candles
        self._depth = next((depth for depth in _DEPTHS if depth >= options.book_depth), _DEPTHS[-1])
        self.books = BookRule("stream", self._depth, wire.checksum, _CHECKED_LEVELS)
        self._quoting = False
        self._numbers: dict[int, int] = {}  # of the latest book message of each instrument
        self._unanswered: dict[int, int] = {}  # symbols of each request
        self._minutes = Minutes()
        self._venue_ns = 0  # its latest time in any frame

    @staticmethod
    def key(instrument: Instrument) -> str:
        return websocket_name(instrument)

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        return tuple(_TOPICS) if instrument.kind in self.kinds else ()

    def id_space(self, channel: Channel) -> str:
        return _ID_SPACES.get(channel, "time")

    # Connecting

    def topic(self, stream: Stream) -> str:
        return self.key(stream.instrument)

    def group(self, stream: Stream) -> str:
        """Quotes and tickers are one channel with two triggers: a connection has one, and its rows do not say which."""
        return "quotes" if stream.channel == "quotes" else ""

    def url(self, streams: Sequence[Stream]) -> str:
        return self._ws_url

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        self._quoting = any(stream.channel == "quotes" for stream in streams)
        subscriptions: list[Subscription] = []
        for channel in dict.fromkeys(stream.channel for stream in streams):
            of_channel = [stream for stream in streams if stream.channel == channel]
            for start in range(0, len(of_channel), _SYMBOLS_PER_MESSAGE):
                part = of_channel[start : start + _SYMBOLS_PER_MESSAGE]
                request_id = first_request_id + len(subscriptions)
                subscriptions.append(self._request("subscribe", channel, part, request_id))
        return subscriptions

    def recorded(self, said: str) -> None:
        self._quoting = self._quoting or '"event_trigger":"bbo"' in said

    def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
        ended = self._request("unsubscribe", stream.channel, [stream], first_request_id)
        begun = self._request("subscribe", stream.channel, [stream], first_request_id + 1)
        return [structs.replace(ended, streams=()), begun]

    def _request(self, method: str, channel: Channel, streams: Sequence[Stream], request_id: int) -> Subscription:
        """To be acknowledged for each symbol. Trades begin without those of the past: REST knows which are missing."""
        params: dict[str, object] = {"channel": _TOPICS[channel], "symbol": [self.key(s.instrument) for s in streams]}
        if channel == "book":
            params["depth"] = self._depth
        elif channel == "candles":
            params["interval"] = 1
        elif channel in ("quotes", "ticker"):
            params["event_trigger"] = "bbo" if channel == "quotes" else "trades"
        if method == "subscribe":
            params["snapshot"] = channel != "trades"
        self._unanswered[request_id] = len(streams)
        frame = orjson.dumps({"method": method, "params": params, "req_id": request_id}).decode()
        return Subscription(request_id, frame, tuple(streams))

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        events: Sequence[Event]
        try:
            try:
                message = _decode(frame)
                kind = message.__class__
                if kind is _TradeFrame:
                    events = self._trades(message.data, received_ns)
                elif kind is _BookFrame:
                    events = self._book(message, received_ns) or _EMPTY
                elif kind is _TickerFrame:
                    events = self._tickers(message.data, received_ns)
                elif kind is _OhlcFrame:
                    events = self._ohlc(message, frame, received_ns)
                else:
                    events = (Ignored(kind.__struct_config__.tag),)
            except msgspec.ValidationError as error:  # an answer, or wrong
                events = self._answer(frame, received_ns, error)
        except (Rejected, KeyError, ValueError, RecursionError) as error:
            events = row_by_row(self.decode, frame, received_ns, error, "data")
        if self._venue_ns >= self._minutes.due_ns:
            return [*self._minutes.over(self._venue_ns), *events]
        return events

    def _trades(self, rows: Sequence[wire.TradeEntry], received_ns: int) -> Sequence[Event]:
        if len(rows) == 1:
            row = rows[0]
            return (_trade(self._ids[row.symbol], row, received_ns),)
        return [_trade(self._ids[row.symbol], row, received_ns) for row in rows] or _EMPTY

    def _book(self, message: wire.BookFrame, received_ns: int) -> list[Event]:
        events: list[Event] = []
        for entry in message.data:
            instrument_id, crc = self._ids[entry.symbol], entry.checksum
            bids = _levels(entry.bids) if entry.bids else []
            asks = _levels(entry.asks) if entry.asks else []
            number = self._numbers[instrument_id] = self._numbers.get(instrument_id, 0) + 1
            if message.type == "update":
                event_ns = self._see(_time_ns(entry.timestamp, received_ns))
                events.append(BookDelta(instrument_id, number, number, None, bids, asks, event_ns, received_ns, crc))
            else:  # not every page gives it a time
                told_ns = self._see(_time_ns(entry.timestamp, received_ns)) if entry.timestamp else None
                whole = (number, bids, asks, None, received_ns, True, told_ns, crc)
                events.append(BookState(instrument_id, *whole))
        return events

    def _tickers(self, rows: Sequence[wire.TickerEntry], received_ns: int) -> Sequence[Event]:
        events: list[Event] = []
        make = wire.quote if self._quoting else wire.ticker
        for row in rows:
            event = make(self._ids[row.symbol], row, received_ns)
            if event is not None and row.timestamp:
                self._see(event.time_ns)
            events.append(event or _ONE_SIDED)
        return events or _EMPTY

    def _ohlc(self, message: wire.OhlcFrame, frame: bytes, received_ns: int) -> list[Event]:
        """Minutes that are over now, and the one that runs, if it is wanted."""
        candles: list[Candle] = []
        for row in message.data:
            if row.interval == 1:
                candles.append(_candle(self._ids[row.symbol], row, received_ns))  # noqa: PERF401 - a call costs more
        if message.timestamp:
            self._see(_time_ns(message.timestamp, received_ns))
        events: list[Event] = []
        minutes, snapshot = self._minutes, message.type == "snapshot"
        for candle in minutes.begin(candles, self._venue_ns) if snapshot else candles:
            if minutes.contradicts(candle, snapshot=snapshot):
                reason = "candle: changed after its minute was over"
                events.append(Reject(self.exchange, "", reason, frame, received_ns))
            elif over := minutes.take(candle):
                events.append(over)
        if self._include_open:
            events += [structs.replace(candle, source=CandleSource.OPEN) for candle in candles]
        return events or [_OPEN_CANDLE if candles or not message.data else _OTHER_INTERVAL]

    def _answer(self, frame: bytes, received_ns: int, wrong: msgspec.ValidationError) -> Sequence[Event]:
        answer = wire.decode_answer(frame)
        if answer.channel == "level3":  # single orders, for which a key is asked
            return _LEVEL3
        if answer.time_out:
            self._see(_time_ns(answer.time_out, received_ns))
        request_id, error = answer.req_id or 0, answer.error or answer.Error
        refused = [Ack(request_id, error or "refused")] if error or answer.success is False else []
        if refused and not self.refuses.topics(error):
            return refused
        if answer.method == "pong":
            return (Ignored("pong"),)
        if answer.method not in ("subscribe", "unsubscribe") or not (refused or answer.success):
            raise wrong
        left = self._unanswered.pop(request_id, 1) - 1
        if left > 0:
            self._unanswered[request_id] = left
            return refused or _PARTLY
        return [*refused, Ack(request_id)]

    def _see(self, venue_ns: int) -> int:
        if venue_ns > self._venue_ns:  # noqa: PLR1730 - a call for every row costs more
            self._venue_ns = venue_ns
        return venue_ns

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        topic, symbol = _TOPIC.search(frame), _SYMBOL.search(frame)
        if topic is None or symbol is None:
            return None
        instrument_id = self._ids.get(symbol[1].decode(errors="replace"))
        channel = "quotes" if topic[1] == b"ticker" and self._quoting else _CHANNELS.get(topic[1])
        return None if instrument_id is None or channel is None else (instrument_id, channel)

    # The book

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """Nothing on the wire could tell; the checksum does."""
        return True

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._get("Depth", instrument, count=_rest_depth(depth))

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        return rest.book_state(body, instrument_id, _rest_depth(depth), received_ns)

    # REST history

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        """720 at most, and none that is older than the latest 720: the venue takes no number of them.

        It tells of those since a time; whether its own minute is among them is not said, so the one before is named.
        """
        since = {} if start_ns is None else {"since": start_ns // SECOND - 60}
        return self._get("OHLC", instrument, interval=1, **since)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        candles, bad = rest.rows(
            body, rest.decode_ohlc_row, lambda row: rest.candle_of_row(instrument_id, row, source, received_ns)
        )
        return [candle for candle in candles if candle.time_ns + MINUTE <= as_of_ns], bad

    def latest_trade_request(self, instrument: Instrument) -> Request:
        return self._get("Trades", instrument, count=1)

    def decode_latest_trade(self, body: bytes) -> int | None:
        found, bad = rest.rows(body, rest.decode_trade_row, lambda row: row.trade_id)
        if bad:
            raise Rejected(bad[0].reason)
        return max(found, default=None)

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """All of them, back to a market's first. The bound is inclusive as measured, exclusive by an older page."""
        since = max((start or 0) - 1, 0)
        return self._get("Trades", instrument, since=since, count=min(limit, _TRADES))

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        return rest.rows(body, rest.decode_trade_row, lambda row: rest.trade_of_row(instrument_id, row, received_ns))

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        try:
            parts = urlsplit(url)
            parameters = parse_qs(parts.query)
        except ValueError as error:
            raise Rejected(f"malformed URL: {error}") from error
        path = parts.path.rpartition("/")[2]
        if path not in ("OHLC", "Trades"):  # a book of Depth has no place among those that the stream sends
            return (Ignored(f"REST {path}: not collected"),)
        if path == "OHLC" and parameters.get("interval", ["1"]) != ["1"]:
            return (_OTHER_INTERVAL,)
        pair = parameters.get("pair", [""])[0]
        instrument_id = next((number for key, number in self._ids.items() if pair in rest_names(key)), None)
        if instrument_id is None:
            raise Rejected(f"unknown symbol: {pair!r}")
        records: Sequence[Trade] | Sequence[Candle]
        if path == "OHLC":
            as_of_ns = received_ns - MINUTE
            records, bad = self.decode_candles(body, instrument_id, received_ns, CandleSource.REST, as_of_ns=as_of_ns)
        else:
            records, bad = self.decode_trades(body, instrument_id, received_ns)
        return self.rows(records, bad, received_ns) or _EMPTY

    def _get(self, path: str, instrument: Instrument, **params: int) -> Request:
        query = urlencode({"pair": instrument.native, **params})
        return Request(f"{self._rest_url}/0/public/{path}?{query}", 1)


def _rest_depth(depth: int) -> int:
    """Levels of a REST snapshot for a book of `depth`: four times as deep, as far as the venue goes."""
    return 100 if depth <= 25 else 500
