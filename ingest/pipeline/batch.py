"""What travels together from the collectors to one transaction: rows of one table, and what they say of their streams.

A gap and a mark are committed with the rows that were put before them, so a watermark can never pass a row that
is not stored, and never a hole that is not named.
"""

from msgspec import Struct, field

from ingest.records import CHANNEL_OF, Channel, Gap, Mark, Record

TABLE_OF: dict[Channel, type] = {channel: table for table, channel in CHANNEL_OF.items()}


class Batch(Struct):
    """Rows of one table (a type of record) for one writer, in the order of arrival, with their streams' notes.

    `marks` holds the last one of each stream, by (instrument, channel). A batch may hold notes alone.
    """

    table: type
    writer: int
    opened_ns: int
    records: list[Record] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    marks: dict[tuple[int, Channel], Mark] = field(default_factory=dict)
    size_bytes: int = 0
