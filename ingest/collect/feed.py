"""One venue's frames made into rows: decoded, checked for continuity, books kept and sampled.

A feed outlives its connections. When a connection is replaced, the old and the new one deliver the same
things for a moment: the new one's book changes are held until the old one has said its last, and the database
knows every other row by its key.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from msgspec import Struct

from ingest import clock
from ingest.collect.book import Book, Need
from ingest.collect.continuity import Hole, TradeRun
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Adapter, Ignored, Shutdown
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Gap,
    OrderBook,
    Progress,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)
from ingest.store.copy_writer import Record

log = structlog.get_logger()

Control = Ack | Shutdown

_PAYLOAD_MAX = 64 * 1024
_REASON_MAX = 300
_MISSED_TICKS_MAX = 60


class Wants(Struct, frozen=True):
    """What a feed may ask of REST: a snapshot for a book, the latest minutes of candles."""

    book: Callable[[int], None]
    candles: Callable[[int, int], None]


class Feed:
    """Rows of one venue go to `put`; what only REST can give is asked for through `wants`."""

    def __init__(
        self, exchange: str, put: Callable[[Iterable[Record]], None], wants: Wants, *, cadence_ns: int
    ) -> None:
        self.exchange = exchange
        self.frames = 0
        self.kinds: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.books: dict[int, Book] = {}
        self.latest_event_ns = 0  # the venue's own time, as its trades and books show it
        self._put = put
        self._wants = wants
        self._cadence_ns = cadence_ns
        self._next_tick_ns = 0
        self._held_since_ns = 0
        self._runs: dict[int, TradeRun] = {}
        self._last_quote: dict[int, int] = {}  # instrument → sequence
        self._last_candle_ns: dict[int, int] = {}
        self._broken_since: dict[int, int] = {}  # instrument → time of the last change before its book broke
        self._deferred: dict[int, list[BookDelta]] = {}  # adapter of a connection that takes over → its changes

    def follow(
        self,
        streams: Sequence[Stream],
        depth: int,
        adapter: Adapter,
        progress: Mapping[Stream, Progress | None] | None = None,
    ) -> None:
        """Keep a book for each of the book streams; go on from where each stream stood."""
        known = progress or {}
        for stream in streams:
            before = known.get(stream)
            if stream.channel == "book":
                self.books[stream.instrument_id] = Book(stream.instrument_id, depth, adapter.follows)
                if before is not None:
                    self.books[stream.instrument_id].cause = "not collected"
                    self._broken_since[stream.instrument_id] = before.last_ns
            elif stream.channel == "trades" and before is not None and before.last_sequence is not None:
                self._runs[stream.instrument_id] = TradeRun(before.last_sequence, before.last_ns)
            elif stream.channel == "candles" and before is not None:
                self._last_candle_ns[stream.instrument_id] = before.last_ns

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Control] | None:
        """Take one frame; return what is addressed to the connection, None when the frame was rejected.

        Never raises on the frame's account.
        """
        if received_ns >= self._next_tick_ns:
            self.sample(received_ns)
        self.frames += 1
        try:
            return self._route(adapter.decode(frame, received_ns), adapter, received_ns)
        except Rejected as error:
            self.reject(frame, str(error), received_ns)
            return None

    def take_reply(self, adapter: Adapter, url: str, body: bytes, received_ns: int) -> None:
        """Take a recorded REST reply, as `take` does a frame."""
        if received_ns >= self._next_tick_ns:
            self.sample(received_ns)
        try:
            self._route(adapter.decode_reply(url, body, received_ns), adapter, received_ns)
        except Rejected as error:
            self.reject(body, str(error), received_ns)

    def _route(self, events: Sequence[object], adapter: Adapter, received_ns: int) -> Sequence[Control]:
        controls: list[Control] = []
        for event in events:
            kind = event.__class__
            self.kinds[kind.__name__] += 1
            if kind is Trade:
                self._trade(event, adapter, received_ns)  # type: ignore[arg-type]
            elif kind is BookDelta:
                self._delta(event, adapter)  # type: ignore[arg-type]
            elif kind is Quote:
                self._quote(event)  # type: ignore[arg-type]
            elif isinstance(event, Candle):
                self._candle(event)
            elif isinstance(event, Ticker):
                self._put((event,))
            elif isinstance(event, BookState):
                self._unasked(event)
            elif isinstance(event, Ignored):
                self.ignored[event.reason] += 1
            elif isinstance(event, Ack | Shutdown):
                controls.append(event)
            elif isinstance(event, Reject):
                self._put((event,))
        return controls

    def _trade(self, trade: Trade, adapter: Adapter, received_ns: int) -> None:
        self._put((trade,))
        if trade.time_ns > self.latest_event_ns:  # noqa: PLR1730 - a call for every trade costs more
            self.latest_event_ns = trade.time_ns
        if adapter.contiguous_trade_ids:
            run = self._runs.get(trade.instrument_id)
            if run is None:
                run = self._runs[trade.instrument_id] = TradeRun()
            run.see(int(trade.trade_id), trade.time_ns, received_ns)

    def _quote(self, quote: Quote) -> None:
        """Each state once: while a connection is replaced, two deliver it, at different times of receipt."""
        if quote.sequence <= self._last_quote.get(quote.instrument_id, -1):
            self.ignored["quote: not newer than the last"] += 1
            return
        self._last_quote[quote.instrument_id] = quote.sequence
        self._put((quote,))

    def _candle(self, candle: Candle) -> None:
        """Closed candles come a minute apart; when one was skipped, REST has it (or says that nothing was traded)."""
        self._put((candle,))
        if candle.source is CandleSource.STREAM:
            last_ns = self._last_candle_ns.get(candle.instrument_id, candle.time_ns)
            if candle.time_ns > last_ns + clock.MINUTE:
                self._wants.candles(candle.instrument_id, (candle.time_ns - last_ns) // clock.MINUTE + 1)
            self._last_candle_ns[candle.instrument_id] = max(last_ns, candle.time_ns)

    def minutes_without_candle(self, stream: Stream, now_ns: int) -> int:
        """How many minutes ago the latest candle opened; 0 when there was none yet."""
        last_ns = self._last_candle_ns.get(stream.instrument_id)
        return 0 if last_ns is None else max(0, now_ns - last_ns) // clock.MINUTE + 1

    # Books

    def defer(self, adapter: Adapter) -> None:
        """Hold the book changes of a connection that is to take over from another one."""
        self._deferred[id(adapter)] = []

    def forget(self, adapter: Adapter) -> None:
        """It will not take over after all."""
        self._deferred.pop(id(adapter), None)

    def proceed(self, adapter: Adapter) -> None:
        """The other connection has said its last: apply what was held, and hold no more."""
        for delta in self._deferred.pop(id(adapter), []):
            try:
                self._delta(delta, adapter)
            except Rejected as error:
                log.warning("book.delta_rejected", exchange=self.exchange, reason=str(error))

    def _delta(self, delta: BookDelta, adapter: Adapter) -> None:
        deferred = self._deferred.get(id(adapter)) if self._deferred else None
        if deferred is not None:
            deferred.append(delta)
            return
        if delta.event_ns > self.latest_event_ns:  # noqa: PLR1730 - as above
            self.latest_event_ns = delta.event_ns
        book = self.books.get(delta.instrument_id)
        if book is None:
            self.ignored["book: not subscribed"] += 1
            return
        was_in_sync, before_ns = book.in_sync, book.received_ns
        try:
            need = book.apply(delta)
        finally:
            if was_in_sync and not book.in_sync:
                self._broken(book, before_ns)
        if need is not Need.NOTHING:
            self._wants.book(delta.instrument_id)

    def join(self, state: BookState) -> None:
        """Give a book the snapshot that it wanted; it may want another. Raises Rejected for a snapshot that is none."""
        if state.received_ns >= self._next_tick_ns:
            self.sample(state.received_ns)
        book = self.books.get(state.instrument_id)
        if book is None:
            return
        was_in_sync, before_ns = book.in_sync, book.received_ns
        try:
            need = book.join(state)
        finally:
            if book.in_sync:
                self._mended(book)
            elif was_in_sync:
                self._broken(book, before_ns)
        if need is not Need.NOTHING:
            self._wants.book(state.instrument_id)

    def _unasked(self, state: BookState) -> None:
        """A snapshot that came by itself: the venue sends them, or it is in a recording."""
        if state.instrument_id in self.books:
            self.books[state.instrument_id].expect()
        self.join(state)

    def disconnected(self, streams: Sequence[Stream], cause: str) -> None:
        """The connection of these streams is gone and no other one delivers them."""
        for stream in streams:
            if stream.channel == "quotes":
                self._last_quote.pop(stream.instrument_id, None)  # the venue may count anew
            book = self.books.get(stream.instrument_id) if stream.channel == "book" else None
            if book is not None:
                was_in_sync = book.in_sync
                book.desync(cause)
                if was_in_sync:
                    self._broken(book, book.received_ns)

    def _broken(self, book: Book, since_ns: int) -> None:
        self._broken_since.setdefault(book.instrument_id, since_ns)
        log.warning("book.out_of_sync", exchange=self.exchange, instrument_id=book.instrument_id, cause=book.cause)

    def _mended(self, book: Book) -> None:
        since_ns = self._broken_since.pop(book.instrument_id, None)
        if since_ns is not None:
            self._put((_book_gap(book, "book out of sync", since_ns, book.received_ns),))

    # Ticks

    def sample(self, now_ns: int) -> None:
        """Emit every book for each tick of the cadence up to `now_ns`: as it was known before the tick.

        Called before a frame received at or after the tick is applied, and by a timer when none comes. Holes in
        trade ids that nothing filled are reported on the way.
        """
        last = now_ns // self._cadence_ns * self._cadence_ns
        first = self._next_tick_ns or last
        self._next_tick_ns = last + self._cadence_ns
        if self._held_since_ns:
            first, since_ns, self._held_since_ns = last, self._held_since_ns, 0
            self._put([_book_gap(b, "pipeline full", since_ns, now_ns) for b in self.books.values() if b.known])
        first = max(first, last - _MISSED_TICKS_MAX * self._cadence_ns)
        for tick_ns in range(first, last + 1, self._cadence_ns):
            self._put([_snapshot(book, tick_ns) for book in self.books.values() if book.known])
        for instrument_id, run in self._runs.items():
            holes = run.overdue(now_ns)
            if holes:
                self._put([_missing_trades(instrument_id, hole) for hole in holes])

    def hold(self, now_ns: int) -> None:
        """There is no room for samples: skip them, and name the time as a gap at the next one."""
        self._held_since_ns = self._held_since_ns or now_ns

    def finish(self, now_ns: int) -> None:
        """Intake ended: name what is still missing or out of sync."""
        for instrument_id, run in self._runs.items():
            self._put([_missing_trades(instrument_id, hole) for hole in run.overdue(now_ns + clock.MINUTE)])
        for instrument_id, since_ns in self._broken_since.items():
            book = self.books[instrument_id]
            if book.known:
                self._put((_book_gap(book, "book out of sync", since_ns, now_ns),))
        self._broken_since.clear()

    def reject(self, payload: bytes, reason: str, received_ns: int, stream: str = "") -> None:
        """Keep what could not be used: the first 64 KiB of it, with the reason."""
        self.rejected[reason.partition(":")[0]] += 1  # the part before the colon is a constant
        reason = reason[:_REASON_MAX]
        log.warning("frame.rejected", exchange=self.exchange, reason=reason, bytes=len(payload))
        self._put((Reject(self.exchange, stream, reason, payload[:_PAYLOAD_MAX], received_ns),))


def _snapshot(book: Book, tick_ns: int) -> OrderBook:
    bids, asks = book.top()
    return OrderBook(
        book.instrument_id, tick_ns, book.event_ns, book.sequence, bids, asks, book.in_sync, book.received_ns
    )


def _book_gap(book: Book, cause: str, from_ns: int, to_ns: int) -> Gap:
    return Gap(book.instrument_id, "book", cause, from_ns, to_ns, evidence=book.cause)


def _missing_trades(instrument_id: int, hole: Hole) -> Gap:
    return Gap(
        instrument_id,
        "trades",
        "trade ids skipped",
        from_ns=hole.after_ns,
        to_ns=hole.before_ns,
        from_id=hole.first,
        to_id=hole.last,
        evidence=f"{hole.first - 1} was followed by {hole.last + 1}",
    )


def tick_after(now_ns: int, cadence_ns: int) -> float:
    """Seconds from `now_ns` to the next tick of the cadence."""
    return (cadence_ns - now_ns % cadence_ns) / clock.SECOND
