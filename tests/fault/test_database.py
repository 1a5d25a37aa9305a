"""The database: away, killed in the middle of a COPY, behind a line that stalls, breaks and says nothing, and full."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ingest.embedded import postmaster
from ingest.simulator.faults import Drop
from tests.conftest import TestServer
from tests.fault.conftest import Set
from tests.fault.line import Line
from tests.fault.stage import PATIENCE_SECONDS, block


@pytest.mark.long
def test_a_database_that_is_away_from_the_first_trade_on_and_again_later(
    stage: Set, line: Line, database_url: str
) -> None:
    it = stage(line.url, direct_url=database_url)
    it.start_live()
    line.refuse()
    it.venue.go()
    it.wait(lambda: it.spooled() > 10)
    assert it.count("SELECT count(*) FROM ingest.trades") == 0
    line.accept()
    it.wait(lambda: it.spooled() == 0)
    line.refuse()
    it.wait(lambda: it.spooled() > 10)
    line.accept()
    trades, candles, _ = it.finish()
    assert trades.compared > 500
    assert (trades.named, candles.named) == (0, 0)
    assert [row for row in it.gaps() if row[0] == "trades"] == [], "what is on disk is not missing"


@pytest.mark.long
def test_a_line_that_stalls_breaks_and_says_nothing(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url, collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    for after in (30_000, 60_000, 90_000):  # in the middle of some statement
        line.cut_after(after)
        time.sleep(0.7)
    line.stall_after(20_000)
    it.wait(lambda: line.stalled)
    time.sleep(1)
    line.flow()
    line.stall_after(20_000)
    it.wait(lambda: line.stalled)
    line.cut()  # what was held is lost
    line.flow()
    for _ in range(3):
        line.mute()
        time.sleep(0.7)  # something was committed, and nobody was told
        line.cut()
        line.answer()
        time.sleep(0.3)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert [row for row in it.gaps() if row[0] == "trades"] == []


def kill_all(data: Path) -> None:
    """SIGKILL to the server and to every process of it."""
    pid = postmaster.pid_of(data)
    assert pid is not None
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        os.kill(each, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while postmaster.pid_of(data) is not None:  # until then it looks like a server that is up
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_is_killed_in_the_middle_of_a_copy(stage: Set, durable_server: TestServer) -> None:
    server = durable_server.embedded
    assert server is not None
    data = server.status().data_dir / "pgdata"
    with durable_server.migrated() as url, Line.to(url) as line:
        it = stage(line.url, direct_url=url)
        it.start_live()
        it.go()
        it.wait(lambda: it.count("SELECT count(*) FROM ingest.trades") > 300)
        it.venue.burst("BTC/USDT", 8_000)
        line.stall_after(300_000)
        it.wait(lambda: line.stalled)
        copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%%' AND state = 'active'"
        it.wait(lambda: it.count(copying) > 0)
        kill_all(data)
        line.cut()
        line.flow()
        it.wait(lambda: it.spooled() > 0)
        assert server.up() == durable_server.url
        it.wait(lambda: it.spooled() == 0)
        kill_all(data)  # and once more, wherever it is
        assert server.up() == durable_server.url
        trades, candles, _ = it.finish()
        assert trades.compared > 8_000
        assert (trades.named, candles.named) == (0, 0)


@pytest.mark.parametrize("venue", [("--burst", "1")], indirect=True)
def test_a_full_spool_makes_intake_wait_and_the_gap_is_fetched_later(stage: Set, line: Line, database_url: str) -> None:
    """At its bound the daemon reads no more, and the venue cuts it off."""
    small = "[pipeline]\nqueue_max_rows = 2000\nbatch_max_rows = 500\n"
    collect = block(["BTC/USDT"])
    it = stage(line.url, direct_url=database_url, collect=collect, spool_max_bytes=1_000_000, extra=small)
    it.start_live(3)
    it.go()
    line.refuse()
    for _ in range(4):
        it.venue.burst("BTC/USDT", 20_000)
        time.sleep(0.2)
    it.wait(lambda: it.events("spool.refuses") > 0)
    it.wait(lambda: it.events("pipeline.full") > 0)
    it.venue.fault(Drop("abort", stream="trade"))
    it.wait(lambda: it.venue.incidents("drop") != [])
    line.accept()
    trades, candles, _ = it.finish()
    assert trades.compared > 80_000
    assert (trades.named, candles.named) == (0, 0)
    causes = {cause for channel, _, cause, _ in it.gaps() if channel in ("trades", "book")}
    assert "no room for more" in causes


SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=18m none "$0" && exec "$@"')
"""A disk of the daemon's own: 16 MB stay free, so that what waits can be delivered and forgotten."""


@pytest.mark.parametrize("venue", [("--burst", "1")], indirect=True)
@pytest.mark.long
def test_a_disk_that_is_full_makes_intake_wait_too(stage: Set, line: Line, database_url: str, tmp_path: Path) -> None:
    if subprocess.run([*SMALL_DISK, str(tmp_path), "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk of his own")
    small = "[pipeline]\nqueue_max_rows = 2000\nbatch_max_rows = 500\n"
    collect = block(["BTC/USDT"])
    it = stage(line.url, direct_url=database_url, collect=collect, within=[*SMALL_DISK, "{spool}"], extra=small)
    it.spool.mkdir(mode=0o700)
    it.start_live(3)
    it.go()
    line.refuse()
    for _ in range(5):
        it.venue.burst("BTC/USDT", 20_000)
        time.sleep(0.2)
    it.wait(lambda: any("is full but for" in said["error"] for said in it.said("spool.refuses")))
    it.wait(lambda: it.events("pipeline.full") > 0)
    it.venue.fault(Drop("abort", stream="trade"))
    it.wait(lambda: it.venue.incidents("drop") != [])
    line.accept()
    it.wait(lambda: it.events("spool.drained") > 0)
    trades, candles, _ = it.finish()
    assert trades.compared > 100_000
    assert (trades.named, candles.named) == (0, 0)
    assert list(it.spool.iterdir()) == [], "it was all on the small disk"
