"""What is told with a block of a file: its bad lines, what it lacks, and up to where the file is committed. Pure."""

from collections.abc import Callable

from msgspec import structs

from ingest.clock import MICROSECOND, MINUTE
from ingest.importing.job import Job
from ingest.importing.ledger import Progress
from ingest.importing.reader import Read
from ingest.importing.run import Hole, Run
from ingest.records import Gap, GapState, Instrument, Reject
from ingest.store.block_writer import Told

_HOLES_TOLD = 1_000
"""More in one block become one gap."""


class Watermark:
    """Up to where the lines of a file are committed without a break, while blocks are written side by side. Pure."""

    def __init__(self, lines: int, place: int | None) -> None:
        self.at = (lines, place)
        """The last line, and the place of the last row, that are committed."""
        self._open: dict[int, int | None] = {}
        self._done: set[int] = set()

    def begin(self, until: int, place: int | None) -> None:
        """A block follows the one that was begun before it; its last line, and the place of its last row."""
        self._open[until] = place

    def committed(self, until: int) -> None:
        self._done.add(until)
        self.at = self._reached(self._done)
        for line in [line for line in self._open if line <= self.at[0]]:
            del self._open[line]
            self._done.discard(line)

    def after(self, until: int) -> tuple[int, int | None]:
        """The same as it is when this block is committed, too."""
        return self._reached(self._done | {until})

    def _reached(self, done: set[int]) -> tuple[int, int | None]:
        line, place = self.at
        for until, last in self._open.items():
            if until not in done:
                break
            line, place = until, place if last is None else last
        return line, place


def telling(
    job: Job, instrument: Instrument, begun: Progress, read: Read, before: Run | None, mark: Watermark
) -> Callable[[], Told]:
    """What is told with a block, as it is when the block is written."""
    refuse = refusing(job, instrument, begun.started_ns, read)
    rejects = [refuse(None, bad.reason, bad.number) for bad in read.bad]
    missing = gaps(job, begun, read, before)
    return lambda: Told(begun.import_id, *mark.after(read.until), rejects, missing, read.old)


def refusing(job: Job, instrument: Instrument, at_ns: int, read: Read) -> Callable[..., Reject]:
    """Rejects are named by file and line."""

    def refuse(row: int | None, reason: str, number: int | None = None) -> Reject:
        line = number if number is not None else read.numbers[row or 0]
        stream = f"{instrument.symbol} {job.layout.channel} {job.path.name}:{line}"
        return Reject(instrument.exchange, stream, reason, read.payload(line), at_ns)

    return refuse


def gaps(job: Job, begun: Progress, read: Read, before: Run | None) -> list[Gap]:
    """What the block lacks: by ids or minutes where they follow each other, else its whole time if a line is bad."""
    layout, block, run = job.layout, read.block, read.run
    state: GapState = "open" if layout.channel in ("trades", "candles") else "unrecoverable"
    ids = block.instrument_id, layout.channel

    def whole(cause: str, evidence: str) -> list[Gap]:
        ends = block.first_ns, block.last_ns
        return [Gap(*ids, cause, *ends, evidence=evidence, state=state, opened_ns=begun.started_ns)]

    if run is None:
        if not read.bad or not block.rows:
            return []
        return whole("row rejected", f"{job.path.name}:{read.bad[0].number}: {read.bad[0].reason}")
    joined = before.then(run) if before is not None and before.last < run.first else run
    if len(joined.holes) > _HOLES_TOLD:
        return whole("hole in file", f"{job.path.name}: {len(joined.holes):,} holes")
    return [_gap(job, begun, block.instrument_id, hole, state) for hole in joined.holes]


def _gap(job: Job, begun: Progress, instrument_id: int, hole: Hole, state: GapState) -> Gap:
    channel = job.layout.channel
    gap = Gap(instrument_id, channel, "hole in file", evidence=job.path.name, state=state, opened_ns=begun.started_ns)
    if channel == "candles":
        return structs.replace(gap, from_ns=hole.first * MINUTE, to_ns=hole.last * MINUTE)
    times = {"from_ns": hole.from_us * MICROSECOND, "to_ns": hole.to_us * MICROSECOND}
    return structs.replace(gap, from_id=hole.first, to_id=hole.last, **times)
