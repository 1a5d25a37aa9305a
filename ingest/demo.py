"""`ingest demo`: the whole path on one machine, against the simulator, compared with its ledger at the end.

The simulator and the daemon run as processes of their own, the daemon exactly as a user runs it. The database
is one that the demo makes and keeps: `ingest_demo`, beside the user's own.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import psycopg
from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ingest import analyst
from ingest.config.model import DEFAULT_CHANNELS
from ingest.errors import DatabaseUnavailable, Exit, Fatal
from ingest.simulator.audit import Comparison, LedgerClient, audit
from ingest.simulator.ledger import Summary
from ingest.store import provision
from ingest.store.database import connect_sync, with_database
from ingest.store.migrate import migrate
from ingest.store.sqlfiles import query

DATABASE = "ingest_demo"
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
_DEPTH = 20
_START_SECONDS = 120.0  # the first start in a new clone compiles ccxt, which takes a slow machine half a minute
_COMMIT_SECONDS = 15.0
_REFRESH_SECONDS = 0.5

_CONFIG = """\
[[collect]]
exchange = "binance"
symbols = {symbols}

[exchanges.binance]
rest_url = "{rest_url}"
ws_url = "{ws_url}"

[http]
enabled = false

[log]
format = "json"
"""


class _Ready(Struct):
    """The simulator's first line."""

    url: str
    ws_url: str


class _Progress(Struct, frozen=True):
    rows: int
    live: int
    streams: int
    lag_seconds: float | None


def run(configured_url: str | None, *, seconds: float, seed: int, console: Console) -> Exit:
    """Stream for `seconds`, print what analysts see, and compare. `Exit.OK` only when everything is equal."""
    started = time.monotonic()
    database = provision.up(configured_url, lambda line: console.print(f"[dim]{line}"))
    url = _fresh_database(database.url)
    migrate(url)
    console.print(f"[bold]database[/] {database.origin}, migrated   [bold]venue[/] simulator, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="ingest-demo-") as folder, _simulator(seed) as ready:
        ledger = LedgerClient(ready.url)
        since = ledger.pause(paused=True)  # nothing may happen before someone listens
        log_file = Path(folder) / "daemon.log"
        with _daemon(Path(folder), ready, url, log_file) as daemon:
            _wait_until_live(url, daemon, log_file)
            ledger.pause(paused=False)
            _stream(url, seconds, daemon, log_file, console)
            truth = ledger.pause(paused=True)
            _wait_until_committed(url, truth)
            code = _stop(daemon)
        if code != Exit.OK:
            raise Fatal(f"the daemon ended with exit code {code}:\n{_tail(log_file)}")
        _show_queries(url, console)
        comparisons = audit(url, ledger, since=since, depth=_DEPTH)
    equal = _show_comparison(comparisons, console)
    console.print(f"[dim]{time.monotonic() - started:.0f} s in all. The data stays: make psql DB={DATABASE}")
    return Exit.OK if equal else Exit.FAILED


def _fresh_database(url: str) -> str:
    """The DSN of an empty database named `ingest_demo` on the same server; an old one is dropped."""
    with connect_sync(url, role="demo") as connection:
        try:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnavailable(
                f"the demo needs a role that may create a database ({DATABASE}). Unset DATABASE_URL to use the "
                "embedded server, or grant CREATEDB."
            ) from error
    return with_database(url, DATABASE)


@contextlib.contextmanager
def _simulator(seed: int) -> Iterator[_Ready]:
    command = [sys.executable, "-m", "ingest.simulator", "--seed", str(seed), "--symbols", ",".join(SYMBOLS)]
    # It begins 12 s before a full minute, so that candles close while we watch.
    flags = ["--trades-per-second", "600", "--start-second", "48"]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        line = process.stdout.readline()
        if not line:
            raise Fatal("the simulator did not start; see its message above")
        yield msgspec.json.decode(line, type=_Ready)
    finally:
        _end(process)


@contextlib.contextmanager
def _daemon(folder: Path, ready: _Ready, url: str, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "ingest.toml"
    symbols = msgspec.json.encode(SYMBOLS).decode()
    config.write_text(_CONFIG.format(symbols=symbols, rest_url=ready.url, ws_url=ready.ws_url))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest", "run", "--config", str(config)],
            env={**environment, "DATABASE_URL": url, "INGEST_SPOOL__FOLDER": str(folder / "spool")},
            stderr=output,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _stop(daemon: subprocess.Popen[bytes]) -> int:
    daemon.send_signal(signal.SIGTERM)
    return daemon.wait(30)


def _wait_until_live(url: str, daemon: subprocess.Popen[bytes], log_file: Path) -> None:
    expected = len(SYMBOLS) * len(DEFAULT_CHANNELS)
    deadline = time.monotonic() + _START_SECONDS
    while sum(progress.live for progress in _progress(url).values()) < expected:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise Fatal(f"the daemon did not subscribe within {_START_SECONDS:.0f} s:\n{_tail(log_file)}")
        time.sleep(0.1)


def _stream(url: str, seconds: float, daemon: subprocess.Popen[bytes], log_file: Path, console: Console) -> None:
    """Show rows a second and lag by channel until the time is over."""
    started = time.monotonic()
    before, before_at = _progress(url), started
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while (elapsed := time.monotonic() - started) < seconds:
            time.sleep(_REFRESH_SECONDS)
            if daemon.poll() is not None:
                raise Fatal(f"the daemon ended by itself with exit code {daemon.returncode}:\n{_tail(log_file)}")
            now, now_at = _progress(url), time.monotonic()
            live.update(_progress_line(elapsed, seconds, before, now, now_at - before_at))
            before, before_at = now, now_at


def _progress(url: str) -> dict[str, _Progress]:
    with connect_sync(url, role="demo") as connection:
        rows = connection.execute(query("stream_progress")).fetchall()
    return {channel: _Progress(*values) for channel, *values in rows}


def _progress_line(
    elapsed: float, seconds: float, before: dict[str, _Progress], now: dict[str, _Progress], span: float
) -> Text:
    parts = []
    for channel in DEFAULT_CHANNELS:
        if channel in now:
            new = now[channel].rows - (before[channel].rows if channel in before else 0)
            lag = now[channel].lag_seconds
            shown = "-" if lag is None else f"{1000 * lag:.0f} ms"
            parts.append(f"{channel} {now[channel].rows:,} ({new / span:,.0f}/s, {shown})")
    return Text(f"{min(elapsed, seconds):3.0f}/{seconds:.0f} s  rows (rate, lag):  " + "  ".join(parts))


def _wait_until_committed(url: str, truth: Summary) -> None:
    """Until the last trade of the ledger is in the table of each instrument, or the time is over: `audit` judges."""
    deadline = time.monotonic() + _COMMIT_SECONDS
    wanted = {symbol.symbol: symbol.last_trade_id for symbol in truth.symbols}
    while time.monotonic() < deadline:
        with connect_sync(url, role="demo") as connection:
            stored: dict[str, int] = dict(connection.execute(query("last_trade_ids")).fetchall())
        if all(stored.get(symbol) == last for symbol, last in wanted.items()):
            return
        time.sleep(0.1)


def _show_queries(url: str, console: Console) -> None:
    titles = {
        "last_candles": "last candles of BTC/USDT",
        "vwap_5s": "VWAP of BTC/USDT by 5 s",
        "spread_and_depth": "spread and depth, 20 levels",
    }
    with connect_sync(url, role="demo") as connection:
        for name, title in titles.items():
            cursor = connection.execute(analyst.find(name).filled({}))
            table = _table(f"\n{title}   [dim]sql/analyst/{name}.sql")
            for column in cursor.description or ():
                table.add_column(column.name, justify="right")
            for row in cursor.fetchall():
                table.add_row(*(_cell(value) for value in row))
            console.print(table)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim")


def _cell(value: object) -> str:
    """For the eye: times without the date, numbers without trailing zeros."""
    if isinstance(value, datetime):
        return value.strftime("%H:%M:%S")
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _show_comparison(comparisons: list[Comparison], console: Console) -> bool:
    table = _table("\nthe tables against the venue's ledger, row by row")
    for name in ("channel", "compared", "missing", "unexpected", "different", ""):
        table.add_column(name, justify="left" if name in ("channel", "") else "right")
    for comparison in comparisons:
        counts = (comparison.compared, comparison.missing, comparison.unexpected, comparison.different)
        verdict = "[green]equal" if comparison.equal else "[red]NOT EQUAL"
        table.add_row(comparison.channel, *(f"{count:,}" for count in counts), verdict)
    console.print(table)
    for comparison in comparisons:
        for example in comparison.examples:
            console.print(f"[red]{comparison.channel}[/] {example}", highlight=False)
    return all(comparison.equal for comparison in comparisons)


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text().splitlines()[-15:])
