"""Chunks of old rows that were written to, compressed again (TimescaleDB Community)."""

from collections.abc import Iterable

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from ingest.store import database
from ingest.store.gap_parts import time_text
from ingest.store.policies import edition_of
from ingest.store.roles import become_owner
from ingest.store.sqlfiles import query


class Place(Struct, frozen=True):
    """Where rows came: a table, and a time of it with both ends."""

    table: str
    from_ns: int
    to_ns: int


async def compress(url: str, places: Iterable[Place]) -> int:
    """Compress the chunks at these places that are not, or not wholly; return how many. Under Apache it does nothing.

    Only what the server's own job would compress, too, which takes what is refused here. Raises Retryable while the
    database is away.
    """
    connection = await database.connect(url, role="compression")
    try:
        row = await (await connection.execute("SELECT current_setting('timescaledb.license', true)")).fetchone()
        if edition_of(row) != "community":
            return 0
        await become_owner(connection)
        return await _compress(connection, places)
    except psycopg.Error as error:
        raise database.translate(error) from error
    finally:
        await connection.close()


async def _compress(connection: AsyncConnection, places: Iterable[Place]) -> int:
    chunks: dict[str, None] = {}
    for place in places:
        times = {"from_time": time_text(place.from_ns), "to_time": time_text(place.to_ns)}
        rows = await connection.execute(query("chunks_to_compress"), {"table_name": place.table, **times})
        chunks.update(dict.fromkeys(chunk for (chunk,) in await rows.fetchall()))
    count = 0
    for chunk in chunks:
        try:
            await connection.execute("SELECT compress_chunk(%s::text::regclass, true)", [chunk])
            count += 1
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.ObjectInUse):
            continue  # the server's job is at it, or comes to it
        except psycopg.errors.InsufficientPrivilege:
            break
    return count
