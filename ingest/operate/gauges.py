"""Figures of the running daemon, read when somebody asks: nothing is counted for them on the way of the data."""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as Source

from ingest import clock
from ingest.collect.collector import Collector
from ingest.operate.catalogue import METRICS
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.spool import Spool
from ingest.records import CHANNEL_OF, BookDelta, BookState, Channel, OrderBook

_CHANNELS = {kind.__name__: channel for kind, channel in CHANNEL_OF.items() if kind is not OrderBook}
_CHANNELS |= {BookDelta.__name__: "book", BookState.__name__: "book"}
"""What a feed counts, by the channel that brings it."""


class Gauges(Source):
    """`collectors` by exchange may change while it is asked for. A collector that crashed counts anew."""

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        pipeline: Pipeline,
        spool: Spool,
        *,
        queue_max_rows: int,
        now_ns: clock.Clock = clock.now_ns,
    ) -> None:
        self._collectors = collectors
        self._pipeline = pipeline
        self._spool = spool
        self._queue_max_rows = queue_max_rows
        self._now_ns = now_ns

    def collect(self) -> Iterator[Metric]:
        spool = self._spool
        filling_ns = self._now_ns() - self._pipeline.spooling_since_ns if spool.batches else 0
        for name, value in (
            ("ingest_queue_rows", self._pipeline.held_rows),
            ("ingest_queue_bytes", self._pipeline.held_bytes),
            ("ingest_queue_max_rows", self._queue_max_rows),
            ("ingest_spool_rows", spool.rows),
            ("ingest_spool_bytes", spool.bytes),
            ("ingest_spool_max_bytes", spool.max_bytes),
            ("ingest_spool_age_seconds", max(0.0, filling_ns / clock.SECOND)),
        ):
            family = METRICS[name].family()
            family.add_metric((), value)
            yield family
        yield from self._received()
        yield from self._streams()
        yield from self._rest()

    def _received(self) -> Iterator[Metric]:
        messages, records = METRICS["ingest_messages_total"].family(), METRICS["ingest_records_total"].family()
        for exchange, collector in self._collectors.items():
            messages.add_metric((exchange,), collector.feed.frames)
            counts: Counter[str] = Counter()
            for kind, count in collector.feed.kinds.items():
                if kind in _CHANNELS:
                    counts[_CHANNELS[kind]] += count
            for brought, count in counts.items():
                records.add_metric((exchange, brought), count)
        yield from (messages, records)

    def _streams(self) -> Iterator[Metric]:
        streams, age = METRICS["ingest_streams"].family(), METRICS["ingest_record_age_seconds"].family()
        now_ns = self._now_ns()
        for exchange, collector in self._collectors.items():
            for state, count in Counter(state for state, _ in collector.states.values()).items():
                streams.add_metric((exchange, state), count)
            latest: dict[Channel, int] = {}
            for (_, channel), account in collector.feed.ledger.accounts.items():
                latest[channel] = max(latest.get(channel, 0), account.silence.since_ns)
            for channel, since_ns in latest.items():
                age.add_metric((exchange, channel), max(0.0, (now_ns - since_ns) / clock.SECOND))
        yield from (streams, age)

    def _rest(self) -> Iterator[Metric]:
        calls, failures = METRICS["ingest_rest_calls_total"].family(), METRICS["ingest_rest_failures_total"].family()
        throttled = METRICS["ingest_rest_throttled_total"].family()
        waited = METRICS["ingest_rest_waited_seconds_total"].family()
        for exchange, collector in self._collectors.items():
            rest = collector.rest
            if rest is not None:
                calls.add_metric((exchange,), rest.limiter.taken)
                failures.add_metric((exchange,), rest.failed)
                throttled.add_metric((exchange,), rest.limiter.refusals)
                waited.add_metric((exchange,), rest.limiter.waited_seconds)
        yield from (calls, failures, throttled, waited)
