"""What an operator sees of a running daemon: metrics, readiness, shards side by side."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest import maintain
from ingest.simulator.audit import audit
from tests.end_to_end.processes import SYMBOLS, Daemon, Simulator, assert_equal


def port_of(daemon: Daemon) -> int:
    """Where it listens, by its log."""
    daemon.wait_until(lambda: "http.listening" in daemon.log_file.read_text())
    lines = [line for line in daemon.log_file.read_text().splitlines() if '"http.listening"' in line]
    return int(json.loads(lines[-1])["url"].rpartition(":")[2])


def get(daemon: Daemon, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port_of(daemon)}{path}") as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def samples(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """By name and labels' values, in the order of the labels' names."""
    status, body = get(daemon, "/metrics")
    assert status == 200
    return {
        (sample.name, *(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def health(folder: Path, *, port: int) -> tuple[int, str]:
    """`ingest health` as a container runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
    result = subprocess.run(
        [sys.executable, "-m", "ingest", "health", "--config", str(folder / "ingest.toml")],
        env=environment | {"INGEST_HTTP__PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stderr


def test_metrics_and_readiness_of_a_run(venue: Simulator, daemon: Daemon, tmp_path: Path) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.trades") > 500)
    venue.ledger.pause(paused=True)
    daemon.wait_until_committed(venue)
    daemon.wait_until(lambda: get(daemon, "/ready")[0] == 200)
    answer: dict[str, Any] = json.loads(get(daemon, "/ready")[1])
    assert {name: part["ok"] for name, part in answer["parts"].items()} == {
        "configuration": True,
        "schema": True,
        "database": True,
        "streams": True,
    }
    assert health(tmp_path, port=port_of(daemon)) == (0, "")
    found = samples(daemon)
    assert found["ingest_rows_total", "trades", "binance", "stored", "live"] == daemon.count(
        "SELECT count(*) FROM ingest.trades"
    )
    assert found["ingest_streams", "binance", "live"] == 9
    assert (
        found["ingest_records_total", "trades", "binance"]
        >= found["ingest_rows_total", "trades", "binance", "stored", "live"]
    )
    assert found["ingest_receipt_lag_seconds_count", "trades", "binance"] > 0
    assert found["ingest_rest_calls_total", "binance"] > 0
    assert found["ingest_database_up",] == 1
    assert found["ingest_table_bytes", "instruments"] > 0
    daemon.wait_until(lambda: samples(daemon)["ingest_queue_rows",] == 0)  # books are sampled all the while
    assert found["process_resident_memory_bytes",] > 10_000_000
    assert not [name for name in found if any(symbol in label for label in name for symbol in SYMBOLS)]
    port = port_of(daemon)
    config = tmp_path / "ingest.toml"
    text = config.read_text()
    config.write_text(text + "nonsense = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_until(lambda: get(daemon, "/ready")[0] == 503)
    config.write_text(text.replace("]\n", ']\nchannels = ["trades", "candles", "book", "quotes"]\n', 1))
    assert ("ingest_gaps_opened_total", "quotes", "binance") not in samples(daemon)
    code, reason = health(tmp_path, port=port)
    assert (code, "configuration: the new one was refused" in reason, "nonsense" in reason) == (1, True, True)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_until(lambda: get(daemon, "/ready")[0] == 200)
    # What the reload adds is counted from 0 at once, before anything of it was lost or rejected.
    assert samples(daemon)["ingest_gaps_opened_total", "quotes", "binance"] == 0
    assert daemon.stop() == 0
    code, reason = health(tmp_path, port=port)
    assert (code, "Is the daemon running?" in reason) == (3, True)


def test_a_port_that_is_taken_ends_the_start_with_the_remedy(
    venue: Simulator, tmp_path: Path, database_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, venue, database_url, f"[http]\nport = {port}\n", http="")
        assert daemon.process.wait(60) == 2
    said = daemon.log_file.read_text().splitlines()[-1]
    assert f"http.port: cannot listen at 127.0.0.1:{port}: " in said
    assert "Set http.port or http.bind, or http.enabled = false" in said


def test_a_stream_that_is_away_makes_it_unready(venue: Simulator, daemon: Daemon, tmp_path: Path) -> None:
    daemon.wait_until_live()
    daemon.wait_until(lambda: get(daemon, "/ready")[0] == 200)
    venue.close()
    daemon.wait_until(lambda: get(daemon, "/ready")[0] == 503)
    code, reason = health(tmp_path, port=port_of(daemon))
    assert (code, "streams: " in reason) == (1, True)
    assert get(daemon, "/live")[0] == 200
    assert samples(daemon)["ingest_reconnects_total", "binance"] >= 1


def test_shards_take_each_symbol_once_and_together_all(venue: Simulator, tmp_path: Path, database_url: str) -> None:
    daemons: list[Daemon] = []
    try:
        for number in (1, 2, 3):
            (tmp_path / str(number)).mkdir()
            shard = f"[shard]\nnumber = {number}\nof = 3\n"
            daemons.append(Daemon(tmp_path / str(number), venue, database_url, shard))
        daemons[0].wait_until_live()
        venue.ledger.pause(paused=False)
        daemons[0].wait_until(lambda: daemons[0].count("SELECT count(*) FROM ingest.trades") > 500)
        venue.ledger.pause(paused=True)
        daemons[0].wait_until_committed(venue)
        live = [samples(daemon).get(("ingest_streams", "binance", "live"), 0) for daemon in daemons]
        duplicates = [
            samples(daemon).get(("ingest_rows_total", "trades", "binance", "duplicate", "live"), 0)
            for daemon in daemons
        ]
        assert [daemon.stop() for daemon in daemons] == [0, 0, 0]
    finally:
        for daemon in daemons:
            daemon.close()
    assert (live, duplicates) == ([3, 3, 3], [0, 0, 0])  # a symbol each, with its channels
    assert_equal(audit(database_url, venue.ledger, since=venue.since, depth=20))


@pytest.mark.long
def test_of_two_daemons_one_at_a_time_maintains(venue: Simulator, tmp_path: Path, database_url: str) -> None:
    runs = "SELECT coalesce(sum(total_runs), 0) FROM ingest.maintenance_runs"
    daemons: list[Daemon] = []
    with psycopg.connect(database_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [maintain.LOCK])
        try:
            for name in ("first", "second"):
                (tmp_path / name).mkdir()
                daemons.append(Daemon(tmp_path / name, venue, database_url))
            for daemon in daemons:
                daemon.wait_until(lambda daemon=daemon: "streams.live" in daemon.log_file.read_text())  # type: ignore[misc]
            assert daemons[0].count(runs) == 0  # another one is at it
            holder.execute("SELECT pg_advisory_unlock(%s)", [maintain.LOCK])
            daemons[0].wait_until(lambda: daemons[0].count(runs) > 1)
            assert [daemon.stop() for daemon in daemons] == [0, 0]
        finally:
            for daemon in daemons:
                daemon.close()
    assert daemons[0].count("SELECT count(*) FROM ingest.maintenance_runs WHERE last_error IS NOT NULL") == 0
    assert not [daemon for daemon in daemons if "maintenance." in daemon.log_file.read_text()]
