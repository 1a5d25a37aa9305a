"""The daemon as a process against the simulator, the database held against the venue's ledger."""

import asyncio
import time
from pathlib import Path

import pytest

from ingest.simulator.audit import audit
from ingest.store.callers import Callers
from tests.end_to_end.processes import Daemon, Simulator, assert_equal


@pytest.mark.parametrize("venue", [("--start-second", "55")], indirect=True)  # a minute closes on the way
def test_what_was_sent_is_stored_and_sigterm_loses_nothing(venue: Simulator, daemon: Daemon) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.candles_1m WHERE source = 20") == 3)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.order_books WHERE in_sync") >= 9)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 1000)
    venue.ledger.pause(paused=True)
    time.sleep(0.5)  # frames on the wire; what is in the daemon by then must not be lost
    assert daemon.stop() == 0
    comparisons = audit(daemon.database_url, venue.ledger, since=venue.since, depth=20)
    assert_equal(comparisons)
    trades, candles, books = comparisons
    assert trades.compared > 1000
    assert candles.compared >= 3 * 121  # the warm-up, and those that closed
    assert books.compared >= 9
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


def test_a_daemon_and_a_backfill_have_half_of_the_venue_s_limit_each(daemon: Daemon, database_url: str) -> None:
    async def share() -> float:
        async with Callers(database_url, "binance", "backfill") as callers:
            return await callers.share()

    daemon.wait_until_live()
    daemon.wait_until(lambda: asyncio.run(share()) == 0.5)
    assert daemon.stop() == 0
    assert asyncio.run(share()) == 1.0


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


def test_aggregate_trades_are_another_id_space(venue: Simulator, tmp_path: Path, database_url: str) -> None:
    """As a setting they are collected, contiguous ids and all; over a stream of single trades they are refused."""
    for folder in ("aggregates", "singles"):
        (tmp_path / folder).mkdir()
    aggregates = Daemon(tmp_path / "aggregates", venue, database_url, venue_keys='trade_stream = "aggTrade"\n')
    try:
        aggregates.wait_until_live()
        venue.ledger.pause(paused=False)
        aggregates.wait_until(lambda: aggregates.count("SELECT count(*) FROM ingest.trades") > 500)
        assert aggregates.stop() == 0
    finally:
        aggregates.close()
    stored = aggregates.count("SELECT count(*) FROM ingest.trades")
    holes = "SELECT sum(last - first + 1 - n)::int FROM (SELECT min(trade_id::bigint) AS first, max(trade_id::bigint)"
    assert aggregates.count(f"{holes} AS last, count(*) AS n FROM ingest.trades GROUP BY instrument_id) AS runs") == 0
    singles = Daemon(tmp_path / "singles", venue, database_url)
    try:
        singles.wait_until(lambda: "stream.refused" in singles.log_file.read_text())
        singles.wait_until(lambda: singles.count("SELECT count(*) FROM ingest.streams WHERE state = 'live'") == 6)
        assert singles.stop() == 0
    finally:
        singles.close()
    assert singles.log_file.read_text().count("stream.refused") == 3
    assert singles.count("SELECT count(*) FROM ingest.trades") == stored
