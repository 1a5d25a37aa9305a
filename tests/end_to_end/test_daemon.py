"""The daemon as a process against the simulator, the database held against the venue's ledger."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.simulator.audit import Comparison, LedgerClient, audit
from ingest.store.database import connect_sync

START_SECONDS = 30.0
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


class Simulator:
    """The venue as a process, frozen until `ledger.pause(paused=False)`."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "ingest.simulator", "--symbols", ",".join(SYMBOLS), *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url, self.ws_url = ready["url"], ready["ws_url"]
        self.ledger = LedgerClient(self.url)
        self.since = self.ledger.pause(paused=True)

    def close(self) -> None:
        end(self.process)


class Daemon:
    """`ingest run` as a process."""

    def __init__(self, folder: Path, venue: Simulator, database_url: str, extra: str = "") -> None:
        config = folder / "ingest.toml"
        config.write_text(
            f'[[collect]]\nexchange = "binance"\nsymbols = ["*/USDT"]\n'
            f'[exchanges.binance]\nrest_url = "{venue.url}"\nws_url = "{venue.ws_url}"\n'
            f'[log]\nlevel = "debug"\nformat = "json"\n{extra}'
        )
        self.log_file = folder / "daemon.log"
        self.database_url = database_url
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "run", "--config", str(config)],
                env={**environment, "DATABASE_URL": database_url},
                stderr=output,
            )

    def wait_until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not met():
            assert self.process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, self.log_file.read_text()
            time.sleep(0.05)

    def wait_until_live(self) -> None:
        self.wait_until(lambda: self.count("SELECT count(*) FROM ingest.streams WHERE state = 'live'") == 9)

    def wait_until_committed(self, venue: Simulator) -> None:
        """Until the ledger's last trade of every instrument is stored; the market must be paused."""
        wanted = {symbol.symbol: symbol.last_trade_id for symbol in venue.ledger.summary().symbols}
        statement = (
            "SELECT count(*) FROM ingest.streams s JOIN ingest.instruments i USING (instrument_id)"
            " WHERE s.channel = 'trades' AND s.last_sequence = (%s::jsonb ->> i.native_symbol)::bigint"
        )
        self.wait_until(lambda: self.count(statement, json.dumps(wanted)) == len(wanted))

    def count(self, statement: str, *parameters: str) -> int:
        with connect_sync(self.database_url, role="test") as connection:
            row = connection.execute(statement, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture
def venue(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    simulator = Simulator("--trades-per-second", "500", *getattr(request, "param", ()))
    yield simulator
    simulator.close()


@pytest.fixture
def daemon(tmp_path: Path, venue: Simulator, database_url: str) -> Iterator[Daemon]:
    process = Daemon(tmp_path, venue, database_url)
    yield process
    process.close()


def assert_equal(comparisons: list[Comparison]) -> None:
    assert [c.examples for c in comparisons if c.examples] == []
    assert [c.channel for c in comparisons if not c.equal] == []


def test_what_was_sent_is_stored_and_sigterm_loses_nothing(venue: Simulator, daemon: Daemon) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    time.sleep(4)
    venue.ledger.pause(paused=True)
    time.sleep(0.5)  # frames on the wire; what is in the daemon by then must not be lost
    assert daemon.stop() == 0
    comparisons = audit(daemon.database_url, venue.ledger, since=venue.since, depth=20)
    assert_equal(comparisons)
    trades, candles, books = comparisons
    assert trades.compared > 1000
    assert candles.compared >= 3 * 120  # the warm-up
    assert books.compared >= 3 * 3
    assert daemon.count("SELECT count(*) FROM ingest.gaps") == 0
    assert daemon.count("SELECT count(*) FROM ingest.rejected") == 0
    assert daemon.count("SELECT count(*) FROM ingest.streams WHERE state = 'stopped'") == 9


@pytest.mark.parametrize("venue", [("--connection-lifetime", "3", "--shutdown-notice", "2")], indirect=True)
def test_a_connection_that_the_venue_ends_is_replaced_before(venue: Simulator, daemon: Daemon) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    time.sleep(7)  # two lifetimes
    venue.ledger.pause(paused=True)
    daemon.wait_until_committed(venue)
    assert daemon.stop() == 0
    assert_equal(audit(daemon.database_url, venue.ledger, since=venue.since, depth=20))
    log = daemon.log_file.read_text()
    assert log.count("session.expiring") >= 2
    assert "session.lost" not in log
    assert daemon.count("SELECT count(*) FROM ingest.gaps") == 0


def test_a_second_daemon_on_the_same_streams_does_no_harm(
    venue: Simulator, daemon: Daemon, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second", venue, database_url)
    try:
        daemon.wait_until_live()
        second.wait_until(lambda: "streams.live" in second.log_file.read_text())
        venue.ledger.pause(paused=False)
        time.sleep(3)
        venue.ledger.pause(paused=True)
        daemon.wait_until_committed(venue)
        assert daemon.stop() == 0
        assert second.stop() == 0
    finally:
        second.close()
    assert_equal(audit(database_url, venue.ledger, since=venue.since, depth=20))


def test_a_database_that_is_not_migrated_is_refused_with_the_remedy(
    venue: Simulator, tmp_path: Path, empty_database_url: str
) -> None:
    daemon = Daemon(tmp_path, venue, empty_database_url)
    assert daemon.process.wait(20) == 2
    assert daemon.log_file.read_text().splitlines()[-1].endswith("Run `ingest migrate`.")


def test_no_password_appears_in_a_log(venue: Simulator, tmp_path: Path, database_url: str) -> None:
    wrong = database_url.replace("127.0.0.1", "localhost").replace(":", ":planted-secret-", 2)
    daemon = Daemon(tmp_path, venue, wrong)
    assert daemon.process.wait(30) != 0
    assert "planted-secret" not in daemon.log_file.read_text()
