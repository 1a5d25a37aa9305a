"""What live data asks of REST: book snapshots for books out of sync, and candles that were not streamed."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ingest import clock, retry
from ingest.collect.feed import Feed
from ingest.errors import IngestError, Rejected, Retryable
from ingest.exchanges.adapter import Adapter, Request
from ingest.exchanges.rest import Reply, Rest
from ingest.pipeline.pipeline import Intake
from ingest.records import CandleSource, Instrument, Stream

log = structlog.get_logger()

_PAUSE_AFTER_FAILURE_SECONDS = 5.0
_CANDLES_MAX = 1000
_GRACE_NS = 2 * clock.SECOND
"""A candle counts as closed this long after its end by the venue's clock: its last trades must have arrived there."""


class Catchup:
    """Two queues, each served by one task of the collector, so that a slow candle never delays a book."""

    def __init__(
        self, rest: Rest, adapter: Adapter, instruments: Mapping[int, Instrument], pipeline: Intake, *, depth: int
    ) -> None:
        self._rest = rest
        self._adapter = adapter
        self._instruments = instruments
        self._pipeline = pipeline
        self._depth = depth
        self._books: asyncio.Queue[int] = asyncio.Queue()
        self._candles: asyncio.Queue[tuple[Stream, int]] = asyncio.Queue()

    def want_book(self, instrument_id: int) -> None:
        """Ask for a snapshot. A book asks once and waits, so the queue is no longer than the list of books."""
        self._books.put_nowait(instrument_id)

    def want_candles(self, stream: Stream, minutes: int) -> None:
        """Ask for the latest closed candles, as many as `minutes` (at most 1,000)."""
        if minutes > 0:
            self._candles.put_nowait((stream, min(minutes, _CANDLES_MAX - 1)))

    async def fetch_books(self, feed: Feed) -> None:
        """For ever: a snapshot for each book that wants one."""
        while True:
            instrument_id = await self._books.get()
            instrument = self._instruments[instrument_id]
            try:
                reply = await self._fetch(self._adapter.book_request(instrument, self._depth))
                feed.join(self._adapter.decode_book(reply.body, instrument_id, self._depth, reply.received_ns))
            except IngestError as error:
                log.warning("book.snapshot_failed", symbol=instrument.symbol, error=str(error))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                feed.books[instrument_id].give_up_waiting()

    async def fetch_candles(self, reject: Callable[[bytes, str, int, str], None]) -> None:
        """For ever: the candles that were asked for, into the pipeline, from REST after their close."""
        while True:
            stream, minutes = await self._candles.get()
            reply: Reply | None = None
            try:
                # One more than asked: the last one of the reply is the open minute.
                request = self._adapter.candles_request(stream.instrument, start_ns=None, limit=minutes + 1)
                reply = await self._fetch(request)
                candles = self._adapter.decode_candles(
                    reply.body,
                    stream.instrument_id,
                    reply.received_ns,
                    CandleSource.REST,
                    as_of_ns=(reply.venue_ns or reply.received_ns - clock.MINUTE) - _GRACE_NS,
                )
            except Rejected as error:
                reject(reply.body if reply else b"", str(error), clock.now_ns(), str(stream))
            except Retryable as error:
                log.warning("candles.failed", stream=str(stream), error=str(error))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
                self._candles.put_nowait((stream, minutes))
            else:
                await self._pipeline.room()
                self._pipeline.put(candles)
                log.info("candles.loaded", stream=str(stream), candles=len(candles))

    async def _fetch(self, request: Request) -> Reply:
        async for attempt in retry.rest_calls():
            with attempt:
                return await self._rest.fetch(request)
        raise AssertionError("unreachable: the last attempt raises")
