"""`make chaos SEED=… MINUTES=…`: everything goes wrong, for a while, and at the end the tables must equal the ledger.

A durable server of its own behind a line that can be cut, the venue with random faults, and one daemon after another.
The seed makes the schedule; what happened, what was compared and how memory grew is printed. Exit code 0 only when all
is equal outside of the gaps that are named, and nothing is named that is not missing.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ingest.embedded import Server, default_root, postmaster, prepare
from ingest.simulator.audit import Comparison, audit
from ingest.simulator.faults import Drop
from tests.conftest import TestServer
from tests.fault.line import Line
from tests.fault.memory import Memory
from tests.fault.stage import Stage
from tests.fault.timeline import Entry, plan
from tests.fault.venue import Venue

FAULTS_PER_MINUTE = 20.0
QUIET_SECONDS = 600.0
SPOOL_BYTES = 3_000_000
BURSTS, BURST_TRADES = 6, 30_000
DATABASE_AWAY = 3  # what `ingest run` ends with when it cannot start for want of it
CONFIG = "[pipeline]\nqueue_max_rows = 20000\nbatch_max_rows = 2000\n"


class Chaos:
    """Carries out the plan, and keeps the daemon running meanwhile."""

    def __init__(self, stage: Stage, line: Line, server: Server, seed: int, console: Console) -> None:
        self._stage = stage
        self._line = line
        self._server = server
        self._seed = seed
        self._console = console
        self._begun = time.monotonic()
        self._wanted = True  # that the daemon runs
        self._again_at = 0.0
        self.memory = Memory()
        self.done: Counter[str] = Counter()

    def run(self, minutes: float) -> None:
        for entry in plan(self._seed, minutes):
            self.rest(self._begun + entry.at_seconds - time.monotonic())
            self._console.print(f"{entry.at_seconds:6.1f} s  {entry.act}", highlight=False)
            self.done[entry.act] += 1
            self._act(entry)
        self.rest(self._begun + minutes * 60 - time.monotonic())

    def calm(self) -> None:
        """Give everything back, and wait until nothing is on disk or to be repaired any more; the market goes on."""
        stage = self._stage
        self._wanted = True
        self._server.up()
        self._line.accept()
        self._line.flow()
        self._line.answer()
        stage.venue.calm()
        self._console.print("calm: everything is to be stored, repaired or named")
        waiting = "SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')"
        end = time.monotonic() + QUIET_SECONDS
        while True:
            self.rest(2)
            if stage.process is not None and not stage.spooled() and not stage.count(waiting):
                return
            if time.monotonic() > end:
                raise AssertionError(f"it does not come to rest: {stage.spooled()} batches on disk, {stage.gaps()}")

    def stop(self, *, begun: bool = True) -> None:
        """SIGTERM. One that has not `begun` may not yet know what to do at it, and holds nothing."""
        code = self._stage.stop(120)
        if code != 0 and (begun or code != -signal.SIGTERM):
            raise AssertionError(f"the daemon ended with {code}\n{self._stage.tail()}")

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._tend()
            time.sleep(min(left, 0.2))

    def _tend(self) -> None:
        """Start the daemon where it should run, and look at its memory."""
        stage = self._stage
        if stage.process is not None and (code := stage.process.poll()) is not None:
            stage.process = None
            if code != DATABASE_AWAY:
                raise AssertionError(f"the daemon ended with {code}\n{stage.tail()}")
            self._again_at = time.monotonic() + 1
        if stage.process is None and self._wanted and time.monotonic() >= self._again_at:
            stage.start()
        if stage.process is not None:
            self.memory.look(stage.process.pid, time.monotonic())

    def _act(self, entry: Entry) -> None:
        stage, line, rng = self._stage, self._line, random.Random(f"{self._seed}:{entry.number}")  # noqa: S311
        match entry.act:
            case "kill the daemon":
                self._wanted = False
                if stage.process is not None and stage.process.poll() is None:
                    stage.kill()
            case "stop the daemon":
                self._wanted = False
                if stage.process is not None and stage.process.poll() is None:
                    self.stop(begun=False)
            case "start the daemon":
                self._wanted = True
            case "database away":
                line.refuse()
            case "database back":
                line.accept()
            case "kill the database":
                kill_all(self._server)
            case "start the database":
                self._server.up()
            case "cut the line to the database":
                line.cut_after(rng.randrange(1_000, 300_000))
            case "stall the line to the database":
                line.stall_after(rng.randrange(1_000, 100_000))
            case "mute the database":
                line.mute()
            case "let the line flow":
                line.flow()
                line.answer()
            case "cut the venue's line":
                how = rng.choice(("close", "abort", "mid_frame", "half_open"))
                stage.venue.fault(Drop(how, seconds=10.0))  # type: ignore[arg-type]  # one of its literals
            case "fill the spool":
                for _ in range(BURSTS):
                    stage.venue.burst("BTC/USDT", BURST_TRADES)
                    self.rest(0.3)


def kill_all(server: Server) -> None:
    """SIGKILL to the server and to every process of it."""
    pid = postmaster.pid_of(server.status().data_dir / "pgdata")
    if pid is None:
        return
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        os.kill(each, signal.SIGKILL)


def run(seed: int, minutes: float, console: Console) -> bool:
    """True when the tables equal the ledger."""
    with (
        tempfile.TemporaryDirectory(prefix="ingest-chaos-") as folder,
        Server.temporary(prepare(default_root(), console.print), durable=True) as server,
        TestServer(server.dsn, server).migrated() as url,
        Line.to(url) as line,
    ):
        venue = Venue("--seed", str(seed), "--trades-per-second", "500")
        stage = Stage(
            Path(folder),
            venue,
            line.url,
            direct_url=url,
            ping_seconds=5.0,
            silence_seconds=10.0,
            spool_max_bytes=SPOOL_BYTES,
            extra=CONFIG,
        )
        try:
            stage.start_live()
            stage.go()
            venue.chaos(seed, FAULTS_PER_MINUTE)
            chaos = Chaos(stage, line, server, seed, console)
            chaos.run(minutes)
            chaos.calm()
            stage.settle(QUIET_SECONDS)
            chaos.stop()
            compared = audit(url, venue.ledger, since=venue.since, depth=20, outside_gaps=True)
            for incident in venue.incidents():
                chaos.done[f"venue: {incident.kind}"] += incident.times
            _report(seed, minutes, chaos, compared, stage, console)
            equal = all(each.equal for each in compared)
        except BaseException:
            _keep(stage, seed, console)
            raise
        finally:
            stage.close()
            venue.close()
        if not equal:
            _keep(stage, seed, console)
        return equal


def _report(
    seed: int, minutes: float, chaos: Chaos, compared: list[Comparison], stage: Stage, console: Console
) -> None:
    console.print(f"\nseed {seed}, {minutes:g} minutes")
    faults = Table("fault", "times", box=None)
    for name, times in sorted(chaos.done.items()):
        faults.add_row(name, f"{times:,}")
    rows = Table(
        "channel", "compared", "missing", "unexpected", "different", "over-named", "unsettled", "named", "", box=None
    )
    for each in compared:
        verdict = "[green]equal[/]" if each.equal else "[red]NOT EQUAL[/]"
        wrong = (each.missing, each.unexpected, each.different, each.overnamed, each.unsettled)
        rows.add_row(each.channel, *(f"{count:,}" for count in (each.compared, *wrong, each.named)), verdict)
    gaps = Table("channel", "state", "cause", "gaps", box=None)
    for row in stage.gaps():
        gaps.add_row(*map(str, row))
    for table in (faults, rows, gaps):
        console.print(table, "")
    for each in compared:
        for example in each.examples:
            console.print(f"{each.channel}: {example}", style="red", highlight=False)
    console.print(f"differences: {sum(each.differences for each in compared):,}")
    for line in chaos.memory.told():
        console.print(line, highlight=False)


def _keep(stage: Stage, seed: int, console: Console) -> None:
    kept = Path(tempfile.gettempdir()) / f"ingest-chaos-{seed}.log"
    shutil.copyfile(stage.log_file, kept)
    console.print(f"the daemon's log is kept: {kept}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    return 0 if run(options.seed, options.minutes, Console()) else 1


if __name__ == "__main__":
    sys.exit(main())
