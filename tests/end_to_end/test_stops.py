"""Stopping and starting again: within the deadline whatever the database does, and with every hole named."""

import time
from pathlib import Path

import pytest

from ingest.simulator.audit import audit
from ingest.store.database import connect_sync
from tests.end_to_end.processes import Daemon, Simulator, assert_equal


def test_sigterm_while_the_database_stalls_leaves_all_on_disk_and_the_next_start_delivers_it(
    venue: Simulator, tmp_path: Path, database_url: str
) -> None:
    small = "[pipeline]\nqueue_max_rows = 1500\nbatch_max_rows = 500\n[shutdown]\ndeadline_seconds = 2.0\n"
    daemon = Daemon(tmp_path, venue, database_url, small)
    try:
        daemon.wait_until_live()
        with connect_sync(database_url, role="test") as lock, lock.transaction():
            lock.execute("LOCK TABLE ingest.trades, ingest.order_books IN ACCESS EXCLUSIVE MODE")
            venue.ledger.pause(paused=False)
            daemon.wait_until(lambda: "spool.filling" in daemon.log_file.read_text())
            venue.ledger.pause(paused=True)
            started = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - started < 15
        assert "Traceback" not in daemon.log_file.read_text()
    finally:
        daemon.close()
    again = Daemon(tmp_path, venue, database_url, small)
    try:
        again.wait_until_committed(venue)
        assert again.stop() == 0
    finally:
        again.close()
    compared = audit(database_url, venue.ledger, since=venue.since, depth=20)
    assert [comparison.examples for comparison in compared] == [[], [], []]
    assert compared[0].equal


@pytest.mark.long
def test_a_database_that_turns_read_only_for_a_while_loses_nothing(venue: Simulator, daemon: Daemon) -> None:
    """What a fail-over looks like: the old primary refuses writes, connections break, then writes are taken again."""
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    time.sleep(1)
    name = daemon.database_url.rsplit("/", 1)[1].partition("?")[0]
    end_writers = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'ingest writer%'"
    )
    with connect_sync(daemon.database_url, role="test") as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        connection.execute(end_writers)
        daemon.wait_until(lambda: "database.retry" in daemon.log_file.read_text())
        time.sleep(1)
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        connection.execute(end_writers)
    time.sleep(1)
    venue.ledger.pause(paused=True)
    daemon.wait_until_committed(venue)
    assert daemon.stop() == 0
    assert_equal(audit(daemon.database_url, venue.ledger, since=venue.since, depth=20))


@pytest.mark.long
def test_what_passed_while_the_daemon_was_down_is_named_and_fetched(
    venue: Simulator, tmp_path: Path, database_url: str
) -> None:
    first = Daemon(tmp_path, venue, database_url)
    try:
        first.wait_until_live()
        venue.ledger.pause(paused=False)
        time.sleep(2)
        assert first.stop() == 0
    finally:
        first.close()
    time.sleep(2)  # trades go on
    second = Daemon(tmp_path, venue, database_url)
    try:
        second.wait_until_live()
        time.sleep(2)
        venue.ledger.pause(paused=True)
        second.wait_until_committed(venue)
        second.wait_until(
            lambda: second.count("SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')") == 0
        )
        assert second.stop() == 0
    finally:
        second.close()
    assert_equal(audit(database_url, venue.ledger, since=venue.since, depth=20))
    with connect_sync(database_url, role="test") as connection:
        gaps = connection.execute(
            "SELECT channel, cause, state, count(*), min(to_id - from_id) > 100 FROM ingest.gaps"
            " GROUP BY 1, 2, 3 ORDER BY 1"
        ).fetchall()
    assert gaps == [
        ("book", "not collected", "unrecoverable", 3, None),
        ("candles", "not collected", "repaired", 3, None),
        ("trades", "not collected", "repaired", 3, True),
    ]
