"""Frames and replies taken apart, so that an odd row costs only itself. Pure.

Replies are read row by row; frames are decoded whole, and only one that fails comes here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw

from ingest.errors import Rejected
from ingest.exchanges.adapter import Bad, Event

Shape = TypeVar("Shape")
Made = TypeVar("Made")

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_rows = msgspec.json.Decoder(list[Raw]).decode


def pieces(frame: bytes | Raw, *names: str) -> list[bytes]:
    """The frame once for each row of its list `names[0]`, with nothing but that row in it.

    Further names are lists within these rows, which are taken apart likewise. Raises ValueError, KeyError or
    RecursionError where there is no such list.
    """
    name, *within = names
    members = _decode_members(frame)
    return [
        msgspec.json.encode({**members, name: [Raw(piece)]})
        for row in _decode_rows(members[name])
        for piece in (pieces(row, *within) if within else (bytes(row),))
    ]


def rejection(error: Exception) -> Rejected:
    """What an error of a decoder says of its frame. msgspec's are ValueErrors, and name the field."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, KeyError):
        return Rejected(f"unknown symbol: {error}")
    return Rejected(f"malformed frame: {error}")


def row_by_row(
    decode: Callable[[bytes, int], Sequence[Event]], frame: bytes, received_ns: int, error: Exception, *names: str
) -> list[Event]:
    """What `decode` makes of the rows of a frame that it refuses for `error`; a bad one is told as a frame of its own.

    Raises Rejected, for the frame, where it has no other rows, or none of them is good.
    """
    try:
        parts = pieces(frame, *names) if names else []
    except (ValueError, KeyError, RecursionError):
        parts = []
    events: list[Event] = []
    good = False
    for part in parts if len(parts) > 1 else ():
        try:
            events += decode(part, received_ns)
            good = True
        except Rejected as refused:
            events.append(Bad(str(refused), part))
    if not good:
        raise rejection(error) from error
    return events


def each(
    rows: Iterable[Raw], decode: Callable[[Raw], Shape], make: Callable[[Shape], Made]
) -> tuple[list[Made], list[Bad]]:
    """What the rows of a reply are, in their order, each read by itself."""
    made: list[Made] = []
    bad: list[Bad] = []
    for raw in rows:
        try:
            made.append(make(decode(raw)))
        except (Rejected, ValueError, RecursionError) as error:
            bad.append(Bad(f"row of a reply: {error}", bytes(raw)))
    return made, bad
