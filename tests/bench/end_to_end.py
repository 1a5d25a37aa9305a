"""Simulator, daemon and database as processes of one machine: what is sent, until it is committed.

Receipt to commit, row by row: `received_at` is the daemon's clock when it read the frame. Every two milliseconds or so
a watcher asks the server for its snapshot, which says which transactions are visible, and notes when it first saw
each one; a row's `xmin` names its transaction. So a lag holds the flush of the commit and errs only upwards, by the
watcher's period and its wait for a core; all clocks are this machine's one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
import psycopg
from msgspec import Struct

from ingest.simulator.audit import LedgerClient, audit
from ingest.simulator.ledger import Summary
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query
from tests.bench.harness import Bench, Figure, Group, number

GROUP = Group("end_to_end")

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
CHANNELS = ("trades", "candles", "book")
HELD_CHANNELS = ("trades", "book")
"""A market that waits for the daemon falls behind the clock, by which REST candles are judged to be closed."""
OFFERED = 100_000
"""Trades a second that the market would make; it waits for the daemon, which sets the pace."""
STEADY = 5_000
START_SECONDS = 60.0
COMMIT_SECONDS = 60.0
WATCH_SECONDS = 0.002
DEPTH = 20


class Run(Struct, frozen=True):
    """What one run came to. `lost` says what differs from the ledger; "" when all is equal."""

    trades: int
    seconds: float
    lost: str
    lags_ms: list[float]
    peak_rss_mb: float
    daemon_cores: float
    simulator_cores: float
    load_before: float

    @property
    def cores(self) -> str:
        return (
            f"cores: daemon {number(self.daemon_cores)}, simulator {number(self.simulator_cores)}; "
            f"load of the machine before: {number(self.load_before)}"
        )


class Watcher(threading.Thread):
    """Notes when each transaction was first seen committed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._connection = connect_sync(url, role="bench watcher")
        self._ended = threading.Event()
        self.seen_ns: dict[int, int] = {}
        """By the low 32 bits of a transaction's id, as `xmin` holds them."""

    def run(self) -> None:
        snapshot = self._snapshot()
        next_id, running = snapshot[1], set(snapshot[2])
        while not self._ended.wait(WATCH_SECONDS):
            _, end, still = self._snapshot()
            now_ns = time.time_ns()
            candidates = running | set(range(next_id, end))
            running, next_id = set(still), end
            for number_ in candidates - running:
                self.seen_ns[number_ & 0xFFFFFFFF] = now_ns

    def _snapshot(self) -> tuple[int, int, list[int]]:
        row = self._connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        first, end, running = row[0].split(":")
        return int(first), int(end), [int(part) for part in running.split(",") if part]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        self._connection.close()


class Ready(Struct):
    """The simulator's first line."""

    url: str
    ws_url: str


@contextmanager
def simulator(trades_per_second: int, *more: str) -> Iterator[tuple[Ready, subprocess.Popen[bytes]]]:
    flags = ["--slow-client", "wait", "--burst", "1", "--trades-per-second", str(trades_per_second), *more]
    command = [sys.executable, "-m", "ingest.simulator", "--symbols", ",".join(SYMBOLS), *flags]
    with _process(command, dict(os.environ), None) as process:
        assert process.stdout is not None
        yield msgspec.json.decode(process.stdout.readline(), type=Ready), process


@contextmanager
def daemon(
    venue: Ready, url: str, folder: Path, channels: tuple[str, ...], module: str = "ingest"
) -> Iterator[subprocess.Popen[bytes]]:
    """`ingest run` with its defaults, these channels of every symbol. `module` is the command's."""
    config = folder / "ingest.toml"
    config.write_text(
        f'[[collect]]\nexchange = "binance"\nsymbols = ["*/USDT"]\nchannels = {json.dumps(channels)}\n'
        f'[exchanges.binance]\nrest_url = "{venue.url}"\nws_url = "{venue.ws_url}"\n[http]\nport = 0\n'
        '[log]\nformat = "json"\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
    command = [sys.executable, "-m", module, "run", "--config", str(config)]
    environment |= {"DATABASE_URL": url, "INGEST_SPOOL__FOLDER": str(folder / "spool")}
    with _process(command, environment, folder / "daemon.log") as process:
        yield process


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    errors = log.open("wb") if log else None
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        if errors is not None:
            errors.close()


def run(bench: Bench, trades_per_second: int, channels: tuple[str, ...]) -> Run:
    """Let the market run for `run_seconds`, wait until all is committed, and hold the tables against the ledger."""
    load_before = os.getloadavg()[0]
    folder = tempfile.TemporaryDirectory(prefix="ingest-bench-")
    with bench.database() as url, folder as name, simulator(trades_per_second) as (venue, market):
        ledger = LedgerClient(venue.url)
        since = ledger.pause(paused=True)  # nothing may happen before someone listens
        with daemon(venue, url, Path(name), channels) as collector, Watcher(url) as watcher:
            log = Path(name) / "daemon.log"
            wait(lambda: live(url) == len(SYMBOLS) * len(channels), START_SECONDS, collector, log)
            bench.say(f"{trades_per_second:,} trades/s offered for {bench.scale.run_seconds:.0f} s")
            ledger.pause(paused=False)
            started, cpu = time.perf_counter(), (cpu_seconds(collector.pid), cpu_seconds(market.pid))
            time.sleep(bench.scale.run_seconds)
            truth = ledger.pause(paused=True)
            wait(lambda: committed(url, truth), COMMIT_SECONDS, collector, log)
            seconds = time.perf_counter() - started
            used = cpu_seconds(collector.pid) - cpu[0], cpu_seconds(market.pid) - cpu[1]
            peak = peak_rss_mb(collector.pid)
            collector.send_signal(signal.SIGTERM)
            assert collector.wait(60) == 0, log.read_text()
        bench.say("comparing with the ledger, row by row")
        lost = "; ".join(
            f"{c.channel}: {c.missing} missing, {c.unexpected} unexpected, {c.different} different"
            for c in audit(url, ledger, since=since, depth=DEPTH)
            if c.channel in channels and not c.equal
        )
        return Run(
            truth.trades - since.trades,
            seconds,
            lost,
            lags_ms(url, watcher.seen_ns),
            peak,
            used[0] / seconds,
            used[1] / seconds,
            load_before,
        )


def wait(met: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def live(url: str) -> int:
    with connect_sync(url, role="bench") as connection:
        row = connection.execute("SELECT count(*) FROM ingest.streams WHERE state = 'live'").fetchone()
    return row[0] if row else 0


def committed(url: str, truth: Summary) -> bool:
    with connect_sync(url, role="bench") as connection:
        stored: dict[str, int] = dict(connection.execute(query("last_trade_ids")).fetchall())
        unsettled = connection.execute(
            "SELECT 1 FROM ingest.gaps WHERE channel = 'trades' AND state IN ('open', 'repairing') LIMIT 1"
        ).fetchone()
    return unsettled is None and all(stored.get(symbol.symbol) == symbol.last_trade_id for symbol in truth.symbols)


def lags_ms(url: str, seen_ns: dict[int, int], from_us: int = 0) -> list[float]:
    """Of every trade that was received since, in rising order."""
    statement = "SELECT xmin::text::bigint, (extract(epoch FROM received_at) * 1000000)::bigint FROM ingest.trades"
    with psycopg.connect(url) as connection, connection.cursor(name="lags") as cursor:
        cursor.itersize = 20_000
        cursor.execute(statement)
        return sorted(
            (seen_ns[xmin] / 1_000 - received_us) / 1_000
            for xmin, received_us in cursor
            if xmin in seen_ns and received_us >= from_us
        )


def cpu_seconds(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mb(pid: int) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status["VmHWM"].split()[0]) / 1_024


def percentile(rising: list[float], share: float) -> float:
    return rising[min(len(rising) - 1, int(share * len(rising)))]


@GROUP.measures("e2e_trades_per_second")
def e2e_trades_per_second(bench: Bench) -> Iterator[Figure]:
    """As many as go through. The figure is 0 when a single row is lost or differs."""
    r = run(bench, OFFERED, HELD_CHANNELS)
    rate = 0.0 if r.lost else r.trades / r.seconds
    note = r.lost or f"{r.trades:,} trades in {r.seconds:.1f} s, equal to the ledger; {r.cores}"
    yield Figure("e2e_trades_per_second", rate, "trades/s", at_least=50_000, note=note)


@GROUP.measures("e2e_p99_ms", "e2e_rss_mb")
def e2e_p99_ms(bench: Bench) -> Iterator[Figure]:
    r = run(bench, STEADY, CHANNELS)
    assert len(r.lags_ms) >= 0.99 * r.trades, "the watcher missed transactions"
    shares = ", ".join(f"{name} {number(percentile(r.lags_ms, share))}" for name, share in (("p50", 0.5), ("max", 1.0)))
    note = r.lost or f"{len(r.lags_ms):,} trades at {number(r.trades / r.seconds)}/s; {shares} ms; {r.cores}"
    yield Figure("e2e_p99_ms", percentile(r.lags_ms, 0.99), "ms", at_most=500, note=note)
    yield Figure("e2e_rss_mb", r.peak_rss_mb, "MB", note=f"the daemon's peak at {STEADY:,} trades/s")
