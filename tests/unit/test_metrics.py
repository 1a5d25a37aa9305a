"""What is counted for each event, and that code and reference name the same metrics."""

import re
from pathlib import Path
from typing import Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from ingest import events
from ingest.clock import MINUTE, SECOND
from ingest.operate.catalogue import METRICS, reference_table
from ingest.operate.figures import Figures
from ingest.operate.gauges import Gauges
from ingest.operate.metrics import Metrics, receipt_lag_ns, shares
from ingest.pipeline.batch import Batch
from ingest.pipeline.batcher import Limits
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.spool import Spool
from ingest.records import Candle, CandleSource, Instrument, OrderBook, Record, Reject, Row, Trade

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
NOW_NS = 1_700_000_000 * SECOND


def instrument(exchange: str, symbol: str = "BTC/USDT") -> Instrument:
    base, _, quote = symbol.partition("/")
    return Instrument(exchange, symbol, symbol.replace("/", ""), "spot", base, quote)


INSTRUMENTS = {1: instrument("binance"), 2: instrument("kraken")}


def trade(instrument_id: int, received_ns: int = NOW_NS, lag_ns: int = SECOND // 4) -> Trade:
    return Trade(instrument_id, received_ns - lag_ns, "1", "buy", "1", "1", received_ns)


def committed(*records: Record, duplicate: int = 0, rejected: int = 0) -> events.BatchCommitted:
    stored = len(records) - duplicate - rejected
    times = {"opened_ns": NOW_NS, "committed_ns": NOW_NS + SECOND // 2}
    channel: Literal["rejected", "trades"] = "rejected" if isinstance(records[0], Reject) else "trades"
    return events.BatchCommitted(channel, records, stored, duplicate, rejected, seconds=0.02, **times)


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values, but for a histogram's buckets."""
    return {
        (sample.name, *(text for name, text in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_a_batch_is_counted_by_exchange_and_channel_and_logged() -> None:
    metrics = Metrics(INSTRUMENTS, shard="2/3")
    with capture_logs() as logs:
        metrics.emit(committed(*[trade(1)] * 3, trade(2), duplicate=2))
    found = read(metrics)
    assert found["ingest_rows_total", "trades", "binance", "stored", "live"] == 1
    assert found["ingest_rows_total", "trades", "binance", "duplicate", "live"] == 2
    assert found["ingest_rows_total", "trades", "kraken", "stored", "live"] == 1
    assert found["ingest_rows_total", "trades", "kraken", "duplicate", "live"] == 0
    assert found["ingest_batch_rows_sum", "trades"] == 4
    assert found["ingest_copy_seconds_sum", "trades"] == pytest.approx(0.02)
    assert found["ingest_receipt_lag_seconds_sum", "trades", "binance"] == pytest.approx(0.75)
    assert found["ingest_commit_lag_seconds_sum", "trades", "kraken"] == pytest.approx(0.5)
    assert [name for name in found if name[0] == "ingest_info" and name[1] == "2/3"]
    line = {"rows": 4, "stored": 2, "duplicate": 2, "rejected": 0, "lag_ms": 500, "copy_ms": 20.0, "channel": "trades"}
    assert logs == [{"event": "batch.committed", "log_level": "debug", **line}]


def test_of_a_large_batch_no_more_than_16_rows_are_looked_at_and_all_are_counted() -> None:
    metrics = Metrics(INSTRUMENTS)
    metrics.emit(committed(*(trade(1) for _ in range(10_001))))
    found = read(metrics)
    assert found["ingest_rows_total", "trades", "binance", "stored", "live"] == 10_001
    assert 1 <= found["ingest_commit_lag_seconds_count", "trades", "binance"] <= 16


def test_what_is_to_be_collected_counts_from_0() -> None:
    """An `increase` over a series that begins at 1 is 0: the alert would miss what is rejected first."""
    metrics = Metrics(INSTRUMENTS)
    metrics.expect("kraken", ("trades", "book"))
    found = read(metrics)
    rows = sorted(name[1:] for name in found if name[0] == "ingest_rows_total")
    assert rows == sorted(
        (channel, "kraken", result, way)
        for channel, way in (("trades", "live"), ("trades", "repair"), ("book", "live"))
        for result in ("stored", "duplicate", "rejected")
    )
    assert found["ingest_messages_rejected_total", "kraken"] == 0
    assert found["ingest_gaps_opened_total", "book", "kraken"] == 0
    assert {value for name, value in found.items() if "kraken" in name} == {0}


def test_what_repair_stored_is_counted_apart_from_the_streams() -> None:
    metrics = Metrics(INSTRUMENTS)
    with capture_logs() as logs:
        metrics.emit(events.HistoryCommitted("binance", "trades", stored=7, duplicate=2, rejected=0))
    rows = {name[1:]: value for name, value in read(metrics).items() if name[0] == "ingest_rows_total"}
    assert rows == {
        ("trades", "binance", "stored", "repair"): 7,
        ("trades", "binance", "duplicate", "repair"): 2,
        ("trades", "binance", "rejected", "repair"): 0,
    }
    assert [line["event"] for line in logs] == ["history.committed"]


def test_inputs_that_could_not_be_read_are_no_rows() -> None:
    metrics = Metrics(INSTRUMENTS)
    metrics.emit(committed(Reject("binance", "", "no JSON", b"{", NOW_NS)))
    found = read(metrics)
    assert found["ingest_batch_rows_count", "rejected"] == 1
    assert not [name for name in found if name[0] == "ingest_rows_total"]


@pytest.mark.parametrize(
    ("event", "sample"),
    [
        (events.DatabaseAway("gone", 3), ("ingest_database_retries_total",)),
        (events.DatabaseRefuses("no such table", 3), ("ingest_database_retries_total",)),
        (events.PipelineFull(7), ("ingest_queue_full_total",)),
        (events.SpoolRefuses("full", 7), ("ingest_spool_refused_total",)),
        (events.SessionLost("kraken", "reset", 3, 1.5), ("ingest_reconnects_total", "kraken")),
        (events.BookOutOfSync("kraken", "s", "checksum"), ("ingest_books_out_of_sync_total", "kraken")),
        (events.FrameRejected("kraken", "no JSON", 9), ("ingest_messages_rejected_total", "kraken")),
        (events.StreamSilent("kraken", "book", "s", "e"), ("ingest_streams_silent_total", "book", "kraken")),
        (events.GapOpened("kraken", "book", "s", "c"), ("ingest_gaps_opened_total", "book", "kraken")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, events.Event) else "",
)
def test_an_event_is_counted_once_and_logged_once(event: events.Event, sample: tuple[str, ...]) -> None:
    metrics = Metrics(INSTRUMENTS)
    with capture_logs() as logs:
        metrics.emit(event)
    assert read(metrics)[sample] == 1
    assert logs == [{"event": event.name, "log_level": event.level, **event.fields()}]


def test_two_daemons_of_one_process_count_apart() -> None:
    first, second = Metrics(INSTRUMENTS), Metrics(INSTRUMENTS)
    first.emit(events.PipelineFull(7))
    assert (read(first)["ingest_queue_full_total",], read(second)["ingest_queue_full_total",]) == (1, 0)


def _candle(source: CandleSource) -> Candle:
    return Candle(1, NOW_NS - MINUTE, "1", "1", "1", "1", "1", None, None, None, None, source, NOW_NS + SECOND)


@pytest.mark.parametrize(
    ("row", "lag_ns"),
    [
        (trade(1, lag_ns=SECOND), SECOND),
        (trade(1, lag_ns=-SECOND), 0),
        (_candle(CandleSource.STREAM), SECOND),
        (_candle(CandleSource.REST), None),
        (_candle(CandleSource.OPEN), None),
        (OrderBook(1, NOW_NS, None, None, (), (), True, NOW_NS), None),
    ],
)
def test_the_lag_of_a_row(row: Row, lag_ns: int | None) -> None:
    assert receipt_lag_ns(row) == lag_ns


@pytest.mark.parametrize(
    ("total", "rows", "given"),
    [
        (0, {"a": 3}, {"a": 0}),
        (3, {"a": 3}, {"a": 3}),
        (2, {"a": 3, "b": 1}, {"a": 2, "b": 0}),
        (5, {"a": 1, "b": 1, "c": 8}, {"a": 1, "b": 0, "c": 4}),
    ],
)
def test_what_is_shared_out_is_whole(total: int, rows: dict[str, int], given: dict[str, int]) -> None:
    assert shares(total, rows) == given


def test_the_code_has_the_metrics_of_the_catalogue_and_no_other(tmp_path: Path) -> None:
    metrics = Metrics(INSTRUMENTS)
    with Spool.open(tmp_path, 10_000_000, writers=1) as spool:
        pipeline = Pipeline([], Limits(), spool=spool, emit=metrics.emit)
        for source in (Gauges({}, pipeline, spool, queue_max_rows=5), Figures("postgresql://nowhere", tmp_path)):
            metrics.registry.register(source)
        families = {family.name: family for family in metrics.registry.collect()}
        exposed = read(metrics)
    kinds = {name.removesuffix("_total"): spec.kind for name, spec in METRICS.items()}
    assert {name: family.type for name, family in families.items()} == kinds
    assert {name: family.documentation for name, family in families.items() if name.startswith("ingest_")} == {
        spec.stem: spec.meaning for spec in METRICS.values() if spec.name.startswith("ingest_")
    }
    assert exposed["ingest_queue_max_rows",] == 5
    assert exposed["ingest_database_up",] == 0


def test_what_an_earlier_process_left_on_disk_is_as_old_as_it_is(tmp_path: Path) -> None:
    """Else a daemon that is restarted every ten minutes would never say that its spool is not drained."""
    with Spool.open(tmp_path, 10_000_000, writers=1, now_ns=lambda: NOW_NS) as spool:
        spool.append([Batch(Trade, 0, NOW_NS, [trade(1)])])

    def later() -> int:
        return NOW_NS + 60 * MINUTE

    with Spool.open(tmp_path, 10_000_000, writers=1) as spool:
        pipeline = Pipeline([], Limits(), spool=spool, now_ns=later)
        gauges = Gauges({}, pipeline, spool, queue_max_rows=5, now_ns=later)
        (age,) = (family for family in gauges.collect() if family.name == "ingest_spool_age_seconds")
        assert age.samples[0].value == 3600


def test_the_reference_holds_every_metric() -> None:
    assert reference_table() in REFERENCE.read_text()


@pytest.mark.parametrize("name", METRICS)
def test_names_and_labels_are_as_prometheus_wants_them_and_bounded(name: str) -> None:
    spec = METRICS[name]
    assert re.fullmatch(r"(ingest|process)_[a-z_]+", name)
    assert (spec.kind == "counter") == name.endswith("_total")
    assert set(spec.labels) <= {"exchange", "channel", "state", "result", "table", "way", "version", "shard"}
    assert spec.meaning.endswith(".")
