"""Many quiet instruments on one process: 500 × trades, candles and books of the simulator, into a database.

Measured once every stream is live and every book in sync. The simulator's markets change their books about ten times a
second each, as an ordinary pair does, and trade 1,000 times a second together. REST calls are not limited (see
`unlimited`): that is the venue's business, and costs the start alone.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ingest.simulator.audit import LedgerClient
from ingest.store.database import connect_sync
from tests.bench.end_to_end import (
    CHANNELS,
    COMMIT_SECONDS,
    SYMBOLS,
    Watcher,
    committed,
    cpu_seconds,
    daemon,
    lags_ms,
    live,
    peak_rss_mb,
    percentile,
    simulator,
    wait,
)
from tests.bench.harness import Bench, Figure, Group, number

GROUP = Group("streams")

INSTRUMENTS = 500
TRADES_PER_SECOND = 1_000
MARKET = (
    *("--book-changes-per-second", "10", "--book-levels", "200"),  # fewer levels, for the simulator's memory
    *("--weight-per-minute", "100000000", "--history-minutes", "180"),
)
START_SECONDS = 300.0

_IN_SYNC = "SELECT count(DISTINCT instrument_id) FROM ingest.order_books WHERE in_sync"
_STORED = "SELECT count(*) FROM ingest.trades"
_BOOKS = "SELECT count(*) FROM ingest.order_books WHERE time > to_timestamp(%s) AND time <= to_timestamp(%s)"


class Run(Struct, frozen=True):
    """`missing` says what differs from the ledger; "" when all is there."""

    cores: float
    simulator_cores: float
    peak_rss_mb: float
    lags_ms: list[float]
    books_per_second: float
    missing: str
    load_before: float

    @property
    def note(self) -> str:
        return (
            f"{number(len(self.lags_ms))} trades, {number(self.books_per_second)} books stored a second; cores: daemon "
            f"{number(self.cores)}, simulator {number(self.simulator_cores)}; "
            f"load of the machine before: {number(self.load_before)}"
        )


def run(bench: Bench, instruments: int = INSTRUMENTS) -> Run:
    load_before = os.getloadavg()[0]
    synthetic = ("--synthetic", str(instruments - len(SYMBOLS)))
    folder = tempfile.TemporaryDirectory(prefix="ingest-bench-")
    with bench.database() as url, folder as name, simulator(TRADES_PER_SECOND, *MARKET, *synthetic) as (venue, market):
        ledger, log = LedgerClient(venue.url), Path(name) / "daemon.log"
        since = ledger.pause(paused=True)  # nothing may happen before someone listens
        with daemon(venue, url, Path(name), CHANNELS, "tests.bench.unlimited") as collector, Watcher(url) as watcher:
            bench.say(f"starting {instruments * len(CHANNELS):,} streams")
            wait(lambda: live(url) == instruments * len(CHANNELS), START_SECONDS, collector, log)
            ledger.pause(paused=False)
            wait(lambda: _count(url, _IN_SYNC) == instruments, START_SECONDS, collector, log)
            bench.say(f"all books are in sync; measuring for {bench.scale.run_seconds:.0f} s")
            started, began_us = time.perf_counter(), time.time_ns() // 1_000
            cpu = cpu_seconds(collector.pid), cpu_seconds(market.pid)
            time.sleep(bench.scale.run_seconds)
            seconds = time.perf_counter() - started
            used = cpu_seconds(collector.pid) - cpu[0], cpu_seconds(market.pid) - cpu[1]
            truth = ledger.pause(paused=True)
            wait(lambda: committed(url, truth), COMMIT_SECONDS, collector, log)
            lags = lags_ms(url, watcher.seen_ns, began_us)
            books = _count(url, _BOOKS, began_us / 1e6, began_us / 1e6 + seconds)
            stored, told = _count(url, _STORED), truth.trades - since.trades
            peak = peak_rss_mb(collector.pid)
            collector.send_signal(signal.SIGTERM)
            assert collector.wait(60) == 0, log.read_text()
    missing = "" if stored == told else f"{stored:,} trades are stored of {told:,}"
    return Run(used[0] / seconds, used[1] / seconds, peak, lags, books / seconds, missing, load_before)


def _count(url: str, statement: str, *values: float) -> int:
    with connect_sync(url, role="bench") as connection:
        row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    found: int = row[0]
    return found


@GROUP.measures("streams500_cpu", "streams500_rss_mb", "streams500_lag_p99_ms")
def streams500(bench: Bench) -> Iterator[Figure]:
    r = run(bench)
    note = r.missing or r.note
    shares = ", ".join(f"{name} {number(percentile(r.lags_ms, share))}" for name, share in (("p50", 0.5), ("max", 1.0)))
    yield Figure("streams500_cpu", r.cores, "cores", note=note)
    yield Figure("streams500_rss_mb", r.peak_rss_mb, "MB", note=f"the daemon's peak, {INSTRUMENTS} books included")
    yield Figure("streams500_lag_p99_ms", percentile(r.lags_ms, 0.99), "ms", note=f"receipt to commit; {shares} ms")
