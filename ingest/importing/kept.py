"""What of a file is kept: rows that are past their table's retention are passed over, and said so. Pure."""

from datetime import UTC, datetime

from ingest.clock import MICROSECOND, MINUTE, SECOND
from ingest.importing.job import Job
from ingest.importing.layout import Layout
from ingest.importing.ledger import Kept, Progress, span_of
from ingest.store.policies import shown
from ingest.store.rows import TABLES


def edge(layout: Layout, kept: Kept) -> str:
    """The figure that stands in the way, and what to do."""
    return (
        f"nothing before {datetime.fromtimestamp(kept.from_ns // SECOND, UTC):%Y-%m-%d %H:%M} is stored (retention."
        f"{TABLES[layout.kind].name} = {shown(kept.figure)}). Raise it, run `ingest migrate`, and import it again."
    )


def too_old(layout: Layout, rows: int, kept: Kept | None) -> str | None:
    """What is said of so many rows that were passed over; None where there are none, or they would be no more."""
    if not rows or kept is None:
        return None
    return f"{rows:,} row{'s are' if rows > 1 else ' is'} too old: {edge(layout, kept)}"


def fetched(job: Job, begun: Progress, kept: Kept | None) -> tuple[int, int] | None:
    """What counts as fetched, both ends inclusive, and nothing that is past its retention.

    The day or month of the file's name, where it is over and holds the rows; else their times. Where a line is bad
    before the first row or behind the last one, that row is the end: nothing else tells what the file lacks there.
    """
    own = None if begun.first_ns is None or begun.last_ns is None else (begun.first_ns, begun.last_ns)
    period = job.named.period
    if period is None:
        return own
    first_ns, last_ns = span_of(job.layout.channel, period.starts, period.ends)
    if kept is not None and first_ns < kept.from_ns:
        grain_ns = MINUTE if job.layout.channel == "candles" else MICROSECOND
        first_ns = -(-kept.from_ns // grain_ns) * grain_ns
    is_over = last_ns < begun.started_ns
    if own is None:
        return (first_ns, last_ns) if is_over else None
    if not (is_over and first_ns <= own[0] and own[1] <= last_ns):
        return own
    return own[0] if begun.begins_bad else first_ns, own[1] if begun.ends_bad else last_ns


def day(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // SECOND, UTC):%Y-%m-%d}"
