"""What the soak reads from `/metrics`, and the line that it makes of it."""

from tests.fault.soak import Scrape, quantile, row, scrape

TEXT = """\
# HELP process_resident_memory_bytes Resident memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.048576e+08
# TYPE ingest_spool_rows gauge
ingest_spool_rows 30
# TYPE ingest_gaps gauge
ingest_gaps{exchange="binance",channel="trades",state="open"} 1
ingest_gaps{exchange="binance",channel="trades",state="repairing"} 2
ingest_gaps{exchange="binance",channel="trades",state="repaired"} 40
# TYPE ingest_commit_lag_seconds histogram
ingest_commit_lag_seconds_bucket{exchange="binance",channel="trades",le="0.1"} 10
ingest_commit_lag_seconds_bucket{exchange="okx",channel="trades",le="0.1"} 5
ingest_commit_lag_seconds_bucket{exchange="binance",channel="trades",le="0.5"} 80
ingest_commit_lag_seconds_bucket{exchange="binance",channel="trades",le="+Inf"} 100
ingest_commit_lag_seconds_bucket{exchange="binance",channel="book",le="0.1"} 3
"""


def test_the_exposition_is_summed_over_exchanges() -> None:
    infinite = float("inf")
    assert scrape(TEXT) == Scrape(100.0, 30.0, 3.0, ((0.1, 15.0), (0.5, 80.0), (infinite, 100.0)))


def test_a_quantile_is_of_what_came_between() -> None:
    infinite = float("inf")
    before = Scrape(0, 0, 0, ((0.1, 100.0), (0.5, 100.0), (infinite, 100.0)))
    after = Scrape(0, 0, 0, ((0.1, 100.0), (0.5, 200.0), (infinite, 200.0)))
    assert quantile(0.5, before, after) == 0.1 + 0.4 * 0.5
    assert quantile(0.5, after, after) == 0.0  # nothing came
    late = Scrape(0, 0, 0, ((0.1, 100.0), (0.5, 200.0), (infinite, 300.0)))
    assert quantile(0.99, before, late) == 0.5  # no more is known than that it is above the last bound


def test_a_line_of_the_table() -> None:
    before = Scrape(90.0, 0, 0, ((0.5, 0.0),))
    after = Scrape(100.0, 30.0, 3.0, ((0.5, 10.0),))
    told = row(2, ["a", "b"], before, after, 121_000, 2_000.0)
    assert told == "| 2 | a, b | 100 MiB | 121,000 | 2,000 | 250 ms | 495 ms | 30 | 3 |"
