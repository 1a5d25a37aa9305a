"""What a batch says of its streams, as parameters of the statements that write it: gaps, and how far each came."""

from collections.abc import Sequence
from typing import Any

from ingest.records import Gap, Mark
from ingest.store.rows import printable, timestamp


def encode_gaps(gaps: Sequence[Gap]) -> dict[str, list[Any]]:
    """For `merge_gaps`."""
    return {
        "instrument_ids": [gap.instrument_id for gap in gaps],
        "channels": [gap.channel for gap in gaps],
        "causes": [printable(gap.cause) for gap in gaps],
        "from_times": [_time(gap.from_ns) for gap in gaps],
        "to_times": [_time(gap.to_ns) for gap in gaps],
        "from_ids": [gap.from_id for gap in gaps],
        "to_ids": [gap.to_id for gap in gaps],
        "evidences": [printable(gap.evidence) for gap in gaps],
        "states": [gap.state for gap in gaps],
        "opened_ats": [timestamp(gap.opened_ns) for gap in gaps],
    }


def encode_marks(marks: Sequence[Mark]) -> dict[str, list[Any]]:
    """For `mark_streams`."""
    return {
        "instrument_ids": [mark.instrument_id for mark in marks],
        "channels": [mark.channel for mark in marks],
        "began_ats": [timestamp(mark.began_ns) for mark in marks],
        "watermark_ids": [mark.id for mark in marks],
        "proved_tos": [timestamp(mark.proved_ns) for mark in marks],
        "attested_tos": [timestamp(mark.attested_ns) for mark in marks],
    }


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else timestamp(time_ns)
