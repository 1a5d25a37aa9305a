"""Every metric of the daemon: name, kind, labels, meaning; for the code, for docs/reference/metrics.md and for tests.

Labels are bounded: the configured exchanges, the channels, the tables, and words that are listed in the meaning; never
a symbol. Units are Prometheus' base units (seconds, bytes), and stand in the name.
"""

from typing import Literal

from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import CollectorRegistry

Kind = Literal["counter", "gauge", "histogram"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 10, 100, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000)


class Spec(Struct, frozen=True):
    """One metric. A counter's name ends in `_total`."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _SECONDS

    @property
    def stem(self) -> str:
        """The name as the library wants it: it adds `_total` itself."""
        return self.name.removesuffix("_total")

    def counter(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.stem, self.meaning, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.meaning, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(self.name, self.meaning, self.labels, buckets=self.buckets, registry=registry)

    def family(self) -> CounterMetricFamily | GaugeMetricFamily:
        """For a figure that is read when it is asked for."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return made(self.name, self.meaning, labels=self.labels)


_BY_STREAM = ("exchange", "channel")

_SPECS = (
    Spec(
        "ingest_info",
        "gauge",
        "1, with the daemon's version and its shard (`1/1` where there is one).",
        ("version", "shard"),
    ),
    Spec("ingest_messages_total", "counter", "Frames received from websockets.", ("exchange",)),
    Spec(
        "ingest_messages_rejected_total",
        "counter",
        "Messages, and rows of REST answers, that could not be read; they are in `ingest.rejected`.",
        ("exchange",),
    ),
    Spec(
        "ingest_records_total",
        "counter",
        "Records decoded from messages: trades, candles, changes of books.",
        _BY_STREAM,
    ),
    Spec(
        "ingest_rows_total",
        "counter",
        "Rows that were committed, by `way`: `live` (the streams), or `repair` (what repair, or a backfill that this "
        "daemon took up, fetched). `result` is `stored`, `duplicate` (known, outranked or too old) or `rejected`. In a "
        "live batch of several exchanges the duplicate and rejected ones are shared out by rows.",
        (*_BY_STREAM, "way", "result"),
    ),
    Spec(
        "ingest_receipt_lag_seconds",
        "histogram",
        "From the exchange's own time of a record to its receipt, of up to 16 rows a batch. Trades, quotes, tickers, "
        "mark prices and liquidations; candles count from their close. A clock that is wrong shows here.",
        _BY_STREAM,
    ),
    Spec(
        "ingest_commit_lag_seconds",
        "histogram",
        "From the receipt of a record to its commit, of up to 16 rows a batch.",
        _BY_STREAM,
    ),
    Spec(
        "ingest_record_age_seconds",
        "gauge",
        "Since the latest record of any of these streams; where none came yet, since they were subscribed.",
        _BY_STREAM,
    ),
    Spec(
        "ingest_streams",
        "gauge",
        "Streams by `state`: `starting`, `live`, `reconnecting`, `blocked`, `stopped`.",
        ("exchange", "state"),
    ),
    Spec("ingest_reconnects_total", "counter", "Connections that were lost and made anew.", ("exchange",)),
    Spec(
        "ingest_streams_silent_total",
        "counter",
        "Subscriptions that were found dead on a living connection.",
        _BY_STREAM,
    ),
    Spec(
        "ingest_books_out_of_sync_total",
        "counter",
        "Order books that lost their sequence or failed their checksum.",
        ("exchange",),
    ),
    Spec("ingest_gaps_opened_total", "counter", "Gaps that opened in this process.", _BY_STREAM),
    Spec(
        "ingest_gaps",
        "gauge",
        "Gaps in the database by `state`: `open`, `repairing`, `repaired`, `awaiting_dump`, `unrecoverable`.",
        (*_BY_STREAM, "state"),
    ),
    Spec(
        "ingest_gap_oldest_seconds",
        "gauge",
        "Since the oldest gap was noticed that is `open` or `repairing`; 0 without one.",
        ("exchange",),
    ),
    Spec("ingest_rest_calls_total", "counter", "REST calls.", ("exchange",)),
    Spec(
        "ingest_rest_failures_total",
        "counter",
        "REST calls that failed: refused, over the limit, not reached.",
        ("exchange",),
    ),
    Spec("ingest_rest_throttled_total", "counter", "How often the exchange told us to wait.", ("exchange",)),
    Spec(
        "ingest_rest_waited_seconds_total",
        "counter",
        "Time that REST calls waited for their share of the limit.",
        ("exchange",),
    ),
    Spec("ingest_queue_rows", "gauge", "Rows in memory that are neither committed nor in the spool."),
    Spec("ingest_queue_bytes", "gauge", "The same in bytes of COPY text."),
    Spec("ingest_queue_max_rows", "gauge", "`[pipeline] queue_max_rows`."),
    Spec("ingest_queue_full_total", "counter", "How often intake had to wait for room."),
    Spec("ingest_batch_rows", "histogram", "Rows of a committed batch.", ("channel",), _ROWS),
    Spec("ingest_copy_seconds", "histogram", "Time that the database took for a batch, with its commit.", ("channel",)),
    Spec(
        "ingest_database_retries_total",
        "counter",
        "Batches that the database did not take, and that were given again.",
    ),
    Spec("ingest_database_up", "gauge", "1 when the database answered the latest question for these figures, else 0."),
    Spec("ingest_spool_rows", "gauge", "Rows that wait on disk."),
    Spec("ingest_spool_bytes", "gauge", "What the spool's files take."),
    Spec("ingest_spool_max_bytes", "gauge", "`[spool] max_bytes`."),
    Spec(
        "ingest_spool_age_seconds",
        "gauge",
        "Since the spool began to fill, or, after a restart, since the oldest batch in it was spooled; 0 when it is "
        "empty.",
    ),
    Spec("ingest_spool_refused_total", "counter", "How often the spool had no room for a batch."),
    Spec("ingest_disk_free_bytes", "gauge", "What this user may still write on the spool's disk."),
    Spec("ingest_table_bytes", "gauge", "Size of a table with its indexes, compressed where it is.", ("table",)),
    Spec("ingest_table_chunks", "gauge", "Chunks of a hypertable.", ("table",)),
    Spec("ingest_database_bytes", "gauge", "Size of the whole database."),
    Spec("ingest_jobs_failing", "gauge", "Policies and parts of maintenance whose latest run failed.", ("table",)),
    Spec("ingest_event_loop_delay_seconds", "histogram", "How late the event loop turned; asked twice a second."),
    Spec("process_resident_memory_bytes", "gauge", "Resident memory."),
    Spec("process_virtual_memory_bytes", "gauge", "Virtual memory."),
    Spec("process_cpu_seconds_total", "counter", "Time on a processor."),
    Spec("process_start_time_seconds", "gauge", "When the process began, seconds since the epoch."),
    Spec("process_open_fds", "gauge", "Open file descriptors."),
    Spec("process_max_fds", "gauge", "How many it may open."),
)

METRICS = {spec.name: spec for spec in _SPECS}
"""By name, in the order of the reference."""


def reference_table() -> str:
    """The Markdown table of `docs/reference/metrics.md`."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for spec in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        rows.append(f"| `{spec.name}` | {spec.kind} | {labels} | {spec.meaning} |")
    return "\n".join(rows) + "\n"
