"""OKX v5, natively: spot, perpetual swaps and dated futures.

Wire rules, by anchors of https://www.okx.com/docs-v5/en/:

- #overview-production-trading-services, and #overview-websocket- connect, subscribe, notification
- #order-book-trading-market-data-ws- all-trades-channel, trades-channel, candlesticks-channel, tickers-channel,
  order-book-channel; #public-data-websocket- funding-rate-, open-interest-, mark-price-, liquidation-orders-channel
- #order-book-trading-market-data-get- candlesticks, candlesticks-history, trades, trades-history, order-book
- checksums are 0 since June 2026: https://www.okx.com/help/okx-order-book-channels-checksum-field-deprecation

Trades are those of `trades-all`: single ones, in whose ids REST counts, too. The channel `trades` tells as one what an
order took at one price, under the last id: `tradeId` 123 and `count` 3 are 121, 122 and 123, says the page. So the ids
of `trades-all` are contiguous, and an aggregate must never stand among them. Neither needs a key.

Amounts of derivatives are contracts (`Instrument.contract_size`), volumes of candles and tickers base currency.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import orjson

from ingest.clock import MILLISECOND, MINUTE
from ingest.errors import Rejected
from ingest.exchanges import okx_rest as rest
from ingest.exchanges import okx_wire as wire
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
    Shutdown,
    Subscription,
)
from ingest.exchanges.okx_topics import CHANNELS, NOT_COLLECTED, ROWS, TOPICS, argument_of, named
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

_Decode = Callable[[bytes, int], Sequence[Event]]
_Arguments = Mapping[wire.Argument, Sequence[Stream]]

REST_URL = "https://openapi.okx.com"
WS_URL = "wss://ws.okx.com:8443/ws/v5"

_OFFERED: dict[str, tuple[Channel, ...]] = {
    "spot": ("trades", "candles", "book", "quotes", "ticker"),
    "swap": tuple(TOPICS),
    "future": tuple(channel for channel in TOPICS if channel != "funding"),
}
_PROMISES: dict[Channel, Promise] = {"trades": "ids", "candles": "grid", "book": "sequence"}
_ID_SPACES: dict[Channel, str] = {"trades": "trade", "candles": "minute", "book": "seqId"}
_SOURCES = {"0": CandleSource.OPEN, "1": CandleSource.STREAM}

_decode_trades, _trade = wire.decode_trades, wire.trade  # names of this module are found faster
_NAMED = slice(19, 31)  # behind `{"arg":{"channel":"`, with which the venue begins: enough to tell its channels apart
_ARGS_PER_MESSAGE = 200  # of 100 bytes at most, and 64 KB are allowed

_PONG, _EMPTY = (Ignored("pong"),), (Ignored("nothing in it"),)
_NOT_COLLECTED = (Ignored("channel not collected"),)
_OPEN_CANDLE = Ignored("candle: still open")
_OTHER_INTERVAL = (Ignored("candle: not 1m"),)
_ONE_SIDED = Ignored("quote: a side of the book is empty")
_AGGREGATE = Ignored("trades: several as one")
_NOT_OURS = (Ignored("answer: to no request of ours"),)
_PART = (Ignored("subscribe: not all is answered yet"),)
_NOBODY = (Ignored("liquidation: of an instrument that is not collected"),)


class Okx(Adapter):
    """Translator for one connection to OKX. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "okx"
    kinds = ("spot", "swap", "future")
    limits = Limits(
        streams_per_connection=29,  # "less than 30", where there are books
        messages_per_second=3,
        connections_per_window=3,
        connection_window_seconds=1,
        connection_lifetime_seconds=30 * 24 * 3600,  # none is stated
        weight_per_minute=rest.WEIGHT_PER_MINUTE,
        trades_page=rest.TRADES_PAGE,
        candles_page=rest.CANDLES_PAGE,
        daily_dumps=("spot", "swap", "future"),
    )
    promises: Mapping[Channel, Promise] = {channel: _PROMISES.get(channel, "none") for channel in TOPICS}
    ping = Ping("ping", 20)  # a line is cut when it is quiet for 30 s
    books = BookRule("stream", checksum=wire.checksum, checksum_levels=wire.CHECKSUM_LEVELS)
    history = History(by="id", upwards=False)
    refuses = Refusal(re.compile(r"channel:([\w-]+,inst\w+:[\w-]+) doesn't exist"))

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by native symbol; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._include_open = options.include_open_candles
        self._unanswered: dict[int, set[wire.Argument]] = {}  # by request: what of it was not acknowledged yet
        self._liquidated: set[str] = set()  # the instruments whose liquidations were subscribed
        self._book_times: dict[int, int] = {}  # of books without sequence ids
        self._quoted: dict[int, tuple[int, int | None, int]] = {}  # time, the venue's id, and what stands for them
        self._decoders: dict[str, _Decode] = {
            "trades-all": self._trades,
            "trades": self._trades,
            "candle1m": self._candles,
            "books": self._books,
            "bbo-tbt": self._quotes,
            "tickers": self._rows(wire.decode_tickers, wire.ticker),
            "funding-rate": self._rows(wire.decode_funding, wire.funding),
            "open-interest": self._rows(wire.decode_open_interest, wire.open_interest),
            "mark-price": self._rows(wire.decode_mark_price, wire.mark_price),
            "liquidation-orders": self._liquidations,
        }
        self._by_name = {f'{topic}","instId"'.encode()[:12]: found for topic, found in self._decoders.items()}

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        return _OFFERED.get(instrument.kind, ())

    def group(self, stream: Stream) -> str:
        return "business" if stream.channel in ("trades", "candles") else "public"

    def id_space(self, channel: Channel) -> str:
        return _ID_SPACES.get(channel, "time")

    # Connecting

    def url(self, streams: Sequence[Stream]) -> str:
        return f"{self._ws_url}/{self.group(streams[0])}"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Liquidations of all instruments of a type come by one argument."""
        by_argument: dict[wire.Argument, list[Stream]] = {}
        for stream in streams:
            by_argument.setdefault(argument_of(stream), []).append(stream)
            if stream.channel == "liquidations":
                self._liquidated.add(stream.instrument.native)
        arguments = list(by_argument.items())
        return [
            self._subscription("subscribe", request_id, dict(arguments[start : start + _ARGS_PER_MESSAGE]))
            for request_id, start in enumerate(range(0, len(arguments), _ARGS_PER_MESSAGE), first_request_id)
        ]

    def topic(self, stream: Stream) -> str:
        return named(argument_of(stream))

    def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
        """A snapshot answers a new subscription alone, not another one of what is subscribed."""
        argument = {argument_of(stream): [stream]}
        unsubscription = self._subscription("unsubscribe", first_request_id, argument)
        return [unsubscription, self._subscription("subscribe", first_request_id + 1, argument)]

    def _subscription(self, op: str, request_id: int, arguments: _Arguments) -> Subscription:
        self._unanswered[request_id] = set(arguments)
        frame = msgspec.json.encode({"id": str(request_id), "op": op, "args": list(arguments)}).decode()
        return Subscription(request_id, frame, tuple(stream for some in arguments.values() for stream in some))

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        try:
            return self._by_name.get(frame[_NAMED], self._other)(frame, received_ns) or _EMPTY
        except (Rejected, KeyError, ValueError, RecursionError) as error:
            return row_by_row(self.decode, frame, received_ns, error, *ROWS.get(wire.named(frame)[0], ("data",)))

    def _trades(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Of `trades` an aggregate of one is that trade itself, and so was each before there were counts."""
        rows = _decode_trades(frame).data
        if len(rows) == 1 and rows[0].count == 1:  # as nearly always
            return (_trade(self._ids[rows[0].instId], rows[0], received_ns),)
        return [_trade(self._ids[row.instId], row, received_ns) if row.count == 1 else _AGGREGATE for row in rows]

    def _candles(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = wire.decode_candles(frame)
        native, unfinished = message.arg.instId, self._include_open
        number, spot = self._ids[native], wire.is_spot(native)
        return [
            wire.candle(number, row, _SOURCES[row.confirm], received_ns, spot=spot)
            if unfinished or row.confirm == "1"
            else _OPEN_CANDLE
            for row in message.data
        ]

    def _books(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Where there are no ids, in frames of before 2023, the times of the books stand for them."""
        message = wire.decode_books(frame)
        number, whole = self._ids[message.arg.instId], message.action == "snapshot"
        events: list[Event] = []
        for row in message.data:
            sequence, previous = row.seqId, row.prevSeqId
            if sequence is None:
                sequence, previous = row.ts, self._book_times.get(number, -1)
                self._book_times[number] = sequence
            if previous is None:
                raise Rejected("books: it does not say what it follows")
            events.append(wire.book(number, row, sequence, previous, received_ns, whole=whole))
        return events

    def _quotes(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        message = wire.decode_quotes(frame)
        number, sequence = self._ids[message.arg.instId], self._quote_sequence
        return [
            wire.quote(number, row, sequence(number, row), received_ns) if row.bids and row.asks else _ONE_SIDED
            for row in message.data
        ]

    def _quote_sequence(self, number: int, row: wire.BookRow) -> int:
        """Microseconds of its time, and one more for each further state of that millisecond.

        The venue's own id begins anew after maintenance, which is not told here: all that follows would look old.
        """
        ms, venue_id, sequence = self._quoted.get(number, (0, 0, 0))
        if row.ts != ms:
            sequence = row.ts * 1000
        elif row.seqId != venue_id:
            sequence += 1
        self._quoted[number] = (row.ts, row.seqId, sequence)
        return sequence

    def _rows(self, decode: Callable[[bytes], wire.Frame[Any]], make: Callable[[int, Any, int], Event]) -> _Decode:
        def events(frame: bytes, received_ns: int) -> Sequence[Event]:
            return [make(self._ids[row.instId], row, received_ns) for row in decode(frame).data]

        return events

    def _liquidations(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Those of a whole type of instruments come; most are nobody's here. A recording has subscribed nothing."""
        wanted = self._liquidated or self._ids
        return [
            wire.liquidation(self._ids[row.instId], detail, received_ns)
            for row in wire.decode_liquidations(frame).data
            if row.instId in wanted
            for detail in row.details
        ] or _NOBODY

    def _other(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        if frame == b"pong":
            return _PONG
        message = orjson.loads(frame)
        if not isinstance(message, dict):
            raise Rejected("the frame is not an object")
        if "event" in message:
            return self._answer(wire.decode_answer(frame))
        argument = message.get("arg")
        topic = str(argument.get("channel")) if isinstance(argument, dict) else ""
        if topic.startswith("candle") and topic != "candle1m":
            return _OTHER_INTERVAL
        if (decoder := self._decoders.get(topic)) is not None:
            return decoder(frame, received_ns)
        if NOT_COLLECTED.fullmatch(topic):
            return _NOT_COLLECTED
        raise Rejected(f"unknown channel: {topic[:40]!r}")

    def _answer(self, answer: wire.Answer) -> Sequence[Event]:
        """Each argument of a request is answered by itself; an error that names none is an answer to the whole."""
        if answer.event == "notice":
            return (Shutdown(),) if answer.code == "64008" else _NOT_COLLECTED
        request_id = wire.request_of(answer)
        if request_id is None:
            return _NOT_OURS
        left, told = self._unanswered.get(request_id, set()), list[Event]()
        if answer.event == "error":
            told.append(Ack(request_id, f"{answer.code}: {answer.msg}"))
            refused = self.refuses.topics(answer.msg)
            if not refused:
                self._unanswered.pop(request_id, None)
                return told
            left -= {argument for argument in left if named(argument) in refused}
        elif answer.event in ("subscribe", "unsubscribe") and answer.arg is not None:
            left.discard(answer.arg)
        else:
            raise Rejected(f"unknown event: {answer.event[:40]!r}")
        if left:
            return told or _PART
        self._unanswered.pop(request_id, None)
        return [*told, Ack(request_id)]

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        topic, native = wire.named(frame)
        channel, instrument_id = CHANNELS.get(topic), self._ids.get(native)
        return None if instrument_id is None or channel is None else (instrument_id, channel)

    # The book

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """By `prevSeqId` alone: after maintenance the id is smaller, and a message that says nothing repeats it.

        Never None: a connection repeats nothing, and to take a smaller id for an old one is to be wrong in silence.
        """
        return delta.previous == sequence

    def tells_latest(self, stream: Stream) -> bool:
        """Quotes are compared by what they say; of the ids of REST's books nothing is promised."""
        return stream.channel in ("trades", "quotes")

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._rest("books", rest.WEIGHT, instId=instrument.native, sz=rest.BOOK_LEVELS)

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        return rest.book_reply(body, instrument_id, rest.BOOK_LEVELS, received_ns)

    # REST history

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        """Books are passed over: the stream's changes do not go on from one of REST."""
        try:
            parts = urlsplit(url)
            parameters = dict(parse_qsl(parts.query))
        except ValueError as error:
            raise Rejected(f"malformed URL: {error}") from error
        path, native = parts.path.rpartition("/")[2], parameters.get("instId", "")
        if path not in ("candles", "history-candles", "trades", "history-trades"):
            return (Ignored(f"REST {path[:40]}: not collected"),)
        if path.endswith("candles") and parameters.get("bar", "1m") != "1m":
            return _OTHER_INTERVAL
        if (instrument_id := self._ids.get(native)) is None:
            raise Rejected(f"unknown symbol: {native!r}")
        records: Sequence[Event]
        if path.endswith("trades"):
            records, bad = self.decode_trades(body, instrument_id, received_ns)
        else:
            source = CandleSource.REST
            records, bad = self.decode_candles(body, instrument_id, received_ns, source, as_of_ns=received_ns)
        return self.rows(records, bad, received_ns)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        """`candles` has the latest 1,440; of `history-candles` both bounds are exclusive."""
        params: dict[str, str | int] = {
            "instId": instrument.native,
            "bar": "1m",
            "limit": min(limit, rest.CANDLES_PAGE),
        }
        if start_ns is None:
            return self._rest("candles", rest.WEIGHT, **params)
        before = -(-start_ns // MILLISECOND) - 1
        after = before + 1 + min(limit, rest.CANDLES_PAGE) * (MINUTE // MILLISECOND)
        return self._rest("history-candles", rest.HISTORY_WEIGHT, **params, before=before, after=after)

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        """Those that the venue calls complete, oldest first."""
        native = next((native for native, number in self._ids.items() if number == instrument_id), None)
        if native is None:
            raise Rejected(f"unknown instrument: {instrument_id}")
        spot = wire.is_spot(native)

        def make(row: wire.CandleRow) -> Candle | None:
            candle = wire.candle(instrument_id, row, source, received_ns, spot=spot)
            return candle if row.confirm == "1" and candle.time_ns + MINUTE <= as_of_ns else None

        found, bad = rest.rows(body, rest.decode_candle, make)
        return [*filter(None, found)], bad

    def latest_trade_request(self, instrument: Instrument) -> Request:
        return self._rest("trades", rest.LATEST_WEIGHT, instId=instrument.native, limit=1)

    def decode_latest_trade(self, body: bytes) -> int | None:
        trades, bad = self.decode_trades(body, 0, 2**62)  # of whom and when does not matter
        if bad:
            raise Rejected(bad[0].reason)
        return max((int(trade.trade_id) for trade in trades), default=None)

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """`after` means earlier, and is exclusive; with `before` alone the latest would come."""
        limit = min(limit, rest.TRADES_PAGE)
        last = start + limit - 1 if end is None and start is not None else end
        bound = {} if last is None else {"after": last + 1}
        return self._rest("history-trades", rest.HISTORY_WEIGHT, instId=instrument.native, type=1, limit=limit, **bound)

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        return rest.rows(body, rest.decode_trade, lambda row: wire.trade(instrument_id, row, received_ns))

    def _rest(self, path: str, weight: int, **params: str | int) -> Request:
        return Request(f"{self._rest_url}/api/v5/market/{path}?{urlencode(params)}", weight)
