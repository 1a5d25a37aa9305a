"""`make chaos SEED=… MINUTES=…`: everything goes wrong, for a while, and at the end the tables must equal the ledger.

A durable server of its own behind a line that can be cut, the venue with random faults, and one daemon after another.
Seed and minutes make the schedule; what happened, what was compared and how memory grew is printed. Exit code 0 only
when all is equal outside of the gaps that are named.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ingest.embedded import Server, default_root, postmaster, prepare
from ingest.simulator.audit import Comparison, audit
from tests.conftest import TestServer
from tests.fault.line import Line
from tests.fault.stage import Stage
from tests.fault.venue import Venue

FAULTS_PER_MINUTE = 15.0
SAMPLE_SECONDS = 5.0
WARM_UP_SECONDS = 60.0
SETTLE_SECONDS = 240.0
MIB = 1024 * 1024


class Memory:
    """The daemon's resident memory over its life, which ends at each kill."""

    def __init__(self) -> None:
        self.lives: list[list[tuple[float, float]]] = [[]]

    def sample(self, pid: int) -> None:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            return
        self.lives[-1].append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / MIB))

    def begin(self) -> None:
        self.lives.append([])

    def slope(self) -> tuple[float | None, float]:
        """(MiB a minute by least squares over the longest life after its warm-up, None for short ones; the peak)."""
        peak = max((mib for life in self.lives for _, mib in life), default=0.0)
        longest = max(self.lives, key=lambda life: life[-1][0] - life[0][0] if life else 0.0)
        warm = [(at, mib) for at, mib in longest if at - longest[0][0] >= WARM_UP_SECONDS]
        if len(warm) < 12:
            return None, peak
        mean_at = sum(at for at, _ in warm) / len(warm)
        mean_mib = sum(mib for _, mib in warm) / len(warm)
        spread = sum((at - mean_at) ** 2 for at, _ in warm)
        return sum((at - mean_at) * (mib - mean_mib) for at, mib in warm) / spread * 60, peak


class Chaos:
    """What is done to the stage besides the venue's own faults, drawn from the seed."""

    def __init__(self, stage: Stage, line: Line, server: Server, seed: int, memory: Memory, console: Console) -> None:
        self._stage = stage
        self._line = line
        self._server = server
        self._random = random.Random(seed)  # noqa: S311 - a schedule, not a secret
        self._memory = memory
        self._console = console
        self._begun = time.monotonic()
        self.done: Counter[str] = Counter()

    def run(self, minutes: float) -> None:
        """Act about every ten seconds until the time is over."""
        acts: list[tuple[Callable[[], None], str, float]] = [
            (self._outage, "database away", 2),
            (self._cut, "line to the database cut", 6),
            (self._stall, "line to the database stalled", 3),
            (self._kill_daemon, "daemon killed", 4),
            (self._restart_daemon, "daemon stopped and started", 2),
            (self._kill_server, "database killed", 1),
            (self._burst, "burst of 40,000 trades", 1),
        ]
        weights = [weight for *_, weight in acts]
        end = self._begun + minutes * 60
        while time.monotonic() < end:
            self.rest(self._random.uniform(4, 12))
            act, name, _ = self._random.choices(acts, weights)[0]
            self.done[name] += 1
            self._say(name)
            act()
            self._stage.wait(lambda: True)

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stage.process is not None:
                self._memory.sample(self._stage.process.pid)
            time.sleep(min(left, SAMPLE_SECONDS))

    def _outage(self) -> None:
        self._line.refuse()
        self.rest(30 if self._random.random() < 0.5 else 8)
        self._line.accept()

    def _cut(self) -> None:
        self._line.cut_after(self._random.randrange(1_000, 300_000))

    def _stall(self) -> None:
        self._line.stall_after(self._random.randrange(1_000, 100_000))
        self.rest(self._random.uniform(2, 6))
        self._line.flow()

    def _kill_daemon(self) -> None:
        self._stage.kill()
        self.rest(self._random.uniform(0, 5))
        self._memory.begin()
        self._stage.start()

    def _restart_daemon(self) -> None:
        code = self._stage.stop(within=120)
        if code != 0:
            raise AssertionError(f"the daemon ended with {code}\n{self._stage.tail()}")
        self._memory.begin()
        self._stage.start()

    def _kill_server(self) -> None:
        pid = postmaster.pid_of(self._server.status().data_dir / "pgdata")
        if pid is not None:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in (pid, *map(int, children)):
                os.kill(each, signal.SIGKILL)
        self.rest(self._random.uniform(0, 5))
        self._server.up()

    def _burst(self) -> None:
        self._stage.venue.burst("BTCUSDT", 40_000)

    def _say(self, name: str) -> None:
        self._console.print(f"{time.monotonic() - self._begun:6.0f} s  {name}", highlight=False)


def run(seed: int, minutes: float, console: Console) -> bool:
    """True when the tables equal the ledger."""
    memory = Memory()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-chaos-"))
        server = stack.enter_context(Server.temporary(prepare(default_root(), console.print), durable=True))
        url = stack.enter_context(TestServer(server.dsn, server).migrated())
        line = stack.enter_context(Line.to(url))
        venue = Venue("--seed", str(seed), "--trades-per-second", "500")
        stack.callback(venue.close)
        stage = Stage(Path(folder), venue, line.url, direct_url=url, silence_seconds=20.0)
        stack.callback(stage.close)
        stage.start_live()
        stage.go()
        venue.chaos(seed, FAULTS_PER_MINUTE)
        chaos = Chaos(stage, line, server, seed, memory, console)
        chaos.run(minutes)
        console.print("calm: everything is to be stored, repaired or named")
        line.accept()
        line.flow()
        venue.calm()
        chaos.rest(5)
        stage.settle(SETTLE_SECONDS)
        code = stage.stop(within=120)
        if code != 0:
            raise AssertionError(f"the daemon ended with {code}\n{stage.tail()}")
        compared = audit(url, venue.ledger, since=venue.since, depth=20, outside_gaps=True)
        faults = chaos.done
        for incident in venue.incidents():
            faults[f"venue: {incident.kind}"] += incident.times
        _report(seed, minutes, faults, compared, stage, memory, console)
        return all(each.equal for each in compared)


def _report(
    seed: int,
    minutes: float,
    done: Counter[str],
    compared: list[Comparison],
    stage: Stage,
    memory: Memory,
    console: Console,
) -> None:
    console.print(f"\nseed {seed}, {minutes:g} minutes")
    faults = Table("fault", "times", box=None)
    for name, times in sorted(done.items()):
        faults.add_row(name, f"{times:,}")
    rows = Table("channel", "compared", "missing", "unexpected", "different", "named as missing", "", box=None)
    for each in compared:
        verdict = "[green]equal[/]" if each.equal else "[red]NOT EQUAL[/]"
        counts = (each.compared, each.missing, each.unexpected, each.different, each.named)
        rows.add_row(each.channel, *(f"{count:,}" for count in counts), verdict)
    gaps = Table("channel", "state", "cause", "gaps", box=None)
    for row in stage.gaps():
        gaps.add_row(*map(str, row))
    for table in (faults, rows, gaps):
        console.print(table, "")
    for each in compared:
        for example in each.examples:
            console.print(f"{each.channel}: {example}", style="red")
    slope, peak = memory.slope()
    grows = (
        "no life was long enough to say how it grows" if slope is None else f"{slope:+.2f} MiB a minute after warm-up"
    )
    console.print(f"memory of the daemon: {grows}, {peak:.0f} MiB at most")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    return 0 if run(options.seed, options.minutes, Console()) else 1


if __name__ == "__main__":
    sys.exit(main())
