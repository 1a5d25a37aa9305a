"""Stopping and starting again: within the deadline whatever the database does, and with every hole named."""

import time
from pathlib import Path

from ingest.simulator.audit import audit
from ingest.store.database import connect_sync
from tests.end_to_end.processes import Daemon, Simulator, assert_equal


def test_sigterm_ends_within_the_deadline_when_the_database_stalls(
    venue: Simulator, tmp_path: Path, database_url: str
) -> None:
    daemon = Daemon(
        tmp_path,
        venue,
        database_url,
        "[pipeline]\nqueue_max_rows = 1500\nbatch_max_rows = 500\n[shutdown]\ndeadline_seconds = 2.0\n",
    )
    try:
        daemon.wait_until_live()
        with connect_sync(database_url, role="test") as lock, lock.transaction():
            lock.execute("LOCK TABLE ingest.trades, ingest.order_books IN ACCESS EXCLUSIVE MODE")
            venue.ledger.pause(paused=False)
            daemon.wait_until(lambda: "pipeline.full" in daemon.log_file.read_text())
            started = time.monotonic()
            assert daemon.stop() == 1  # rows were lost, and it says so
            assert time.monotonic() - started < 15
        log = daemon.log_file.read_text()
        assert "shutdown.deadline_passed" in log
        assert "Traceback" not in log
    finally:
        daemon.close()


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


def test_what_passed_while_the_daemon_was_down_is_a_gap(venue: Simulator, tmp_path: Path, database_url: str) -> None:
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
        second.wait_until(
            lambda: (
                second.count("SELECT count(*) FROM ingest.gaps WHERE channel = 'trades'") == 3
                and second.count("SELECT count(*) FROM ingest.gaps WHERE channel = 'book'") == 3
            )
        )
        venue.ledger.pause(paused=True)
        second.wait_until_committed(venue)
        assert second.stop() == 0
    finally:
        second.close()
    with connect_sync(database_url, role="test") as connection:
        gaps = connection.execute(
            "SELECT i.native_symbol, g.from_id, g.to_id FROM ingest.gaps g JOIN ingest.instruments i"
            " USING (instrument_id) WHERE g.channel = 'trades'"
        ).fetchall()
        stored = connection.execute(
            "SELECT i.native_symbol, t.trade_id::bigint FROM ingest.trades t JOIN ingest.instruments i"
            " USING (instrument_id)"
        ).fetchall()
    missing = {(symbol, number) for symbol, first_id, last_id in gaps for number in range(first_id, last_id + 1)}
    sent = {
        (now.symbol, number)
        for since, now in zip(venue.since.symbols, venue.ledger.summary().symbols, strict=True)
        for number in range(since.last_trade_id + 1, now.last_trade_id + 1)
    }
    assert len(missing) > 100
    assert sent - set(stored) == missing  # outside exactly the named intervals, everything is there
