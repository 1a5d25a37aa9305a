"""Any exchange that ccxt knows, without code of its own.

What comes is what our session (`collect/ccxt_session.py`) and our calls (`ccxt_rest.py`) write: ccxt's unified
structures as JSON, with the exchange's digits. https://docs.ccxt.com/#/README?id=unified-api describes them.

ccxt tells of no exchange whether its trade ids are contiguous, so that no channel but candles promises anything. A
trade without an id gets one from what it says: time, side, price, amount, and how many like it came before. Times
are milliseconds. ccxt marks no candle as closed: one counts as closed when the next one opens.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from ingest.clock import MILLISECOND, MINUTE
from ingest.errors import Rejected
from ingest.exchanges import ccxt_frames as frames
from ingest.exchanges.adapter import (
    Adapter,
    Bad,
    BookRule,
    Event,
    History,
    Ignored,
    Limits,
    Options,
    Request,
    Skipped,
    Subscription,
)
from ingest.exchanges.ccxt_offer import Offer, offer
from ingest.exchanges.ccxt_polls import Polls
from ingest.exchanges.ccxt_rows import Counter, candle, event_of, is_made, trade
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

SCHEME = "ccxt:"
_STREAMS = 100
_LIFETIME_SECONDS = 12 * 3600.0
_CONTRACTS: tuple[Channel, ...] = ("open_interest", "mark_price", "liquidations")
_EMPTY = (Ignored("nothing in it"),)
_WITHIN = "trades have no ids, and the stream began within this moment"
_MIN_BOOK = 100
"""Levels that nearly every exchange accepts to be asked for."""


class Ccxt(Adapter):
    """Translator for one session. Made for an exchange by `ccxt_adapter`, which sets the names below."""

    offer: ClassVar[Offer]
    kinds = ("spot", "swap", "future", "option")
    promises: Mapping[Channel, Promise] = {
        **dict.fromkeys(("trades", "book", "quotes", "ticker", *_CONTRACTS, "funding"), "none"),
        "candles": "grid",
    }
    books = BookRule(snapshot="stream")
    history = History("recent")

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        self._ids = instrument_ids
        self._depth = options.book_depth
        self._include_open = options.include_open_candles
        self._open: dict[int, Candle] = {}  # the latest candle of each instrument
        self._counters: dict[int, Counter] = {}
        self._polls = Polls()
        self.refusal: str | None = None  # set by the session for an exchange's frame that ccxt could not take

    @staticmethod
    def key(instrument: Instrument) -> str:
        return instrument.symbol

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        derivative = instrument.kind != "spot"
        return tuple(
            channel
            for channel in self.offer.ways
            if (derivative or channel not in _CONTRACTS) and (channel != "funding" or instrument.kind == "swap")
        )

    def polled(self, instrument: Instrument) -> Mapping[Channel, float]:
        """As often as a channel is worth it; the limit of the exchange may make it less often."""
        return {
            channel: self._polls.seconds(instrument.symbol, channel)
            for channel in self.channels(instrument)
            if self.offer.ways[channel].watch is None
        }

    def group(self, stream: Stream) -> str:
        """The library connects to another address for each kind, and one that fails must not take the others along."""
        return stream.instrument.kind

    def id_space(self, channel: Channel) -> str:
        return {"trades": "ccxt", "candles": "minute"}.get(channel, "time")

    def url(self, streams: Sequence[Stream]) -> str:
        """For the log and recordings: ccxt knows where to connect."""
        return f"{SCHEME}//{self.exchange}/{streams[0].instrument.kind}"

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """What the session watches, as recordings keep it; ccxt knows what to send."""
        watched = [{"channel": stream.channel, "symbol": stream.instrument.symbol} for stream in streams]
        return [Subscription(first_request_id, msgspec.json.encode({"watch": watched}).decode(), tuple(streams))]

    def tells_latest(self, stream: Stream) -> bool:
        return False

    # Frames

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        if self.refusal is not None:
            reason, self.refusal = self.refusal, None
            raise Rejected(reason)
        try:
            return self._events(frame, received_ns)
        except Rejected as error:
            return row_by_row(self.decode, frame, received_ns, error, "rows")

    def _events(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        found = _decoded(frame)
        instrument_id = self._ids.get(found.symbol)
        if instrument_id is None:
            raise Rejected(f"unknown symbol: {found.symbol!r}")
        if isinstance(found, frames.Trades):
            return self._trades(found, instrument_id, received_ns) or _EMPTY
        if isinstance(found, frames.Candles) and found.as_of is not None:
            return self._replied(frame, instrument_id, found.as_of, received_ns)
        if isinstance(found, frames.Candles):
            return self._candles(instrument_id, found.rows, received_ns) or _EMPTY
        if isinstance(found, frames.Book):
            return (self._book(instrument_id, found, received_ns),)
        return event_of(instrument_id, found, received_ns) or _EMPTY

    def _trades(self, found: frames.Trades, instrument_id: int, received_ns: int) -> list[Event]:
        """A stream begins within a moment: of trades without ids there may have been more like its first ones."""
        known = self._counters.get(instrument_id)
        counter = known or Counter()
        good, bad = _trades(found, instrument_id, counter, received_ns)
        if bad and not good:
            raise Rejected(bad[0].reason)
        if good:
            self._counters[instrument_id] = counter
        if good and known is None and is_made(good[0]):
            at_ns = min(trade.time_ns for trade in good)
            return [Skipped(instrument_id, "trades", at_ns, at_ns + MILLISECOND, _WITHIN), *good, *bad]
        return [*good, *bad]

    def _candles(self, instrument_id: int, rows: Sequence[frames.CandleRow], received_ns: int) -> Sequence[Event]:
        """The candle before is closed when one opens after it: it is as its last message said."""
        events: list[Event] = []
        candles = [candle(instrument_id, row, CandleSource.OPEN, received_ns) for row in rows]
        for new in candles:
            before = self._open.get(instrument_id)
            if before is not None and new.time_ns < before.time_ns:
                events.append(Ignored("candle: closed before"))
                continue
            if before is not None and new.time_ns > before.time_ns:
                events.append(msgspec.structs.replace(before, source=CandleSource.STREAM, received_ns=received_ns))
            self._open[instrument_id] = new
            events.append(new if self._include_open else Ignored("candle: still open"))
        return events

    def _replied(self, frame: bytes, instrument_id: int, as_of_ms: int, received_ns: int) -> Sequence[Event]:
        """A candle of a REST reply that was kept by itself."""
        as_of_ns = as_of_ms * MILLISECOND
        good, bad = self.decode_candles(frame, instrument_id, received_ns, CandleSource.REST, as_of_ns=as_of_ns)
        if bad:
            raise Rejected(bad[0].reason)
        return good or (Ignored("candle: still open"),)

    def _book(self, instrument_id: int, found: frames.Book, received_ns: int) -> BookDelta | BookState:
        """A broken one is told as a change that follows nothing: the book is out of sync until the next state."""
        time_ns = None if found.time is None else found.time * MILLISECOND
        if found.broken is not None:
            return BookDelta(instrument_id, -1, -1, None, [], [], time_ns or received_ns, received_ns)
        sequence = received_ns // 1_000 if found.nonce is None else found.nonce
        ids, levels = (instrument_id, sequence), (found.bids, found.asks)
        return BookState(*ids, *levels, None, received_ns, streamed=True, event_ns=time_ns)

    def _rejects(self, symbol: str, channel: Channel, bad: Sequence[Bad], received_ns: int) -> list[Reject]:
        name = f"{symbol} {channel}"
        return [Reject(self.exchange, name, row.reason, row.payload, received_ns) for row in bad]

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        try:
            named = _decode_name(frame)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        instrument_id = self._ids.get(named.symbol)
        return None if instrument_id is None else (instrument_id, named.channel)

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        return delta.first >= 0

    # REST

    def _request(self, channel: Channel, instrument: Instrument, **arguments: int | None) -> Request:
        way = self.offer.ways.get(channel)
        if way is None or way.fetch is None:
            raise Rejected(f"{self.exchange}: ccxt has no REST call for {channel}")
        given = {name: value for name, value in arguments.items() if value is not None}
        query = urlencode({"symbol": instrument.symbol, **given})
        return Request(f"{SCHEME}{way.fetch}?{query}", self.offer.call_ms)

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        return self._request("book", instrument, limit=max(depth, _MIN_BOOK))

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        found = _decoded(body)
        if not isinstance(found, frames.Book):
            raise Rejected(f"no book: {body[:100]!r}")
        state = self._book(instrument_id, found, received_ns)
        return msgspec.structs.replace(cast("BookState", state), streamed=False)

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        since = None if start_ns is None else start_ns // MILLISECOND
        return self._request("candles", instrument, since=since, limit=min(limit, self.limits.candles_page))

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        found = _decoded(body)
        if not isinstance(found, frames.Candles):
            raise Rejected(f"no candles: {body[:100]!r}")
        good, bad = list[Candle](), list[Bad]()
        for row in found.rows:
            try:
                made = candle(instrument_id, row, source, received_ns)
            except Rejected as error:
                bad.append(Bad(str(error), frames.encode(frames.Candles(found.symbol, [row], as_of_ns // MILLISECOND))))
                continue
            if made.time_ns + MINUTE <= as_of_ns:
                good.append(made)
        return good, bad

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """The latest ones: which exchanges heed ccxt's `since`, and from which end they cut, cannot be told."""
        return self._request("trades", instrument, limit=limit)

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        found = _decoded(body)
        if not isinstance(found, frames.Trades):
            raise Rejected(f"no trades: {body[:100]!r}")
        return _trades(found, instrument_id, Counter(), received_ns)

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        parts = urlsplit(url)
        if parts.scheme != SCHEME[:-1]:
            return (Ignored("reply: the listing"),)
        instrument_id = self._ids.get(dict(parse_qsl(parts.query)).get("symbol", ""))
        if instrument_id is None:
            raise Rejected(f"unknown symbol: {parts.query!r}")
        found = _decoded(body)
        if isinstance(found, frames.Candles):
            source, as_of_ns = CandleSource.REST, received_ns - MINUTE
            candles, bad = self.decode_candles(body, instrument_id, received_ns, source, as_of_ns=as_of_ns)
            return [*candles, *self._rejects(found.symbol, "candles", bad, received_ns)]
        if isinstance(found, frames.Trades):
            trades, bad = self.decode_trades(body, instrument_id, received_ns)
            return [*trades, *self._rejects(found.symbol, "trades", bad, received_ns)]
        return self.decode(body, received_ns)

    # Polls

    def poll_request(self, stream: Stream) -> Request:
        """Trades since the last one that was seen, and that one again: a page without it does not follow."""
        since_ms = self._polls.since_ms(stream)
        limit = max(self._depth, _MIN_BOOK) if stream.channel == "book" else None
        return self._request(stream.channel, stream.instrument, since=since_ms, limit=limit)

    def decode_poll(self, stream: Stream, body: bytes, received_ns: int) -> Sequence[Event]:
        if stream.channel != "trades":
            return self.decode(body, received_ns)
        trades, bad = self.decode_trades(body, stream.instrument_id, received_ns)
        new, skipped = self._polls.take(stream, trades)
        events: list[Event] = [*new, *self._rejects(stream.instrument.symbol, "trades", bad, received_ns)]
        if skipped is not None:
            reason = "the latest trades that the exchange gave did not reach back to the last one seen"
            events.insert(0, Skipped(stream.instrument_id, "trades", *skipped, reason))
        return events


class _Name(msgspec.Struct, frozen=True):
    channel: Channel
    symbol: str


_decode_name = msgspec.json.Decoder(_Name).decode


def _decoded(frame: bytes) -> frames.AnyFrame:
    try:
        return frames.decode(frame)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and name the field
        raise Rejected(f"malformed frame: {error}") from error


def _trades(
    found: frames.Trades, instrument_id: int, counter: Counter, received_ns: int
) -> tuple[list[Trade], list[Bad]]:
    """The good rows and the bad ones, which must not cost each other; a bad one's payload is a frame of its own."""
    good, bad = list[Trade](), list[Bad]()
    for row in found.rows:
        try:
            good.append(trade(instrument_id, row, counter, received_ns))
        except Rejected as error:
            bad.append(Bad(str(error), frames.encode(frames.Trades(found.symbol, [row]))))
    return good, bad


@cache
def ccxt_adapter(exchange: str) -> type[Ccxt]:
    """The adapter of any exchange that ccxt knows. Raises ConfigError for others, with those that sound like it."""
    found = offer(exchange)
    limits = Limits(
        streams_per_connection=_STREAMS,
        messages_per_second=10,  # not used: ccxt spaces what it sends
        connections_per_window=30,
        connection_window_seconds=60,
        connection_lifetime_seconds=_LIFETIME_SECONDS,
        weight_per_minute=60_000,  # milliseconds: a call takes what ccxt says must lie between two
        trades_page=1000,
        candles_page=500,
    )
    members: dict[str, Any] = {"exchange": exchange, "offer": found, "limits": limits, "__doc__": Ccxt.__doc__}
    return type(f"Ccxt_{exchange}", (Ccxt,), members)
