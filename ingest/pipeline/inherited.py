"""How far each stream will be once the batches that an earlier process left on disk are delivered. Pure.

The database does not know of them yet. A daemon that went on from what the database says would call missing what it
has itself, and would go on with a gap that was closed long ago, whose new end the database then refuses.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from ingest.clock import MICROSECOND
from ingest.pipeline.parcel import Head
from ingest.records import Channel, Gap, Mark, Progress

Key = tuple[int, Channel]
_Name = tuple[str, int | None, int | None, int]


class Inherited(Struct):
    """What waiting batches say of one stream: its last mark, the gap that they leave it with, and those that end."""

    mark: Mark | None = None
    gap: Gap | None = None
    ended: set[_Name] = field(default_factory=set)


def inherited(heads: Iterable[Head]) -> dict[Key, Inherited]:
    """By stream, from heads in the order in which they were spooled."""
    streams: dict[Key, Inherited] = {}
    for head in heads:
        for gap in head.gaps:
            stream = streams.setdefault((gap.instrument_id, gap.channel), Inherited())
            if gap.to_ns is None and gap.state == "open":
                stream.gap = gap
                continue
            stream.ended.add(_name(gap))
            if stream.gap is not None and _name(stream.gap) == _name(gap):
                stream.gap = None
        for mark in head.marks:
            streams.setdefault((mark.instrument_id, mark.channel), Inherited()).mark = mark
    return streams


def ahead(known: Progress | None, waiting: Inherited | None) -> Progress | None:
    """What the database knows of a stream, and then what waits for it."""
    if waiting is None:
        return known
    gap = waiting.gap
    if gap is None and known is not None and known.gap is not None and _name(known.gap) not in waiting.ended:
        gap = known.gap
    mark = waiting.mark
    if mark is None:
        if known is not None:
            return Progress(known.id, known.time_ns, gap)
        return None if gap is None or gap.from_ns is None else Progress(None, gap.from_ns, gap)
    number, time_ns = mark.id, mark.attested_ns if mark.id is None else mark.proved_ns
    if known is not None:
        number = max((n for n in (known.id, number) if n is not None), default=None)
        time_ns = max(known.time_ns, time_ns)
    return Progress(number, time_ns, gap)


def _name(gap: Gap) -> _Name:
    """What tells a gap from another, in the database's microseconds."""
    from_us = None if gap.from_ns is None else gap.from_ns // MICROSECOND
    return gap.cause, from_us, gap.from_id, gap.opened_ns // MICROSECOND
