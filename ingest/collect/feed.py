"""One venue's frames made into rows: decoded, checked for continuity, books kept and sampled.

A feed outlives its connections. When a connection is replaced, the old and the new one deliver the same
things for a moment; books skip what they know, and the database knows every other row by its key.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog

from ingest import clock
from ingest.collect.book import Book, Need
from ingest.errors import Rejected
from ingest.exchanges.adapter import Ack, Adapter, Ignored, Shutdown
from ingest.records import BookDelta, BookState, Candle, Gap, OrderBook, Quote, Reject, Stream, Ticker, Trade
from ingest.store.copy_writer import Record

log = structlog.get_logger()

Control = Ack | Shutdown

_PAYLOAD_MAX = 64 * 1024
_MISSED_TICKS_MAX = 60


class Feed:
    """Rows of one venue go to `put`; book snapshots that are needed are announced through `want_snapshot`."""

    def __init__(
        self,
        exchange: str,
        put: Callable[[Iterable[Record]], None],
        want_snapshot: Callable[[int], None],
        *,
        cadence_ns: int,
    ) -> None:
        self.exchange = exchange
        self.frames = 0
        self.kinds: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._put = put
        self._want_snapshot = want_snapshot
        self._cadence_ns = cadence_ns
        self._next_tick_ns = 0
        self.books: dict[int, Book] = {}
        self._last_trade: dict[int, tuple[int, int]] = {}  # instrument → (id, time)
        self._broken_since: dict[int, int] = {}  # instrument → time of the last change before its book broke
        self._last_quote: dict[int, int] = {}  # instrument → sequence
        self._last_candle_ns: dict[int, int] = {}

    def follow(self, streams: Sequence[Stream], depth: int, adapter: Adapter) -> None:
        """Keep a book for each of the book streams."""
        for stream in streams:
            if stream.channel == "book":
                self.books[stream.instrument_id] = Book(stream.instrument_id, depth, adapter.follows)

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Control] | None:
        """Take one frame; return what is addressed to the connection, None when the frame was rejected.

        Never raises on the frame's account.
        """
        if received_ns >= self._next_tick_ns:
            self.sample(received_ns)
        self.frames += 1
        try:
            events = adapter.decode(frame, received_ns)
            return self._route(events, adapter)
        except Rejected as error:
            self.reject(frame, str(error), received_ns)
            return None

    def take_reply(self, adapter: Adapter, url: str, body: bytes, received_ns: int) -> None:
        """Take a recorded REST reply, as `take` does a frame."""
        if received_ns >= self._next_tick_ns:
            self.sample(received_ns)
        try:
            self._route(adapter.decode_reply(url, body, received_ns), adapter)
        except Rejected as error:
            self.reject(body, str(error), received_ns)

    def _route(self, events: Sequence[object], adapter: Adapter) -> Sequence[Control]:
        controls: list[Control] = []
        for event in events:
            kind = event.__class__
            self.kinds[kind.__name__] += 1
            if kind is Trade:
                self._trade(event, adapter)  # type: ignore[arg-type]
            elif kind is BookDelta:
                self._delta(event)  # type: ignore[arg-type]
            elif isinstance(event, Candle):
                self._last_candle_ns[event.instrument_id] = event.time_ns
                self._put((event,))
            elif kind is Quote:
                self._quote(event)  # type: ignore[arg-type]
            elif kind is Ticker:
                self._put((event,))  # type: ignore[arg-type]
            elif isinstance(event, BookState):
                self.join(event)
            elif isinstance(event, Ignored):
                self.ignored[event.reason] += 1
            elif isinstance(event, Ack | Shutdown):
                controls.append(event)
        return controls

    def _trade(self, trade: Trade, adapter: Adapter) -> None:
        self._put((trade,))
        if not adapter.contiguous_trade_ids:
            return
        number = int(trade.trade_id)
        last = self._last_trade.get(trade.instrument_id)
        if last is not None:
            if number <= last[0]:
                return  # again, or late: stored all the same
            if number > last[0] + 1:
                self._put((_missing_trades(trade, last, number),))
        self._last_trade[trade.instrument_id] = (number, trade.time_ns)

    def _quote(self, quote: Quote) -> None:
        """Each state once: while a connection is replaced, two deliver it, at different times of receipt."""
        if quote.sequence <= self._last_quote.get(quote.instrument_id, -1):
            self.ignored["quote: not newer than the last"] += 1
            return
        self._last_quote[quote.instrument_id] = quote.sequence
        self._put((quote,))

    # Books

    def _delta(self, delta: BookDelta) -> None:
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
            self._want_snapshot(delta.instrument_id)

    def join(self, state: BookState) -> None:
        """Give a book the snapshot that it wanted; it may want another. Raises Rejected for a snapshot that is none."""
        if state.received_ns >= self._next_tick_ns:
            self.sample(state.received_ns)
        book = self.books[state.instrument_id]
        was_in_sync, before_ns = book.in_sync, book.received_ns
        try:
            need = book.join(state)
        finally:
            if book.in_sync:
                self._mended(book)
            elif was_in_sync:
                self._broken(book, before_ns)
        if need is not Need.NOTHING:
            self._want_snapshot(state.instrument_id)

    def minutes_without_candle(self, stream: Stream) -> int:
        """How many minutes ago the latest streamed candle opened; 0 when there was none yet."""
        last_ns = self._last_candle_ns.get(stream.instrument_id)
        return 0 if last_ns is None else (clock.now_ns() - last_ns) // clock.MINUTE + 1

    def disconnected(self, streams: Sequence[Stream], cause: str) -> None:
        """The connection of these streams is gone and no other one delivers them."""
        for stream in streams:
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
            self._put(
                (Gap(book.instrument_id, "book", "book out of sync", since_ns, book.received_ns, evidence=book.cause),)
            )

    def sample(self, now_ns: int) -> None:
        """Emit every book for each tick of the cadence up to `now_ns`: as it was known before the tick.

        Called before a frame received at or after the tick is applied, and by a timer when none comes.
        """
        last = now_ns // self._cadence_ns * self._cadence_ns
        first = self._next_tick_ns or last
        self._next_tick_ns = last + self._cadence_ns
        first = max(first, last - _MISSED_TICKS_MAX * self._cadence_ns)
        for tick_ns in range(first, last + 1, self._cadence_ns):
            self._put([_snapshot(book, tick_ns) for book in self.books.values() if book.known])

    def reject(self, payload: bytes, reason: str, received_ns: int, stream: str = "") -> None:
        """Keep what could not be used: the first 64 KiB of it, with the reason."""
        self.rejected[reason.partition(":")[0]] += 1  # the part before the colon is a constant
        log.warning("frame.rejected", exchange=self.exchange, reason=reason, bytes=len(payload))
        self._put((Reject(self.exchange, stream, reason, payload[:_PAYLOAD_MAX], received_ns),))


def _snapshot(book: Book, tick_ns: int) -> OrderBook:
    bids, asks = book.top()
    return OrderBook(
        book.instrument_id, tick_ns, book.event_ns, book.sequence, bids, asks, book.in_sync, book.received_ns
    )


def _missing_trades(trade: Trade, last: tuple[int, int], number: int) -> Gap:
    return Gap(
        trade.instrument_id,
        "trades",
        "trade ids skipped",
        from_ns=last[1],
        to_ns=trade.time_ns,
        from_id=last[0] + 1,
        to_id=number - 1,
        evidence=f"{last[0]} was followed by {number}",
    )


def tick_after(now_ns: int, cadence_ns: int) -> float:
    """Seconds from `now_ns` to the next tick of the cadence."""
    return (cadence_ns - now_ns % cadence_ns) / clock.SECOND
