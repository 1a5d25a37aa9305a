"""Coinbase Advanced Trade spot, natively.

Wire rules, with the pages that state them:

- channels; heartbeats; no key; `-USDC` names: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
- one channel a request, within 5 seconds: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
- 8 connections and 8 messages a second: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-rate-limits
- candles: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-candles
- latest trades: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades
- book: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-book
- past trades, by id, and whose side they name: https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades

Advanced Trade and Coinbase Exchange show one tape: a trade has one id and one time at both, and only the latter's
history can be asked for by id. What no page states was measured by others: a connection carries at most 30 books
(https://github.com/JKorf/Coinbase.Net/issues/19), and `sequence_num` counts all of its frames, whatever their channel.

Every time is cut to microseconds: trades have no finer ones.
"""

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from urllib.parse import urlencode

import msgspec

from ingest import clock
from ingest.clock import MICROSECOND, MINUTE, SECOND, Clock
from ingest.errors import Rejected
from ingest.exchanges import coinbase_wire as wire
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
    Request,
    Subscription,
)
from ingest.exchanges.coinbase_topics import CHANNELS_OF, REFUSES, ROWS, SUBSCRIBED_AS, named, request, streamed_name
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

REST_URL = "https://api.coinbase.com"
HISTORY_URL = "https://api.exchange.coinbase.com"
WS_URL = "wss://advanced-trade-ws.coinbase.com"

# Names of this module are found faster than attributes of another one, and these are looked up for every frame.
_decode_frame, _trade = wire.decode_frame, wire.trade
_L2Frame, _TradesFrame, _TickerFrame = wire.L2Frame, wire.TradesFrame, wire.TickerFrame

_MARKET = "/api/v3/brokerage/market"
_FRESH = (("Cache-Control", "no-cache"),)  # else public replies may be a second old
_TRADES_PAGE = 1000
_CANDLES_PAGE = 300  # the page says 350, yet refuses some requests for so many
_BOOK_MAX = 1000

_CHANNELS_OFFERED: tuple[Channel, ...] = ("trades", "candles", "book", "quotes", "ticker")
_ID_SPACES: dict[Channel, str] = {"trades": "trade", "candles": "minute", "book": "connection"}  # else its time

_trade_id = attrgetter("trade_id")
_NEVER = -1  # no frame and no state of a book has this number
_HEARTBEAT, _EMPTY = (Ignored("heartbeat: no data"),), (Ignored("nothing in it"),)
_NOTHING_NEW = (Ignored("subscriptions: nothing that was asked for"),)
_NO_SNAPSHOT = Ignored("book: no snapshot of this connection yet")
_ONE_SIDED = Ignored("quote: a side of the book is empty")


class Coinbase(Adapter):
    """Translator for one connection to Coinbase. See `ingest.exchanges.adapter.Adapter`."""

    exchange = "coinbase"
    limits = Limits(
        streams_per_connection=30,
        # Eight of each a second an address, for all connections: one begins a second, and says one thing a second.
        messages_per_second=3,
        connections_per_window=8,
        connection_window_seconds=8,
        connection_lifetime_seconds=7 * 24 * 3600,  # no page states an end
        weight_per_minute=600,  # ten calls a second an address, in any second; a call weighs 1
        burst=2,
        candles_page=_CANDLES_PAGE,
    )
    promises: Mapping[Channel, Promise] = {
        "trades": "ids",  # of one product, without holes
        "candles": "grid",
        "book": "sequence",
        "quotes": "none",
        "ticker": "none",
    }
    books = BookRule(snapshot="stream")
    history = History(by="id", upwards=False)
    refuses = REFUSES
    now: Clock = staticmethod(clock.now_ns)  # "the latest candles" are asked for by their times

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by native symbol; a frame of any other symbol is rejected. It may grow."""
        self._ids = instrument_ids
        self._rest_url = (options.rest_url or REST_URL).rstrip("/")
        self._history_url = (options.rest_url or HISTORY_URL).rstrip("/")
        self._ws_url = (options.ws_url or WS_URL).rstrip("/")
        self._served: dict[Channel, dict[str, tuple[int, ...]]] = {channel: {} for channel in SUBSCRIBED_AS}
        self._renamed = False  # whether frames name some instrument otherwise than `instrument_ids`
        self._subscribed = False  # else frames are a recording's: all are translated
        self._unanswered: dict[int, tuple[str, set[str]]] = {}
        self._next: int | None = None  # the number of the next frame
        self._quoted: dict[str, int] = {}  # by product: its latest quote's number
        self._books: dict[str, int] = {}  # by product: the number of its book's latest frame

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        return _CHANNELS_OFFERED if instrument.kind in self.kinds else ()

    def polled(self, instrument: Instrument) -> Mapping[Channel, float]:
        """The stream's candles are of 5 minutes."""
        return {"candles": 60.0}

    def group(self, stream: Stream) -> str:
        """A book's first frame is of megabytes: nothing else waits behind it, or is lost with its line."""
        return "books" if stream.channel == "book" else ""

    def id_space(self, channel: Channel) -> str:
        return _ID_SPACES.get(channel, "time")

    # Connecting

    def url(self, streams: Sequence[Stream]) -> str:
        return self._ws_url

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Heartbeats first: without them the venue ends channels that are quiet for a minute."""
        self._subscribed = True
        asked: dict[str, list[Stream]] = {"heartbeats": []}
        for stream in streams:
            product, served = streamed_name(stream.instrument), self._served[stream.channel]
            served[product] = tuple(dict.fromkeys((*served.get(product, ()), stream.instrument_id)))
            self._renamed |= product != stream.instrument.native
            asked.setdefault(SUBSCRIBED_AS[stream.channel], []).append(stream)
        subscriptions = []
        for request_id, (name, part) in enumerate(asked.items(), first_request_id):
            products = list(dict.fromkeys(streamed_name(stream.instrument) for stream in part))
            self._unanswered[request_id] = (name, set(products))
            subscriptions.append(Subscription(request_id, request("subscribe", name, products), tuple(part)))
        return subscriptions

    def topic(self, stream: Stream) -> str:
        return streamed_name(stream.instrument)

    def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
        name, products = SUBSCRIBED_AS[stream.channel], [streamed_name(stream.instrument)]
        self._unanswered[first_request_id + 1] = (name, set(products))
        return [
            Subscription(first_request_id, request("unsubscribe", name, products), ()),
            Subscription(first_request_id + 1, request("subscribe", name, products), (stream,)),
        ]

    def recorded(self, said: str) -> None:
        """A connection counts from its own beginning."""
        if said.startswith("ws"):
            self._next, self._books = None, {}

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Translate one frame; see `Adapter.decode`.

        One that was refused counts as missing: the next one then says that all books of the connection are broken.
        """
        expected, self._next = self._next, _NEVER
        try:
            try:
                message = _decode_frame(frame)
            except msgspec.ValidationError as error:  # an error, not collected, or wrong: rare, so it may be slow
                other = wire.decode_other(frame)
                if other.channel in wire.TAGS:
                    raise Rejected(f"malformed frame: {error}") from error
                return self._other(other, expected, received_ns)
            number = message.sequence_num
            broken = () if number == expected or expected is None else self._break(number, received_ns)
            kind = message.__class__
            if kind is _L2Frame:
                events = self._levels(message, received_ns)
            elif kind is _TradesFrame:
                events = self._trades(message, received_ns)
            elif kind is _TickerFrame:
                events = self._tickers(message, received_ns)
            else:
                events = self._acks(message) if isinstance(message, wire.SubscriptionsFrame) else _HEARTBEAT
        except (Rejected, KeyError, ValueError, RecursionError) as error:
            if isinstance(error, KeyError) and not broken:
                self._next = number + 1  # it was none of ours
            return self._row_by_row(frame, received_ns, expected, error)
        self._next = number + 1
        return [*broken, *events] if broken else events or _EMPTY

    def _row_by_row(self, frame: bytes, received_ns: int, expected: int | None, error: Exception) -> Sequence[Event]:
        """Of trades and tickers. Where a row is good the frame's number is known: it is not a missing one."""
        follows, rows = self._next, ROWS.get(named(frame)[0], ())

        def decode(part: bytes, now_ns: int) -> Sequence[Event]:
            self._next = None  # all of them have the frame's number
            return self.decode(part, now_ns)

        try:
            events = row_by_row(decode, frame, received_ns, error, *rows)
            number = wire.decode_other(frame).sequence_num or 0
        except Rejected:
            self._next = follows
            raise
        broken = () if expected is None or expected == number else self._break(number, received_ns)
        self._next = number + 1
        return [*broken, *(reversed(events) if "trades" in rows else events)]

    def _trades(self, message: wire.TradesFrame, received_ns: int) -> Sequence[Event]:
        events, ids = message.events, self._ids
        entries = events[0].trades or () if len(events) == 1 else [t for event in events for t in event.trades or ()]
        if len(entries) == 1 and not self._renamed:
            return (_trade(ids[entries[0].product_id], entries[0], received_ns),)
        entries = sorted(entries, key=_trade_id)  # the newest comes first
        if not self._renamed:
            return [_trade(ids[entry.product_id], entry, received_ns) for entry in entries]
        return [
            _trade(instrument_id, entry, received_ns)
            for entry in entries
            for instrument_id in self._instruments("trades", entry.product_id)
        ]

    def _tickers(self, message: wire.TickerFrame, received_ns: int) -> Sequence[Event]:
        at_ns = wire.time_ns(message.timestamp, received_ns)
        quotes, tickers = self._served["quotes"], self._served["ticker"]
        events: list[Event] = []
        for event in message.events:
            for entry in event.tickers or ():
                product = entry.product_id
                if not product:
                    events.append(Ignored("ticker: of no product"))
                    continue
                quoted, ticked = quotes.get(product, ()), tickers.get(product, ())
                if not quoted and not ticked:
                    quoted = ticked = (self._ids[product],)
                number = self._quoted[product] = max(at_ns // MICROSECOND, self._quoted.get(product, 0) + 1)
                for instrument_id in quoted:
                    events.append(wire.quote(instrument_id, number, entry, at_ns, received_ns) or _ONE_SIDED)  # noqa: PERF401 - a comprehension costs more
                for instrument_id in ticked:
                    events.append(wire.ticker(instrument_id, entry, at_ns, received_ns))  # noqa: PERF401 - likewise
        return events

    def _instruments(self, channel: Channel, product: str) -> tuple[int, ...]:
        """Whose a product's frames are: two instruments' where the venue lists one book under two names."""
        return (self._served[channel].get(product) if self._renamed else None) or (self._ids[product],)

    def _acks(self, message: wire.SubscriptionsFrame) -> Sequence[Event]:
        """Answers have no ids: each tells all that is subscribed by now."""
        held: dict[str, set[str]] = {}
        for event in message.events:
            for name, products in event.subscriptions.items():
                held.setdefault(name, set()).update(products)
        answered = [n for n, (name, products) in self._unanswered.items() if name in held and products <= held[name]]
        for request_id in answered:
            del self._unanswered[request_id]
        return [Ack(request_id) for request_id in answered] or _NOTHING_NEW

    def _other(self, other: wire.Other, expected: int | None, received_ns: int) -> Sequence[Event]:
        number = other.sequence_num
        if other.channel and number is not None:
            self._next = number + 1
            broken = () if expected is None or expected == number else self._break(number, received_ns)
            return [*broken, Ignored(f"{other.channel}: channel not collected")]
        if other.type == "error":
            self._next = expected  # it has no number, and no id: it is the connection's
            return (Ack(0, ": ".join(filter(None, (other.message, other.reason))) or "no reason given"),)
        raise Rejected(f"unknown frame: channel {other.channel[:40]!r}, type {other.type[:40]!r}")

    # The book: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels#level2-channel

    def _levels(self, message: wire.L2Frame, received_ns: int) -> Sequence[Event]:
        number, at_ns, books = message.sequence_num, wire.time_ns(message.timestamp, received_ns), self._books
        events: list[Event] = []
        for event in message.events:
            product = event.product_id
            instruments = self._instruments("book", product)
            bids: list[tuple[str, str]] = []
            asks: list[tuple[str, str]] = []
            for update in event.updates or ():
                (bids if update.side == "bid" else asks).append((update.price_level, update.new_quantity))
            if event.type == "snapshot":
                books[product] = number
                state = (number, bids, asks, None, received_ns, True, at_ns)
                events += [BookState(instrument_id, *state) for instrument_id in instruments]
                continue
            previous = books.get(product)
            if previous is None:  # the snapshot will hold it
                events.append(_NO_SNAPSHOT)
                continue
            change = (number, number, previous, bids, asks, at_ns, received_ns)
            for instrument_id in instruments:
                events.append(BookDelta(instrument_id, *change))
            if previous != _NEVER:  # else nothing but a snapshot mends the book
                books[product] = number
        return events

    def _break(self, number: int, received_ns: int) -> Sequence[Event]:
        """Frames are missing before this one, and any book may have been in them: a change that follows on none."""
        self._books = dict.fromkeys(self._books, _NEVER)
        return [
            BookDelta(instrument_id, number, number, _NEVER, [], [], 0, received_ns)
            for product in self._books
            for instrument_id in self._instruments("book", product)
        ]

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """Each change names the book's frame before it; `sequence_num` itself counts other products' frames, too."""
        return delta.previous == sequence

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        name, products = named(frame)
        channels = CHANNELS_OF.get(name, ())
        if len(products) != 1:
            return None
        product = products.pop()
        if self._subscribed:
            found = [(number, channel) for channel in channels for number in self._served[channel].get(product, ())]
        else:
            found = [(self._ids[product], channels[-1])] if channels and product in self._ids else []
        return found[0] if len(found) == 1 else None

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._request("product_book", product_id=instrument.native, limit=min(4 * depth, _BOOK_MAX))

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        return wire.book_state(body, instrument_id, min(4 * depth, _BOOK_MAX), received_ns)

    # REST history

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        asked = wire.asked(url, _MARKET)
        if isinstance(asked, Ignored):
            return (asked,)
        path, product = asked
        instrument_id = self._ids.get(product)
        if instrument_id is None:
            raise Rejected(f"unknown symbol: {product!r}")
        if path == "candles":
            rest, as_of_ns = CandleSource.REST, received_ns - MINUTE
            rows = self.decode_candles(body, instrument_id, received_ns, rest, as_of_ns=as_of_ns)
            return self.rows(*rows, received_ns)
        read = wire.latest_trades if path == "ticker" else wire.trades
        return self.rows(*read(body, instrument_id, received_ns), received_ns)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        """Both ends are asked for, and are inclusive: so the end is the last second of the last minute."""
        minutes = max(1, min(limit, _CANDLES_PAGE))
        first = (self.now() // MINUTE - minutes + 1 if start_ns is None else start_ns // MINUTE) * MINUTE // SECOND
        return self._request(
            f"products/{instrument.native}/candles",
            start=first,
            end=first + minutes * 60 - 1,
            granularity="ONE_MINUTE",
            limit=minutes,
        )

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        candles, bad = wire.candles(body, instrument_id, source, received_ns)
        return [candle for candle in candles if candle.time_ns + MINUTE <= as_of_ns], bad

    def latest_trade_request(self, instrument: Instrument) -> Request:
        return self._request(f"products/{instrument.native}/ticker", limit=1)

    def decode_latest_trade(self, body: bytes) -> int | None:
        return wire.latest_trade(body)

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """`after` is the id behind the page: the newest trade of it is the one before."""
        params = {"limit": min(limit, _TRADES_PAGE)} | ({} if end is None else {"after": end + 1})
        path = f"products/{streamed_name(instrument)}/trades"
        return Request(f"{self._history_url}/{path}?{urlencode(params)}", 1, _FRESH)

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        return wire.trades(body, instrument_id, received_ns)

    def _request(self, path: str, **params: str | int) -> Request:
        return Request(f"{self._rest_url}{_MARKET}/{path}?{urlencode(params)}", 1, _FRESH)
