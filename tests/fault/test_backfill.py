"""Backfill against a venue with a long history: whatever is refused, cut or killed, the tables equal the ledger.

`BACKFILL_ROUNDS` (`make test-backfill ROUNDS=…`) makes the scenarios with faults longer: so many rounds.
"""

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from msgspec import structs
from rich.console import Console

from ingest.backfill.orders import Order
from ingest.backfill.run import run
from ingest.config.model import Config
from ingest.config.source import load
from ingest.errors import Exit
from ingest.exchanges import rest
from ingest.exchanges.binance import Binance
from ingest.simulator.faults import (
    Fault,
    LaggingHistory,
    RestCut,
    RestEmpty,
    RestError,
    RestMalformed,
    RestSilent,
    RestTruncated,
)
from ingest.store.backfill import Progress
from tests.conftest import Fetch
from tests.end_to_end.processes import end
from tests.fault.venue import Venue

MINUTE_US = 60_000_000
YEAR_MINUTES = 365 * 24 * 60
ROUNDS = int(os.environ.get("BACKFILL_ROUNDS", "2"))
PATIENCE_SECONDS = 300.0

Start = Callable[..., subprocess.Popen[bytes]]


class Past:
    """A venue's history, and the commands that fetch it."""

    def __init__(self, folder: Path, venue: Venue, database_url: str, fetch: Fetch) -> None:
        self.venue = venue
        self.fetch = fetch
        self.url = database_url
        self._folder = folder
        self._config = folder / "ingest.toml"
        # Aggregates weigh a sixth of single trades, and are the same in a made history.
        self._config.write_text(
            f'[exchanges.binance]\nrest_url = "{venue.url}"\nws_url = "{venue.ws_url}"\ntrade_stream = "aggTrade"\n'
            f'[exchanges.binanceus]\nrest_url = "{venue.url}"\n'
        )
        self.began_us = venue.since.symbols[0].history_start_us
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def config(self) -> Config:
        return load(self._config, environ={}).config

    def time(self, minutes: int) -> datetime:
        """So many minutes after the history's begin."""
        return datetime.fromtimestamp(self.began_us / 1e6, UTC) + timedelta(minutes=minutes)

    def moment(self, minutes: int) -> str:
        return self.time(minutes).isoformat()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
        with (self._folder / "backfill.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "backfill", *words, "--config", str(self._config)],
                env={**kept, "DATABASE_URL": self.url, "COLUMNS": "200"},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def run(self, *words: str) -> int:
        return self.start(*words).wait(PATIENCE_SECONDS)

    def wait(self, met: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not met() and process.poll() is None:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self._folder / "backfill.log").read_text(errors="replace")[-4000:]

    def done(self) -> int:
        return int(self.fetch("SELECT count(*) FROM ingest.backfill_jobs WHERE state = 'done'")[0][0])

    def count_calls(self) -> None:
        """From now on: a fault that changes nothing, but is told."""
        self.venue.fault(LaggingHistory())

    def calls(self) -> int:
        """For candles or trades."""
        return sum(incident.times for incident in self.venue.incidents("lagging_history"))

    def assert_candles(self, symbol: str, first: int, last: int, *, figures: int = 10) -> None:
        """The minutes from one to another (exclusive), counted from its begin, are the ledger's to the digit.

        `figures` is how many of a candle the venue tells: 6 to the volume, 10 to the takers' shares.
        """
        ends = [self.began_us + minute * MINUTE_US for minute in (first, last)]
        with psycopg.connect(self.url) as connection, connection.cursor(name="stored") as cursor:
            cursor.itersize = 10_000
            cursor.execute(
                "SELECT (extract(epoch FROM c.time) * 1000000)::bigint, open::text, high::text, low::text, close::text,"
                " volume::text, quote_volume::text, trades, taker_buy_volume::text, taker_buy_quote_volume::text"
                " FROM ingest.candles_1m c JOIN ingest.instruments i USING (instrument_id)"
                " WHERE i.symbol = %s ORDER BY c.time",
                [symbol],
            )
            native = symbol.replace("/", "")
            for stored, told in zip(cursor, self.venue.ledger.candles(native, *ends), strict=True):
                assert stored[:figures] == told[:figures]

    def assert_trades(self, symbol: str, first_us: int, last_us: int) -> None:
        """All trades between two times are stored, and no other."""
        native = symbol.replace("/", "")
        (facts,) = (each for each in self.venue.ledger.summary().symbols if each.symbol == native)
        told = [
            row for row in self.venue.ledger.trades(native, 1, facts.first_trade_id - 1) if first_us <= row[1] < last_us
        ]
        stored = self.fetch(
            "SELECT t.trade_id::bigint, (extract(epoch FROM t.time) * 1000000)::bigint, t.side::text, t.price::text,"
            " t.amount::text FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id)"
            " WHERE i.symbol = %s ORDER BY 1",
            symbol,
        )
        assert len(stored) == len(told)
        assert stored == told


@pytest.fixture
def past(tmp_path: Path, venue: Venue, database_url: str, fetch: Fetch) -> Iterator[Past]:
    made = Past(tmp_path, venue, database_url, fetch)
    yield made
    for process in made.processes:
        end(process)


def long(minutes: int, trades_per_minute: int) -> tuple[str, ...]:
    return ("--history-minutes", str(minutes), "--history-trades-per-minute", str(trades_per_minute))


A_YEAR = pytest.mark.parametrize("venue", [long(YEAR_MINUTES, 1)], indirect=True)
SOME_HOURS = pytest.mark.parametrize("venue", [long(600, 150)], indirect=True)


def candles(past: Past, first: int, last: int, *symbols: str) -> list[str]:
    return ["binance", *(symbols or ("BTC/USDT",)), "--from", past.moment(first), "--to", past.moment(last)]


@A_YEAR
@pytest.mark.long
def test_a_year_of_candles_takes_as_many_calls_as_it_has_pages(past: Past) -> None:
    past.count_calls()
    year = candles(past, 0, YEAR_MINUTES)
    assert past.run(*year) == 0, past.log()
    pages = -(-YEAR_MINUTES // 1000)
    assert pages <= past.calls() <= pages * 1.05
    past.assert_candles("BTC/USDT", 0, YEAR_MINUTES)
    before = (past.calls(), past.fetch("SELECT * FROM ingest.backfill_jobs ORDER BY job_id"))
    assert past.run(*year) == 0, past.log()
    assert (past.calls(), past.fetch("SELECT * FROM ingest.backfill_jobs ORDER BY job_id")) == before
    assert past.fetch("SELECT count(*) FROM ingest.rollup_changes") == [(0,)]
    assert past.fetch("SELECT sum(minutes) FROM ingest.candles_1d") == [(YEAR_MINUTES,)]
    assert past.fetch(
        "SELECT grade, percent::int FROM market.coverage('binance', 'BTC/USDT', 'candles', %s, %s)",
        *(past.moment(0), past.moment(YEAR_MINUTES)),
    ) == [("proved", 100)]


@A_YEAR
@pytest.mark.long
def test_two_processes_share_a_backfill_and_fetch_no_window_twice(past: Past) -> None:
    past.count_calls()
    words = candles(past, 0, 100_000, "BTC/USDT", "ETH/USDT")
    both = [past.start(*words), past.start(*words)]
    assert [process.wait(PATIENCE_SECONDS) for process in both] == [0, 0], past.log()
    assert past.calls() == past.done() == 200
    assert past.fetch("SELECT count(*) FROM ingest.candles_1m") == [(200_000,)]
    assert past.fetch("SELECT sum(rows_known) FROM ingest.backfill_jobs") == [(0,)]


@A_YEAR
@pytest.mark.long
def test_candles_before_the_first_one_are_done_with_few_calls(past: Past) -> None:
    past.count_calls()
    assert past.run(*candles(past, -100_000, 1_500)) == 0, past.log()
    past.assert_candles("BTC/USDT", 0, 1_500)
    assert past.calls() < 20  # of 102 windows
    assert "the venue's candles begin at" in past.log()
    assert past.fetch("SELECT count(*) FROM ingest.gaps") == [(0,)]


@SOME_HOURS
@pytest.mark.long
def test_trades_take_as_many_calls_as_they_have_pages(past: Past) -> None:
    past.count_calls()
    hours = [*candles(past, 30, 570), "--channel", "trades"]
    assert past.run(*hours) == 0, past.log()
    past.assert_trades("BTC/USDT", past.began_us + 30 * MINUTE_US, past.began_us + 570 * MINUTE_US)
    pages = -(-past.fetch("SELECT count(*) FROM ingest.trades")[0][0] // 1000)
    assert pages > 70
    calls = past.calls()
    assert pages <= calls <= pages * 1.05 + 8  # the search for the first and the last
    assert past.run(*hours) == 0, past.log()
    assert past.calls() == calls


@SOME_HOURS
def test_a_dry_run_counts_the_trades_of_an_instrument_that_the_database_does_not_know(past: Past) -> None:
    first_us, end_us = past.began_us + 30 * MINUTE_US, past.began_us + 90 * MINUTE_US
    assert past.run(*candles(past, 30, 90), "--channel", "trades", "--dry-run") == 0, past.log()
    told = past.venue.ledger.trades("BTCUSDT", 1, past.venue.ledger.summary().symbols[0].first_trade_id - 1)
    rows = sum(first_us <= row[1] < end_us for row in told)
    assert rows > 8_000
    line = next(line for line in past.log().splitlines() if "binance BTC/USDT trades" in line)
    assert line.split()[3:6] == ["1", f"{-(-rows // 1000) + 4}", f"{rows:,}"]
    assert past.fetch("SELECT (SELECT count(*) FROM ingest.instruments), count(*) FROM ingest.backfill_jobs") == [
        (0, 0)
    ]


@A_YEAR
def test_faults_and_kills_leave_no_trace_in_candles(past: Past) -> None:
    minutes = YEAR_MINUTES if ROUNDS > 2 else 150_000
    _suffer(past, candles(past, 0, minutes), "klines", windows=minutes // 1_000)
    past.assert_candles("BTC/USDT", 0, minutes)


@SOME_HOURS
@pytest.mark.long
def test_faults_and_kills_leave_no_trace_in_trades(past: Past) -> None:
    _suffer(past, [*candles(past, 0, 500), "--channel", "trades"], "aggTrades", windows=70)
    past.assert_trades("BTC/USDT", past.began_us, past.began_us + 500 * MINUTE_US)


@A_YEAR
@pytest.mark.long
def test_what_cannot_be_fetched_is_reported_and_the_rest_is_there(past: Past) -> None:
    past.venue.fault(RestError(path="klines", status=400, after=8, count=1_000))
    words = [*candles(past, 0, 10_000), "--workers", "1"]
    assert past.run(*words) == 1, past.log()
    assert past.log().count("failed: binance BTC/USDT candles 1m 20") == 2
    assert past.fetch("SELECT count(*) FROM ingest.candles_1m") == [(8_000,)]
    assert past.run("status") == 1
    past.venue.calm()
    assert past.run(*words) == 0, past.log()
    past.assert_candles("BTC/USDT", 0, 10_000)
    reply = past.fetch("SELECT state, count(*) FROM ingest.backfill_jobs GROUP BY 1")
    assert reply == [("done", 10)]


@pytest.mark.long
@A_YEAR
def test_a_venue_of_ccxt_is_paged_to_the_end(past: Past) -> None:
    """Its own `paginate` would end after ten calls."""
    past.count_calls()
    words = ["binanceus", *candles(past, 0, 12_000)[1:]]
    past.venue.fault(RestError(path="klines", status=429, retry_after=1, after=3, count=1))
    past.venue.fault(RestCut(path="klines", after=7, count=1))
    for _ in range(2):
        assert past.run(*words) == 0, past.log()
        assert past.calls() == 24 + 2
    past.assert_candles("BTC/USDT", 0, 12_000, figures=6)
    assert past.fetch("SELECT state, count(*) FROM ingest.backfill_jobs GROUP BY 1") == [("done", 24)]


@A_YEAR
@pytest.mark.community
def test_a_backfill_fills_compressed_chunks_and_compresses_them_again(past: Past) -> None:
    """A hole of a week in two months that are compressed: the same chunks take it."""
    for first, last in ((0, 40_000), (50_000, 90_000), (0, 90_000)):
        assert past.run(*candles(past, first, last)) == 0, past.log()
        assert past.fetch(
            "SELECT DISTINCT _timescaledb_functions.chunk_status(c) FROM show_chunks('ingest.candles_1m') AS c"
        ) == [(1,)]
    assert past.fetch("SELECT sum(rows_stored), sum(rows_known) FROM ingest.backfill_jobs") == [(90_000, 0)]
    past.assert_candles("BTC/USDT", 0, 90_000)
    assert past.fetch("SELECT sum(minutes) FROM ingest.candles_1d") == [(90_000,)]


@pytest.mark.long
@SOME_HOURS
def test_of_a_range_across_the_edge_of_retention_the_kept_part_is_fetched(past: Past) -> None:
    past.fetch("UPDATE ingest.policies SET retention = '5 hours' WHERE table_name = 'candles_1m'")
    assert past.run(*candles(past, 0, 100)) == 2, past.log()
    assert "nothing of it can be fetched" in past.log()
    for _ in range(2):  # the second time it is refused as well, and there is nothing to do
        assert past.run(*candles(past, 0, 590)) == 1, past.log()
        assert "is stored (retention.candles_1m = 5 hours)" in past.log()
    ((first, rows),) = past.fetch(
        "SELECT ((extract(epoch FROM min(time)) * 1000000 - %s) / 60000000)::int, count(*) FROM ingest.candles_1m",
        past.began_us,
    )
    assert 0 < first < 400  # history begins with an hour, up to an hour before ten hours ago
    assert rows == 590 - first
    past.assert_candles("BTC/USDT", first, 590)
    past.fetch("UPDATE ingest.policies SET retention = '1 year' WHERE table_name = 'candles_1m'")
    assert past.run(*candles(past, 0, 590)) == 0, past.log()
    past.assert_candles("BTC/USDT", 0, 590)


@pytest.mark.long
@A_YEAR
async def test_a_venue_that_never_answers_is_given_up_and_asked_again(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line stands and nothing comes: to end that is the client's, whose patience is shortened here."""
    monkeypatch.setattr(rest, "_TIMEOUT", aiohttp.ClientTimeout(total=2.0))
    past.venue.fault(RestSilent(path="klines", wait_seconds=3600.0, after=1, count=2))
    errors = set[str]()

    class Watched:
        def update(self, progress: Sequence[Progress]) -> None:
            errors.update(each.error for each in progress if each.error)

    order = Order("binance", ("BTC/USDT", "ETH/USDT"), "candles", "1m", past.time(0), past.time(5_000))
    shown = Console(record=True, width=200, file=io.StringIO())
    code = await run(past.config, past.url, [order], workers=2, meter=lambda _: Watched(), console=shown)
    assert code == Exit.OK, shown.export_text()
    assert sum(incident.times for incident in past.venue.incidents("rest_silent")) == 2
    assert any("no answer within 2 s" in error for error in errors), errors
    past.assert_candles("BTC/USDT", 0, 5_000)
    past.assert_candles("ETH/USDT", 0, 5_000)
    assert past.fetch("SELECT state, count(*) FROM ingest.backfill_jobs GROUP BY 1") == [("done", 10)]


@pytest.mark.long
@pytest.mark.parametrize("venue", [(*long(YEAR_MINUTES, 1), "--weight-per-minute", "600")], indirect=True)
async def test_two_backfills_stay_below_the_venue_s_limit_together(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them alone would use it up within the minute; the venue counts what both have used."""
    monkeypatch.setattr(Binance, "limits", structs.replace(Binance.limits, weight_per_minute=600))
    shares, errors, used = set[float](), set[str](), list[int]()
    began = rest.Rest.fetch

    async def fetch(self: rest.Rest, *words: Any, **more: Any) -> rest.Reply:
        shares.add(self.limiter.share)
        return await began(self, *words, **more)

    monkeypatch.setattr(rest.Rest, "fetch", fetch)

    class Watched:
        def update(self, progress: Sequence[Progress]) -> None:
            errors.update(each.error for each in progress if each.error)

    async def watch() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{past.venue.url}/api/v3/ping") as reply:
                    used.append(int(reply.headers["X-MBX-USED-WEIGHT-1M"]))
                await asyncio.sleep(2)

    async def backfill(symbol: str) -> Exit:
        order = Order("binance", (symbol,), "candles", "1m", past.time(0), past.time(150_000))
        shown = Console(record=True, width=200, file=io.StringIO())
        return await run(past.config, past.url, [order], workers=2, meter=lambda _: Watched(), console=shown)

    watching = asyncio.create_task(watch())
    assert set(await asyncio.gather(backfill("BTC/USDT"), backfill("ETH/USDT"))) == {Exit.OK}
    watching.cancel()
    assert max(used) < 0.95 * 600
    assert 0.5 in shares
    assert errors == set()
    past.assert_candles("BTC/USDT", 0, 150_000)
    past.assert_candles("ETH/USDT", 0, 150_000)


def _suffer(past: Past, words: list[str], path: Any, windows: int) -> None:
    """Run it while calls go wrong, and end it again and again; the last run is left alone."""
    chance = random.Random(7)  # noqa: S311 - faults, not secrets
    for number in range(ROUNDS):
        _break_calls(past.venue, chance, path)
        process = past.start(*words)
        goal = past.done() + windows // (ROUNDS + 1)
        past.wait(lambda goal=goal: past.done() >= goal, process)  # type: ignore[misc]
        process.send_signal(signal.SIGINT if number % 2 else signal.SIGKILL)
        assert process.wait(30) in (0, 130, -signal.SIGKILL), past.log()
    assert past.run(*words) == 0, past.log()
    past.venue.calm()
    assert past.run(*words) == 0, past.log()
    assert past.fetch("SELECT count(*) FROM ingest.gaps WHERE state <> 'repaired'") == [(0,)]
    assert past.fetch("SELECT DISTINCT state FROM ingest.backfill_jobs") == [("done",)]
    assert past.fetch("SELECT count(*) FROM ingest.rollup_changes") == [(0,)]
    kinds = {incident.kind for incident in past.venue.incidents()}
    assert {"rest_error", "rest_cut"} <= kinds, json.dumps(sorted(kinds))


def _break_calls(venue: Venue, chance: random.Random, path: Any) -> None:
    """Each kind of failure somewhere in the next calls."""

    def somewhere() -> int:
        return chance.randrange(1, 30)

    share = chance.uniform(0.1, 0.9)
    faults: list[Fault] = [
        RestError(path=path, status=429, retry_after=1, after=somewhere(), count=1),
        RestError(path=path, status=chance.choice([500, 502, 503]), after=somewhere(), count=1),
        RestSilent(path=path, wait_seconds=2.0, after=somewhere(), count=1),
        RestTruncated(path=path, keep=share, after=somewhere(), count=1),
        RestCut(path=path, keep=share, after=somewhere(), count=1),
        RestEmpty(path=path, after=somewhere(), count=1),
        RestMalformed(path=path, what="missing_field", instead=True, after=somewhere(), count=1),
    ]
    for fault in faults:
        venue.fault(fault)
