"""The books of one venue: each follows its changes, one connection at a time, and asks when it has lost its way."""

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from ingest import events
from ingest.collect.book import Book, Need
from ingest.collect.ledger import Ledger
from ingest.errors import Rejected
from ingest.exchanges.adapter import Adapter
from ingest.records import BookDelta, BookState, OrderBook

log = structlog.get_logger()


class Books:
    """`want` is called for a book that needs a snapshot. What is in sync, and since when, goes to the `ledger`.

    While a connection is replaced, the old and the new one deliver the same changes: those of the new one are held
    until the old one has said its last.
    """

    def __init__(
        self,
        exchange: str,
        ledger: Ledger,
        want: Callable[[int], None],
        ignored: Counter[str],
        *,
        unchanged: bool = True,
        emit: events.Emit = events.say,
    ) -> None:
        self._emit = emit
        self.by_id: dict[int, Book] = {}
        self._exchange = exchange
        self._ledger = ledger
        self._want = want
        self._ignored = ignored
        self._unchanged = unchanged
        self._stored: dict[int, OrderBook] = {}  # the latest sample of each
        self._deferred: dict[int, list[BookDelta | BookState]] = {}  # by adapter of a connection that takes over

    def follow(self, instrument_id: int, depth: int, adapter: Adapter) -> None:
        self.by_id[instrument_id] = Book(instrument_id, depth, adapter.follows, adapter.books)
        self._stored.pop(instrument_id, None)

    def defer(self, adapter: Adapter) -> None:
        """Hold the book changes of a connection that is to take over from another one."""
        self._deferred[id(adapter)] = []

    def forget(self, adapter: Adapter) -> None:
        """It will not take over after all."""
        self._deferred.pop(id(adapter), None)

    def proceed(self, adapter: Adapter) -> None:
        """The other connection has said its last: apply what was held, and hold no more."""
        for event in self._deferred.pop(id(adapter), []):
            try:
                if isinstance(event, BookDelta):
                    self.apply(event, adapter)
                else:
                    self.take(event, adapter)
            except Rejected as error:
                log.warning("book.event_rejected", exchange=self._exchange, reason=str(error))

    def apply(self, delta: BookDelta, adapter: Adapter) -> None:
        """Changes of a connection. Raises Rejected for levels that are no numbers."""
        deferred = self._deferred.get(id(adapter)) if self._deferred else None
        if deferred is not None:
            deferred.append(delta)
            return
        book = self.by_id.get(delta.instrument_id)
        if book is None:
            self._ignored["book: not subscribed"] += 1
            return
        was_in_sync, before_ns = book.in_sync, book.received_ns
        try:
            need = book.apply(delta)
        finally:
            if was_in_sync and not book.in_sync:
                self._broken(book, before_ns, delta.received_ns)
        if need is not Need.NOTHING:
            self._want(delta.instrument_id)

    def take(self, state: BookState, adapter: Adapter) -> None:
        """A snapshot that came by itself: the stream sends them, or it is in a recording."""
        deferred = self._deferred.get(id(adapter)) if state.streamed and self._deferred else None
        if deferred is not None:
            deferred.append(state)
            return
        if not state.streamed and state.instrument_id in self.by_id:
            self.by_id[state.instrument_id].expect()
        self.join(state)

    def join(self, state: BookState) -> None:
        """Give a book its snapshot; it may want another. Raises Rejected for a snapshot that is none."""
        book = self.by_id.get(state.instrument_id)
        if book is None:
            return
        was_in_sync, before_ns = book.in_sync, book.received_ns
        try:
            need = book.restart(state) if state.streamed else book.join(state)
        finally:
            if book.in_sync:
                self._mended(book)
            elif was_in_sync:
                self._broken(book, before_ns, state.received_ns)
        if need is not Need.NOTHING:
            self._want(state.instrument_id)

    def ask_again(self, instrument_id: int) -> None:
        """A snapshot that was asked for should have come: what is still out of sync asks at its next change."""
        book = self.by_id.get(instrument_id)
        if book is not None and not book.in_sync:
            book.give_up_waiting()

    def known(self) -> Sequence[Book]:
        """Those that have had a first snapshot."""
        return [book for book in self.by_id.values() if book.known]

    def sample(self, tick_ns: int) -> list[OrderBook]:
        """What is stored at a tick; without `unchanged` only books whose best levels, or whose state, are others."""
        samples = [book.sample(tick_ns) for book in self.known()]
        if self._unchanged:
            return samples
        news = [sample for sample in samples if not _same(sample, self._stored.get(sample.instrument_id))]
        self._stored.update((sample.instrument_id, sample) for sample in news)
        return news

    def say_again(self) -> None:
        """Ticks were not stored: what a book says at the next one is news."""
        self._stored.clear()

    def _broken(self, book: Book, since_ns: int, now_ns: int) -> None:
        account = self._ledger.accounts[book.instrument_id, "book"]
        self._ledger.suspend(account, "book out of sync", since_ns, now_ns, book.cause)
        self._emit(events.BookOutOfSync(self._exchange, str(account.stream), book.cause))

    def _mended(self, book: Book) -> None:
        account = self._ledger.accounts[book.instrument_id, "book"]
        account.began_ns = account.began_ns or book.received_ns
        self._ledger.resume(account, book.received_ns)


def _same(sample: OrderBook, last: OrderBook | None) -> bool:
    """Whether a reader of the last row knows this one: changes below the best levels are no news to him."""
    return last is not None and (sample.in_sync, sample.bids, sample.asks) == (last.in_sync, last.bids, last.asks)
