"""One venue's frames made into rows: decoded, checked for continuity, books kept and sampled.

A feed outlives its connections. When a connection is replaced, the old and the new one deliver the same
things for a moment: the new one's book changes are held until the old one has said its last, and the database
knows every other row by its key.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from ingest import clock, events
from ingest.collect.book import Book
from ingest.collect.books import Books
from ingest.collect.continuity import Run
from ingest.collect.ledger import Account, Ledger
from ingest.collect.silence import FLOOR_NS
from ingest.collect.ticks import Ticks
from ingest.errors import Rejected, Retryable
from ingest.exchanges.adapter import Ack, Adapter, Bad, Ignored, Shutdown, Skipped
from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Figure,
    Funding,
    Gap,
    Item,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Progress,
    Quote,
    Reject,
    Row,
    Stream,
    Ticker,
    Trade,
)

Control = Ack | Shutdown
Put = Callable[[Iterable[Item]], None]

_FIGURES: dict[type[Row], Channel] = {
    Ticker: "ticker",
    Funding: "funding",
    OpenInterest: "open_interest",
    MarkPrice: "mark_price",
    Liquidation: "liquidations",
}
_PAYLOAD_MAX = 64 * 1024
_REASON_MAX = 300


class Wants(Struct, frozen=True):
    """What a feed may ask for: of REST a snapshot for a book, the latest minutes of candles, whether a quiet stream is
    dead; and another subscription for one that is.
    """

    book: Callable[[int], None]
    candles: Callable[[int, int], None]
    check: Callable[[Stream], None]
    renew: Callable[[Stream], None]


class Feed:
    """Rows of one venue go to `put`; what only REST can give is asked for through `wants`.

    Books are stored at each tick of `cadence_ns`; without `unchanged` those that say what they said last are left out.
    """

    def __init__(
        self,
        exchange: str,
        put: Put,
        wants: Wants,
        *,
        cadence_ns: int,
        silence_ns: int = FLOOR_NS,
        unchanged: bool = True,
        emit: events.Emit = events.say,
    ) -> None:
        self.exchange = exchange
        self.frames = 0
        self.kinds: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.latest_event_ns = 0  # the venue's own time, as its trades and books show it
        self._put = put
        self._emit = emit
        self._wants = wants
        self._ticks = Ticks(cadence_ns)
        self._held_since_ns = 0
        self.ledger = Ledger(put, suspect=wants.check, renew=self._dead, silence_ns=silence_ns, emit=emit)
        self.keeper = Books(exchange, self.ledger, wants.book, self.ignored, unchanged=unchanged, emit=emit)
        self.books = self.keeper.by_id
        self._runs: dict[int, Run] = {}  # of trades
        self._last_trade: dict[int, Trade] = {}  # where ids promise nothing
        self._last_quote: dict[int, Quote] = {}
        self._figures: dict[type[Row], dict[int, Figure | Ticker]] = {kind: {} for kind in _FIGURES}
        self._latest: dict[Channel, Mapping[int, Row]] = {"trades": self._last_trade, "quotes": self._last_quote}
        self._latest |= {_FIGURES[kind]: latest for kind, latest in self._figures.items()}
        self._best: dict[int, tuple[tuple[str, str], ...]] = {}  # what the venue said when a quiet quote was checked
        self._doubtful: list[Account] = []  # a frame was lost that may have been theirs

    def follow(
        self,
        streams: Sequence[Stream],
        depth: int,
        adapter: Adapter,
        progress: Mapping[Stream, Progress | None] | None = None,
        now_ns: int = 0,
    ) -> None:
        """Keep an account of each stream, and a book for each of the book streams; go on from where each stood."""
        known = progress or {}
        contiguous = adapter.promises.get("trades") == "ids"
        for stream in streams:
            account = self.ledger.follow(stream, known.get(stream), now_ns, contiguous=contiguous)
            if stream.channel == "book":
                self.keeper.follow(stream.instrument_id, depth, adapter)
            elif stream.channel == "trades" and account.run is not None:
                self._runs[stream.instrument_id] = account.run

    def unfollow(self, streams: Sequence[Stream], now_ns: int) -> None:
        """They are collected no more."""
        self._witness()
        for stream in streams:
            self.ledger.forget(stream, now_ns)
            if stream.channel == "book":
                self.books.pop(stream.instrument_id, None)
            elif stream.channel == "trades":
                self._runs.pop(stream.instrument_id, None)

    def take(self, adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Control] | None:
        """Take one frame; return what is addressed to the connection, None when it brought nothing.

        That is: it was rejected, or is understood and not stored, as a heartbeat is. Never raises on its account.
        """
        if received_ns >= self._ticks.next_ns:
            self.sample(received_ns)
        self.frames += 1
        try:
            return self._route(adapter.decode(frame, received_ns), adapter, received_ns)
        except Rejected as error:
            self._lose(adapter, frame, str(error), received_ns)
            return None

    def take_reply(self, adapter: Adapter, url: str, body: bytes, received_ns: int) -> None:
        """Take a recorded REST reply, as `take` does a frame."""
        if received_ns >= self._ticks.next_ns:
            self.sample(received_ns)
        try:
            self._route(adapter.decode_reply(url, body, received_ns), adapter, received_ns)
        except Rejected as error:
            self.reject(body, str(error), received_ns)
        except Retryable:  # in a body that came with status 200
            self.ignored["reply: refused by the venue"] += 1

    def take_poll(self, adapter: Adapter, stream: Stream, body: bytes, received_ns: int) -> None:
        """Take the reply to a poll of a stream."""
        try:
            self._route(adapter.decode_poll(stream, body, received_ns), adapter, received_ns)
        except Rejected as error:
            self.reject(body, str(error), received_ns, f"{stream.instrument.symbol} {stream.channel}")

    def _route(self, events: Sequence[object], adapter: Adapter, received_ns: int) -> Sequence[Control] | None:
        controls: list[Control] = []
        idle = 0  # events that are no data
        for event in events:
            kind = event.__class__
            self.kinds[kind.__name__] += 1
            if kind is Trade:
                self._trade(event, received_ns)  # type: ignore[arg-type]
            elif kind is BookDelta:
                if event.event_ns > self.latest_event_ns:  # type: ignore[attr-defined]  # noqa: PLR1730 - as below
                    self.latest_event_ns = event.event_ns  # type: ignore[attr-defined]
                self.keeper.apply(event, adapter)  # type: ignore[arg-type]
            elif kind is Quote:
                self._quote(event)  # type: ignore[arg-type]
            elif isinstance(event, Candle):
                self._candle(event)
            elif kind in _FIGURES:
                self._figure(event)  # type: ignore[arg-type]
            elif isinstance(event, BookState):
                if event.received_ns >= self._ticks.next_ns:
                    self.sample(event.received_ns)
                self.keeper.take(event, adapter)
            elif isinstance(event, Ignored):
                self.ignored[event.reason] += 1
                idle += 1
            elif isinstance(event, Ack | Shutdown):
                controls.append(event)
            elif isinstance(event, Skipped):
                self._skipped(event, received_ns)
            elif isinstance(event, Bad):
                self._lose(adapter, event.payload, event.reason, received_ns)
                idle += 1
            elif isinstance(event, Reject):
                self._put((event,))
                idle += 1
        return controls if controls or idle < len(events) else None

    def _trade(self, trade: Trade, received_ns: int) -> None:
        run = self._runs.get(trade.instrument_id)
        if run is not None:
            run.see(int(trade.trade_id), trade.time_ns, received_ns)
        else:
            self._last_trade[trade.instrument_id] = trade
        self._put((trade,))
        if trade.time_ns > self.latest_event_ns:  # noqa: PLR1730 - a call for every trade costs more
            self.latest_event_ns = trade.time_ns

    def _skipped(self, event: Skipped, now_ns: int) -> None:
        """The adapter itself knows that something is missing."""
        account = self.ledger.accounts.get((event.instrument_id, event.channel))
        if account is not None and account.gap is None:
            self.ledger.suspend(account, "skipped", event.from_ns, now_ns, event.reason)
            self.ledger.resume(account, event.to_ns)

    def _quote(self, quote: Quote) -> None:
        """Each state once: while a connection is replaced, two deliver it, at different times of receipt."""
        last = self._last_quote.get(quote.instrument_id)
        if last is not None and quote.sequence <= last.sequence:
            self.ignored["quote: not newer than the last"] += 1
            return
        self._last_quote[quote.instrument_id] = quote
        self._put((quote,))

    def _figure(self, figure: Figure | Ticker) -> None:
        """A rate that says what the last one said is no news; it shows that the stream goes on."""
        latest = self._figures[type(figure)]
        last = latest.get(figure.instrument_id)
        latest[figure.instrument_id] = figure
        if not (isinstance(figure, Funding) and isinstance(last, Funding) and _rate(figure) == _rate(last)):
            self._put((figure,))

    def _candle(self, candle: Candle) -> None:
        """Closed candles come a minute apart; when one was skipped, REST has it (or says that nothing was traded)."""
        self._put((candle,))
        account = self.ledger.accounts.get((candle.instrument_id, "candles"))
        if candle.source is CandleSource.OPEN or account is None or account.run is None:
            return
        last, minute = account.run.last, candle.time_ns // clock.MINUTE
        account.run.see(minute, candle.time_ns, candle.received_ns)
        if last is not None and minute > last + 1:
            self._wants.candles(candle.instrument_id, minute - last + 1)

    def take_candles(self, stream_id: int, candles: Sequence[Candle]) -> None:
        """Closed candles from REST, neighbours in time: a minute between them that is not there had no trade."""
        self._put(candles)
        account = self.ledger.accounts.get((stream_id, "candles"))
        if candles and account is not None and account.run is not None:
            run, last = account.run, candles[-1]
            first_minute, last_minute = candles[0].time_ns // clock.MINUTE, last.time_ns // clock.MINUTE
            run.see(last_minute, last.time_ns, last.received_ns)
            run.fill(first_minute, last_minute)
            self.ledger.latest(account.stream, last_minute, last.received_ns)

    def minutes_without_candle(self, stream: Stream, now_ns: int) -> int:
        """How many minutes ago the latest candle opened; 0 when there was none yet."""
        run = self.ledger.accounts[stream.instrument_id, stream.channel].run
        last = None if run is None else run.last
        return 0 if last is None else max(0, now_ns // clock.MINUTE - last) + 1

    def _lose(self, adapter: Adapter, frame: bytes, reason: str, now_ns: int) -> None:
        """A frame cannot be used, or a row of one."""
        found = adapter.stream_of(frame)
        self.reject(frame, reason, now_ns, self.ledger.name_of(found))
        self._doubt(found, reason, now_ns)

    def _doubt(self, found: tuple[int, Channel] | None, reason: str, now_ns: int) -> None:
        """A frame was lost. Ids and sequences will show what it held; of what has none, a moment may be missing."""
        accounts = self.ledger.accounts
        for account in accounts.values() if found is None else filter(None, (accounts.get(found),)):
            told = account.run is not None and found is None
            if account.live and account.stream.channel != "book" and not told:
                if account.gap is None and account.run is None:
                    self._doubtful.append(account)
                self.ledger.suspend(account, "frame rejected", now_ns, now_ns, reason[:_REASON_MAX])

    def join(self, state: BookState) -> None:
        """Give a book the snapshot that it wanted. Raises Rejected for a snapshot that is none."""
        if state.received_ns >= self._ticks.next_ns:
            self.sample(state.received_ns)
        self.keeper.join(state)

    def connected(self, streams: Sequence[Stream], now_ns: int) -> None:
        """The streams are subscribed and acknowledged."""
        for stream in streams:
            self.ledger.live(stream, now_ns)

    def disconnected(self, streams: Sequence[Stream], cause: str, since_ns: int, now_ns: int, evidence: str) -> None:
        """The connection of these streams is gone since `since_ns` and no other one delivers them."""
        self._witness()
        for stream in streams:
            if stream.channel == "quotes":
                self._last_quote.pop(stream.instrument_id, None)  # the venue may count anew
                self._best.pop(stream.instrument_id, None)
            elif stream.channel == "book" and (book := self.books.get(stream.instrument_id)) is not None:
                book.desync(evidence)
            self.ledger.lost(stream, cause, since_ns, now_ns, evidence)

    def check(self, stream: Stream, state: BookState, now_ns: int) -> None:
        """A snapshot, asked for as `stream` (a book, or quotes) is quiet: does it hold news? A first one is kept."""
        account = self.ledger.accounts.get((stream.instrument_id, stream.channel))
        if account is None:
            return
        if stream.channel == "quotes":
            last, best = self._last_quote.get(stream.instrument_id), (*state.bids[:1], *state.asks[:1])
            before = self._best.get(stream.instrument_id, best)
            shown = before if last is None else ((last.bid, last.bid_amount), (last.ask, last.ask_amount))
            self._best[stream.instrument_id] = best
            known = best == shown or not (state.bids and state.asks)  # of a book without one side there is no quote
        else:
            sequence = self.books[stream.instrument_id].sequence
            known = sequence is None or state.sequence <= sequence
            if sequence is None:
                self.books[stream.instrument_id].expect()
                self.join(state)
        if known:
            account.silence.real(now_ns)
        else:
            self.ledger.doubt(account, now_ns)

    def _dead(self, stream: Stream) -> None:
        """A silent book is not to be believed until the next snapshot, also where what comes late would continue it."""
        if stream.channel == "book":
            self.books[stream.instrument_id].desync("its stream is silent")
        self._wants.renew(stream)

    # Ticks

    def sample(self, now_ns: int) -> None:
        """Emit every book for each tick of the cadence up to `now_ns`: as it was known before the tick.

        Called before a frame received at or after the tick is applied, and by a timer when none comes. Holes in
        trade ids that nothing filled are reported on the way.
        """
        since_ns, self._held_since_ns = self._held_since_ns, 0
        held = 0 < since_ns <= now_ns  # else there was room again before a tick was due
        if held:
            self._put([_unsampled(book, since_ns, now_ns) for book in self.keeper.known()])
            self.keeper.say_again()
        for tick_ns in self._ticks.due(now_ns, latest_only=held):
            self._put(self.keeper.sample(tick_ns))
        self._witness()
        doubtful, self._doubtful = self._doubtful, []
        for account in doubtful:
            if account.live:  # else the gap has become that of a lost line
                self.ledger.resume(account, now_ns)
        self.ledger.tick(now_ns)

    def _witness(self) -> None:
        """Tell the ledger what each stream has brought."""
        for (instrument_id, channel), account in self.ledger.accounts.items():
            if account.run is not None:
                account.token = account.run.last
            elif channel == "book":
                book = self.books[instrument_id]
                account.token = book.sequence, book.received_ns  # a message that changes nothing is a sign of life
                account.seen_ns = max(account.seen_ns, book.received_ns)
            else:
                latest = self._latest[channel].get(instrument_id)
                if latest is not None:
                    account.token, account.seen_ns = latest, latest.received_ns

    def hold(self, now_ns: int) -> None:
        """No room for samples: skip them, and name the time from the first tick on as a gap, at the next one."""
        self._held_since_ns = self._held_since_ns or self._ticks.next_ns or now_ns

    def finish(self, now_ns: int) -> None:
        """Intake ended: name what is missing, and say how far each stream came."""
        self._witness()
        self.ledger.finish(now_ns)

    def reject(self, payload: bytes, reason: str, received_ns: int, stream: str = "") -> None:
        """Keep what could not be used: the first 64 KiB of it, with the reason."""
        self.rejected[reason.partition(":")[0]] += 1  # the part before the colon is a constant
        reason = reason[:_REASON_MAX]
        self._emit(events.FrameRejected(self.exchange, reason, len(payload)))
        self._put((Reject(self.exchange, stream, reason, payload[:_PAYLOAD_MAX], received_ns),))


def _rate(funding: Funding) -> tuple[str, int | None]:
    return funding.rate, funding.funding_ns


def _unsampled(book: Book, from_ns: int, to_ns: int) -> Gap:
    evidence = "there was no room for samples"
    ends = (from_ns, to_ns, None, None)
    return Gap(book.instrument_id, "book", "no room for more", *ends, evidence, "unrecoverable", opened_ns=from_ns)
