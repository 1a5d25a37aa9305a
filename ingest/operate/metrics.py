"""Counts what happens: the daemon's `Emit`, which gives the log line, too. One registry a daemon.

What comes often is counted once a batch; of its rows at most 16 are looked at for their lags.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from ingest import __version__, events
from ingest.clock import MINUTE, SECOND
from ingest.operate.catalogue import METRICS
from ingest.records import (
    Candle,
    CandleSource,
    Channel,
    Instrument,
    Liquidation,
    MarkPrice,
    Quote,
    Record,
    Reject,
    Row,
    Ticker,
    Trade,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SAMPLES = 16
_TIMED = (Trade, Quote, Ticker, MarkPrice, Liquidation)
"""Rows whose time is the exchange's own, of what they tell. A book's is the tick of the cadence."""
_BEAT_SECONDS = 0.5
_instrument_of = attrgetter("instrument_id")


class Metrics:
    """`emit` is the daemon's; `instruments` by id may grow. Figures that are read when asked for join by `registry`."""

    def __init__(self, instruments: Mapping[int, Instrument], *, shard: str = "1/1") -> None:
        self.registry = CollectorRegistry()
        self._instruments = instruments
        ProcessCollector(registry=self.registry)
        METRICS["ingest_info"].gauge(self.registry).labels(__version__, shard).set(1)
        self._rows = METRICS["ingest_rows_total"].counter(self.registry)
        self._receipt_lag = METRICS["ingest_receipt_lag_seconds"].histogram(self.registry)
        self._commit_lag = METRICS["ingest_commit_lag_seconds"].histogram(self.registry)
        self._lags: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        self._known = 0  # instruments
        self._exchanges: set[str] = set()
        self._batch_rows = METRICS["ingest_batch_rows"].histogram(self.registry)
        self._copy = METRICS["ingest_copy_seconds"].histogram(self.registry)
        self._loop_delay = METRICS["ingest_event_loop_delay_seconds"].histogram(self.registry)
        self._plain = {event: METRICS[name].counter(self.registry) for event, name in _PLAIN.items()}
        self._by_exchange = {event: METRICS[name].counter(self.registry) for event, name in _BY_EXCHANGE.items()}
        self._by_stream = {event: METRICS[name].counter(self.registry) for event, name in _BY_STREAM.items()}

    def expect(self, exchange: str, channels: Iterable[Channel]) -> None:
        """It is to be collected. Its counts begin at 0: Prometheus takes the first value that it sees for no increase,
        and an alert would miss the first rejected row.
        """
        for counter in self._by_exchange.values():
            counter.labels(exchange)
        for channel in channels:
            for way in ("live", "repair") if channel in ("trades", "candles") else ("live",):
                self._count_rows(exchange, channel, way, 0, 0, 0)
            for counter in self._by_stream.values():
                counter.labels(exchange, channel)

    def emit(self, event: events.Event) -> None:
        """Count it, and write its log line."""
        kind = type(event)
        if isinstance(event, events.BatchCommitted):
            self._committed(event)
        elif isinstance(event, events.HistoryCommitted):
            results = (event.stored, event.duplicate, event.rejected)
            self._count_rows(event.exchange, event.channel, "repair", *results)
        elif kind in self._plain:
            self._plain[kind].inc()
        elif kind in self._by_exchange:
            self._by_exchange[kind].labels(event.exchange).inc()  # type: ignore[attr-defined]  # these have one
        elif kind in self._by_stream:
            self._by_stream[kind].labels(event.exchange, event.channel).inc()  # type: ignore[attr-defined]  # as above
        elif isinstance(event, events.DatabaseAway):
            self._plain[events.DatabaseAway].inc()
        events.say(event)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def route(self) -> web.RouteDef:
        """`/metrics`."""

        async def reply(_: web.Request) -> web.Response:
            return web.Response(body=self.exposition(), headers={"Content-Type": CONTENT_TYPE})

        return web.get("/metrics", reply)

    async def watch_loop(self) -> None:
        """For ever: how late the event loop turns."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._loop_delay.observe(max(0.0, loop.time() - due))

    def _committed(self, batch: events.BatchCommitted) -> None:
        records = batch.records
        self._batch_rows.labels(batch.channel).observe(len(records))
        self._copy.labels(batch.channel).observe(batch.seconds)
        if not records or isinstance(records[0], Reject):
            return
        rows = self._by_exchange_of(records)
        duplicate, rejected = shares(batch.duplicate, rows), shares(batch.rejected, rows)
        for exchange, count in rows.items():
            stored = count - duplicate[exchange] - rejected[exchange]
            self._count_rows(exchange, batch.channel, "live", stored, duplicate[exchange], rejected[exchange])
        step = -(-len(records) // _SAMPLES)
        for row in records[::step]:
            assert not isinstance(row, Reject)  # noqa: S101 - a batch holds one kind
            stream = (self._exchange(row.instrument_id), batch.channel)
            if stream not in self._lags:  # to look a child up by its labels costs as much as to count it
                self._lags[stream] = (self._receipt_lag.labels(*stream), self._commit_lag.labels(*stream))
            to_receipt, to_commit = self._lags[stream]
            to_commit.observe(max(0.0, (batch.committed_ns - row.received_ns) / SECOND))
            lag_ns = receipt_lag_ns(row)
            if lag_ns is not None:
                to_receipt.observe(lag_ns / SECOND)

    def _count_rows(self, exchange: str, channel: str, way: str, *results: int) -> None:
        """`results` are the numbers of rows that were stored, duplicate, rejected."""
        for result, number in zip(("stored", "duplicate", "rejected"), results, strict=True):
            self._rows.labels(exchange, channel, way, result).inc(number)

    def _by_exchange_of(self, records: Sequence[Record]) -> dict[str, int]:
        """How many rows each exchange has; where there is one exchange, they need not be looked at."""
        if len(self._instruments) != self._known:
            self._known = len(self._instruments)
            self._exchanges = {instrument.exchange for instrument in self._instruments.values()}
        if len(self._exchanges) == 1:
            return dict.fromkeys(self._exchanges, len(records))
        rows: Counter[str] = Counter()
        for instrument_id, count in Counter(map(_instrument_of, records)).items():
            rows[self._exchange(instrument_id)] += count
        return rows

    def _exchange(self, instrument_id: int) -> str:
        instrument = self._instruments.get(instrument_id)
        return "" if instrument is None else instrument.exchange


_PLAIN: dict[type[events.Event], str] = {
    events.DatabaseAway: "ingest_database_retries_total",
    events.PipelineFull: "ingest_queue_full_total",
    events.SpoolRefuses: "ingest_spool_refused_total",
}
_BY_EXCHANGE: dict[type[events.Event], str] = {
    events.SessionLost: "ingest_reconnects_total",
    events.BookOutOfSync: "ingest_books_out_of_sync_total",
    events.FrameRejected: "ingest_messages_rejected_total",
}
_BY_STREAM: dict[type[events.Event], str] = {
    events.StreamSilent: "ingest_streams_silent_total",
    events.GapOpened: "ingest_gaps_opened_total",
}


def receipt_lag_ns(row: Row) -> int | None:
    """How long it took to us, never less than 0; None where the row does not tell (a book, a candle from REST)."""
    if isinstance(row, _TIMED):
        return max(0, row.received_ns - row.time_ns)
    if isinstance(row, Candle) and row.source is CandleSource.STREAM:
        return max(0, row.received_ns - row.time_ns - MINUTE)
    return None


def shares(total: int, rows: Mapping[str, int]) -> dict[str, int]:
    """`total` shared out in proportion to rows, whole and without a rest: largest remainders first."""
    whole = sum(rows.values())
    given = {name: total * count // whole for name, count in rows.items()}
    by_remainder = sorted(rows, key=lambda name: total * rows[name] % whole, reverse=True)
    for name in by_remainder[: total - sum(given.values())]:
        given[name] += 1
    return given
