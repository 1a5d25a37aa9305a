"""The life of a gap from the moment that its windows are queued, as statements within a transaction.

It is `repairing` until none of its windows is left, then `repaired`. What turns out not to be had is cut out of it at
once: the gap falls into rows that touch and never overlap, each in its own state.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, structs
from psycopg import AsyncConnection

from ingest.store.rows import printable, timestamp
from ingest.store.sqlfiles import query
from ingest.store.window import Window

LostState = Literal["awaiting_dump", "unrecoverable"]

_DETAIL_MAX = 300


class Fetched(Struct, frozen=True):
    """Rows that are stored: how many were new, how many known, and the times of the first and the last."""

    stored: int = 0
    known: int = 0
    first_ns: int | None = None
    last_ns: int | None = None


class Lost(Struct, frozen=True):
    """What cannot be had, and why. It may reach beyond its window: what lies outside of the gap is not its business."""

    window: Window
    state: LostState
    detail: str


class Repaired(Struct, frozen=True):
    """A gap of which nothing is missing any more, and what its windows brought."""

    span: Window
    cause: str
    stored: int
    known: int


class Settled(Struct, frozen=True):
    """What a call has decided: gaps that are closed, and parts of gaps that are lost."""

    repaired: list[Repaired]
    lost: list[Lost]


async def conclude(
    connection: AsyncConnection, gap_id: int | None, part: Window, fetched: Fetched, lost: Sequence[Lost]
) -> Settled:
    """What follows when a part of a window is settled, for the windows beside it and the gap."""
    if fetched.first_ns is not None and part.from_id is not None:
        times = {"first_time": time_text(fetched.first_ns), "last_time": time_text(fetched.last_ns)}
        ids = {"from_id": part.from_id, "to_id": part.to_id}
        await execute(connection, "queue_tell_neighbours", gap_id=gap_id, **ids, **times)
    named = []
    for each in lost:
        whole = part if gap_id is None else await _span(connection, gap_id)
        for window in await _absent(connection, each.window.within(whole)):
            piece = structs.replace(each, window=window)
            if gap_id is None:
                await _part_gap(connection, None, window, each.state, each.detail)
            else:
                gap_id = await _cut(connection, gap_id, piece)
            named.append(piece)
    return Settled(await settle(connection, [part.instrument_id]), named)


async def _absent(connection: AsyncConnection, lost: Window | None) -> list[Window]:
    """What is really not stored of a part that cannot be had, in order.

    A gap is named from the last mark on, and rows may have come after it; whatever was put before the gap is stored by
    now.
    """
    if lost is None:
        return []
    if lost.from_ns is None or lost.to_ns is None or (lost.channel == "trades" and lost.from_id is None):
        return [lost]
    name = "queue_stored_trades" if lost.channel == "trades" else "queue_stored_candles"
    bounds = {"instrument_id": lost.instrument_id, **_bounds(lost)}
    pieces: list[Window] = []
    rest: Window | None = lost
    for run in await fetch_all(connection, name, **bounds):
        if rest is None:
            break
        stored = structs.replace(lost, from_ns=run[-2], to_ns=run[-1])
        if lost.from_id is not None:
            stored = structs.replace(stored, from_id=run[0], to_id=run[1])
        pieces += filter(None, [rest.before(stored)])
        rest = rest.after(stored)
    return pieces if rest is None else [*pieces, rest]


async def _span(connection: AsyncConnection, gap_id: int) -> Window:
    (row,) = await fetch_all(connection, "queue_gap", gap_id=gap_id)
    return Window(*row)


async def _cut(connection: AsyncConnection, gap_id: int, lost: Lost) -> int:
    """Make the lost part of a gap, which lies in it, a row of its own.

    Returns the row of what follows it (else of what precedes it).
    """
    gap, part = await _span(connection, gap_id), lost.window
    before, after = gap.before(part), gap.after(part)
    detail, rest_id = shown(lost.detail), gap_id
    if after is not None:
        rest_id = await _part_gap(connection, gap_id, after, "repairing", "")
        behind = {"from_time": time_text(after.from_ns), "from_id": after.from_id}
        starts = {"part_time": time_text(part.from_ns), "part_id": part.from_id}
        await execute(connection, "queue_move", gap_id=gap_id, rest_id=rest_id, **behind, **starts)
    await execute(connection, "queue_drop_part", gap_id=gap_id, detail=detail, **_bounds(part))
    if before is None:
        await _cut_gap(connection, gap_id, part, lost.state, detail)
    else:
        await _part_gap(connection, gap_id, part, lost.state, detail)
        await _cut_gap(connection, gap_id, before, "repairing", "")
    return rest_id


async def _cut_gap(connection: AsyncConnection, gap_id: int, part: Window, state: str, detail: str) -> None:
    ends = {"to_time": time_text(part.to_ns), "to_id": part.to_id}
    await execute(connection, "queue_cut_gap", gap_id=gap_id, state=state, detail=detail, **ends)


async def _part_gap(connection: AsyncConnection, gap_id: int | None, part: Window, state: str, detail: str) -> int:
    names = {"instrument_id": part.instrument_id, "channel": part.channel}
    rows = await fetch_all(
        connection, "queue_part_gap", gap_id=gap_id, state=state, detail=shown(detail), **names, **_bounds(part)
    )
    return int(rows[0][0])


async def settle(connection: AsyncConnection, instrument_ids: Sequence[int]) -> list[Repaired]:
    rows = await fetch_all(connection, "queue_settle", instrument_ids=list(instrument_ids))
    return [Repaired(Window(*row[:6]), *row[6:]) for row in rows]


def _bounds(window: Window) -> dict[str, Any]:
    times = {"from_time": time_text(window.from_ns), "to_time": time_text(window.to_ns)}
    return {**times, "from_id": window.from_id, "to_id": window.to_id}


async def fetch_all(connection: AsyncConnection, name: str, **parameters: Any) -> list[Any]:
    return await (await connection.execute(query(name), parameters)).fetchall()


async def execute(connection: AsyncConnection, name: str, **parameters: Any) -> None:
    await connection.execute(query(name), parameters)


def time_text(time_ns: int | None) -> str | None:
    return None if time_ns is None else timestamp(time_ns)


def shown(text: str) -> str:
    return printable(text)[:_DETAIL_MAX]
