"""What live data asks of REST: book snapshots for books out of sync, and candles that were not streamed."""

import asyncio
from collections.abc import Mapping

import structlog

from ingest import clock, retry
from ingest.collect.feed import Feed
from ingest.errors import IngestError, Rejected, Retryable
from ingest.exchanges.adapter import Adapter, Request
from ingest.exchanges.rest import Reply, Rest
from ingest.pipeline.pipeline import Intake
from ingest.records import CandleSource, Instrument, Stream

log = structlog.get_logger()

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_CANDLES_MAX = 1000
_GRACE_NS = 2 * clock.SECOND
_QUIET_GRACE_NS = 10 * clock.SECOND
"""A candle counts as closed this long after its end, by the venue's latest event or, when it is quiet, by its clock:
its last trades must have arrived where candles are made."""
_QUIET_NS = 2 * clock.MINUTE
_LATER_NS = 12 * clock.SECOND
_LATER_MINUTES = 3


class Wanted:
    """Instruments in the order in which they were asked for, each at most once, with how much was asked for."""

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}
        self._arrived = asyncio.Event()

    def add(self, instrument_id: int, amount: int = 1) -> None:
        self._amounts[instrument_id] = max(amount, self._amounts.get(instrument_id, 0))
        self._arrived.set()

    async def next(self) -> tuple[int, int]:
        while not self._amounts:
            self._arrived.clear()
            await self._arrived.wait()
        instrument_id = next(iter(self._amounts))
        return instrument_id, self._amounts.pop(instrument_id)


class Catchup:
    """Queues, each served by one task of the collector, so that a slow candle never delays a book."""

    def __init__(
        self, rest: Rest, adapter: Adapter, instruments: Mapping[int, Instrument], pipeline: Intake, *, depth: int
    ) -> None:
        self._rest = rest
        self._adapter = adapter
        self._instruments = instruments
        self._pipeline = pipeline
        self._depth = depth
        self._books = Wanted()
        self._candles = Wanted()
        self._checks: dict[Stream, None] = {}
        self._checked = asyncio.Event()
        self._later: asyncio.Queue[tuple[int, int]] = asyncio.Queue()  # grows by a stream at each subscription

    def want_book(self, instrument_id: int) -> None:
        """Ask for a snapshot."""
        self._books.add(instrument_id)

    def want_candles(self, instrument_id: int, minutes: int) -> None:
        """Ask for the latest closed candles, as many as `minutes`, 999 at most: what lies before is repair's."""
        if minutes > 0:
            self._candles.add(instrument_id, min(minutes, _CANDLES_MAX - 1))

    def want_check(self, stream: Stream) -> None:
        """Ask the venue whether a stream that is quiet should be."""
        self._checks[stream] = None
        self._checked.set()

    def want_boundary(self, instrument_id: int) -> None:
        """Ask again in a moment.

        A candle that closed just before its stream was subscribed is in neither: the stream has sent it before, and
        REST, asked at that second, holds it back as not yet final.
        """
        self._later.put_nowait((clock.monotonic_ns() + _LATER_NS, instrument_id))

    async def fetch_boundaries(self) -> None:
        """For ever: the latest candles of each instrument that was to be asked again, when it is time."""
        while True:
            due_ns, instrument_id = await self._later.get()
            await asyncio.sleep(max(0, due_ns - clock.monotonic_ns()) / clock.SECOND)
            self.want_candles(instrument_id, _LATER_MINUTES)

    async def fetch_books(self, feed: Feed) -> None:
        """For ever: a snapshot for each book that wants one."""
        while True:
            instrument_id, _ = await self._books.next()
            instrument = self._instruments[instrument_id]
            try:
                reply = await self._fetch(self._adapter.book_request(instrument, self._depth))
                feed.join(self._adapter.decode_book(reply.body, instrument_id, self._depth, reply.received_ns))
            except IngestError as error:
                log.warning("book.snapshot_failed", symbol=instrument.symbol, error=str(error))
                if (book := feed.books.get(instrument_id)) is not None:  # it may be collected no more
                    book.give_up_waiting()  # its next change asks again
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)

    async def fetch_candles(self, feed: Feed) -> None:
        """For ever: the candles that were asked for, into the pipeline, from REST after their close."""
        while True:
            instrument_id, minutes = await self._candles.next()
            instrument = self._instruments[instrument_id]
            try:
                # One more than asked: the last one of the reply is the open minute.
                request = self._adapter.candles_request(instrument, start_ns=None, limit=minutes + 1)
                reply = await self._fetch(request)
                await self._pipeline.room()
                self._take_candles(feed, instrument_id, reply)
            except Rejected as error:
                log.error("candles.refused", symbol=instrument.symbol, error=str(error))
            except Retryable as error:
                log.warning("candles.failed", symbol=instrument.symbol, error=str(error))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                self._candles.add(instrument_id, minutes)

    def _take_candles(self, feed: Feed, instrument_id: int, reply: Reply) -> None:
        venue_ns = reply.venue_ns or reply.received_ns - clock.MINUTE
        if feed.latest_event_ns > venue_ns - _QUIET_NS:  # its market tells better than its clock how far it is
            as_of_ns = min(venue_ns, feed.latest_event_ns) - _GRACE_NS
        else:
            as_of_ns = venue_ns - _QUIET_GRACE_NS
        candles, bad = self._adapter.decode_candles(
            reply.body, instrument_id, reply.received_ns, CandleSource.REST, as_of_ns=as_of_ns
        )
        symbol = self._instruments[instrument_id].symbol
        feed.take_candles(instrument_id, candles)
        for row in bad:
            feed.reject(row.payload, row.reason, reply.received_ns, f"{symbol} candles")
        log.info("candles.loaded", symbol=symbol, candles=len(candles))

    async def check(self, feed: Feed) -> None:
        """For ever: the venue's own latest state for each stream in doubt."""
        while True:
            while not self._checks:
                self._checked.clear()
                await self._checked.wait()
            stream = next(iter(self._checks))
            del self._checks[stream]
            instrument = stream.instrument
            try:
                if stream.channel == "trades":
                    request = self._adapter.latest_trade_request(instrument)
                    if request is None:
                        continue
                    reply = await self._fetch(request)
                    feed.ledger.latest(stream, self._adapter.decode_latest_trade(reply.body), clock.now_ns())
                else:
                    reply = await self._fetch(self._adapter.book_request(instrument, self._depth))
                    state = self._adapter.decode_book(reply.body, stream.instrument_id, self._depth, reply.received_ns)
                    feed.check(stream, state, clock.now_ns())
            except IngestError as error:
                log.warning("stream.check_failed", stream=str(stream), error=str(error))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                if isinstance(error, Retryable):
                    self.want_check(stream)

    async def _fetch(self, request: Request) -> Reply:
        async for attempt in retry.rest_calls():
            with attempt:
                return await self._rest.fetch(request)
        raise AssertionError("unreachable: the last attempt raises")
