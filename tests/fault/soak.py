"""`make soak MINUTES=…`: 2,000 trades a second with faults, one daemon, a line each minute; at the end all is equal.

The venue's own random faults, cuts of its line, a database that is away or behind a line that breaks: whatever a week
brings, but the daemon is never killed, so that its memory can be watched. What is printed of it is what its `/metrics`
say. Exit code 0 only when the tables equal the ledger and memory grows by less than 1 MiB a minute.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from ingest.embedded import Server, default_root, prepare
from ingest.embedded.cluster import free_port
from ingest.simulator.audit import audit
from ingest.simulator.faults import Drop
from tests.bench import report
from tests.conftest import TestServer
from tests.fault.line import Line
from tests.fault.memory import MIB, Memory
from tests.fault.stage import Stage
from tests.fault.venue import Venue

TRADES_PER_SECOND = 2_000
FAULTS_PER_MINUTE = 4.0
OUTAGE_SECONDS = 10.0
SLOPE_MIB = 1.0
QUIET_SECONDS = 600.0
SEED = 8

_BEGIN, _END = "<!-- soak:begin -->", "<!-- soak:end -->"
_HEAD = (
    "| minute | what was done | memory | trades stored | a second | to commit, median | 99 of 100 | in the spool"
    " | gaps to repair |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|"
)


class Scrape(Struct, frozen=True):
    """What `/metrics` say at a moment. `lags` counts trades by the upper bound of their lag in seconds, cumulated."""

    memory_mib: float
    spooled: float
    gaps: float
    lags: tuple[tuple[float, float], ...]


def scrape(text: str) -> Scrape:
    """Read the exposition format."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    lags: dict[float, float] = {}
    for sample in samples:
        if sample.name == "ingest_commit_lag_seconds_bucket" and sample.labels["channel"] == "trades":
            bound = float(sample.labels["le"])
            lags[bound] = lags.get(bound, 0.0) + sample.value
    return Scrape(
        total("process_resident_memory_bytes") / MIB,
        total("ingest_spool_rows"),
        total("ingest_gaps", state="open") + total("ingest_gaps", state="repairing"),
        tuple(sorted(lags.items())),
    )


def quantile(share: float, before: Scrape, after: Scrape) -> float:
    """The lag in seconds below which that share of what came between lies, as Prometheus reckons it; 0 without any."""
    known = dict(before.lags)
    counts = [(bound, count - known.get(bound, 0.0)) for bound, count in after.lags]
    if not counts or not counts[-1][1]:
        return 0.0
    rank, lower, below = share * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= rank:
            inside = count - below
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / inside
        lower, below = bound, count
    return lower


def row(minute: int, acts: Iterable[str], before: Scrape, after: Scrape, stored: int, a_second: float) -> str:
    """A line of the table. `stored` counts trades, repaired ones too; lags are of those that were streamed."""
    cells = (
        f"{minute}",
        ", ".join(acts),
        f"{after.memory_mib:.0f} MiB",
        f"{stored:,}",
        f"{a_second:,.0f}",
        f"{quantile(0.5, before, after) * 1e3:,.0f} ms",
        f"{quantile(0.99, before, after) * 1e3:,.0f} ms",
        f"{after.spooled:,.0f}",
        f"{after.gaps:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


class Soak:
    """The minutes, and what is done in each."""

    def __init__(self, stage: Stage, line: Line, url: str, console: Console) -> None:
        self._stage = stage
        self._line = line
        self._url = url
        self._console = console
        self._chance = random.Random(SEED)  # noqa: S311 - a schedule, not a secret
        self.memory = Memory()
        self.rows: list[str] = []

    def run(self, minutes: int) -> None:
        self._console.print(_HEAD, highlight=False)
        before, stored, at = self._scrape(), self._stored(), time.monotonic()
        for minute in range(1, minutes + 1):
            end = time.monotonic() + 60
            acts = self._act(minute)
            self.rest(end - time.monotonic())
            after, now_stored, now = self._scrape(), self._stored(), time.monotonic()
            self.rows.append(row(minute, acts, before, after, now_stored, (now_stored - stored) / (now - at)))
            self._console.print(self.rows[-1], highlight=False)
            before, stored, at = after, now_stored, now

    def calm(self) -> None:
        """No fault any more; until nothing waits on disk or is to be repaired. The market goes on."""
        self._line.accept()
        self._stage.venue.calm()
        end = time.monotonic() + QUIET_SECONDS
        waiting = "SELECT count(*) FROM ingest.gaps WHERE state IN ('open', 'repairing')"
        while self._stage.spooled() or self._stage.count(waiting):
            assert time.monotonic() < end, f"it does not come to rest: {self._stage.gaps()}"
            self.rest(2)

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        process = self._stage.process
        assert process is not None
        while (left := end - time.monotonic()) > 0:
            assert process.poll() is None, self._stage.tail()
            self.memory.look(process.pid, time.monotonic())
            time.sleep(min(left, 0.5))

    def _act(self, minute: int) -> Sequence[str]:
        """Something each minute; every fifth one the database is away."""
        self.rest(self._chance.uniform(5, 25))
        how = self._chance.choice(("close", "abort", "mid_frame", "half_open"))
        self._stage.venue.fault(Drop(how, seconds=10.0))  # type: ignore[arg-type]  # one of its literals
        acts = [f"venue's line: {how.replace('_', ' ')}"]
        if minute % 5 == 0:
            self._line.refuse()
            self.rest(OUTAGE_SECONDS)
            self._line.accept()
            acts.append(f"database away for {OUTAGE_SECONDS:.0f} s")
        elif minute % 5 == 3:
            self._line.cut_after(self._chance.randrange(1_000, 300_000))
            acts.append("line to the database cut")
        return acts

    def _stored(self) -> int:
        """Trades, by whatever way they came."""
        return self._stage.count("SELECT sum(rows_stored) FROM ingest.streams WHERE channel = 'trades'")

    def _scrape(self) -> Scrape:
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as reply:  # noqa: S310 - our own url
            return scrape(reply.read().decode())


def run(minutes: int, console: Console, *, keep: bool) -> bool:
    """True when all is as it should be; the table goes to docs/benchmarks.md where it is to be kept."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="ingest-soak-") as folder,
        Server.temporary(prepare(default_root(), console.print)) as server,
        TestServer(server.dsn, server).migrated() as url,
        Line.to(url) as line,
    ):
        venue = Venue("--seed", str(SEED), "--trades-per-second", str(TRADES_PER_SECOND))
        stage = Stage(
            Path(folder), venue, line.url, direct_url=url, ping_seconds=5.0, silence_seconds=10.0, http=f"port = {port}"
        )
        try:
            stage.start_live()
            stage.go()
            venue.chaos(SEED, FAULTS_PER_MINUTE)
            soak = Soak(stage, line, f"http://127.0.0.1:{port}", console)
            soak.run(minutes)
            soak.calm()
            stage.settle(QUIET_SECONDS)
            assert stage.stop(120) == 0, stage.tail()
            compared = audit(url, venue.ledger, since=venue.since, depth=20, outside_gaps=True)
            incidents = sum(incident.times for incident in venue.incidents())
        except BaseException:
            kept = Path(tempfile.gettempdir()) / "ingest-soak.log"
            shutil.copyfile(stage.log_file, kept)
            console.print(f"the daemon's log is kept: {kept}")
            raise
        finally:
            stage.close()
            venue.close()
    verdicts = [
        f"{each.channel}: {each.compared:,} compared, {each.named:,} named as missing, "
        + ("equal" if each.equal else f"NOT EQUAL: {each.examples}")
        for each in compared
    ]
    told = [f"{incidents:,} faults of the venue", *verdicts, *soak.memory.told()]
    for text in told:
        console.print(text, highlight=False)
    slopes = soak.memory.slopes()
    if not slopes:
        console.print("too short to judge the memory by")
    well = all(each.equal and each.compared for each in compared) and all(slope < SLOPE_MIB for slope in slopes)
    if keep and well and slopes:
        report.write_between(_BEGIN, _END, [*_HEAD.splitlines(), *soak.rows, "", *(f"- {text}" for text in told)])
    return well


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--keep", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    return 0 if run(options.minutes, Console(width=200), keep=options.keep) else 1


if __name__ == "__main__":
    sys.exit(main())
