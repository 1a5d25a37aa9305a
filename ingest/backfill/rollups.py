"""What follows when rows have come: rollups made anew, finest first, and chunks compressed again."""

import asyncio
from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection

from ingest.backfill.targets import Target
from ingest.errors import IngestError
from ingest.maintain import Forbidden, Maintenance
from ingest.store import database
from ingest.store.backfill import Backfills
from ingest.store.gap_parts import time_text
from ingest.store.policies import edition_of
from ingest.store.roles import become_owner
from ingest.store.sqlfiles import query

_TRIES = 30
_PAUSE_SECONDS = 2.0


async def refresh(url: str, store: Backfills, targets: Sequence[Target]) -> str | None:
    """Roll up what has changed, as maintenance does; what is left to others, in words, or None."""
    ids = sorted({target.asked.instrument_id for target in targets if target.asked.channel in ("candles", "trades")})
    maintenance = Maintenance(url)
    try:
        for _ in range(_TRIES):
            if not await store.rollups_wait(ids):
                return None
            done = await maintenance.once()
            if done is not None and done.errors:
                return f"a refresh failed, and is tried again by maintenance: {done.errors[0]}"
            if done is None:  # another process is at it
                await asyncio.sleep(_PAUSE_SECONDS)
    except Forbidden:
        return "rollups: this login may not refresh them; the daemon's maintenance does, or `ingest maintain`"
    except IngestError as error:
        return f"rollups are not refreshed yet ({error}): `ingest maintain`, or the daemon, does it"
    finally:
        await maintenance.close()
    return "rollups: another process is refreshing them"


async def compress(url: str, targets: Sequence[Target]) -> int:
    """Compress again the chunks of old rows that were written to (Community); return how many.

    Only what the server's own job would compress, too, which takes what is refused here.
    """
    connection = await database.connect(url, role="backfill compression")
    try:
        row = await (await connection.execute("SELECT current_setting('timescaledb.license', true)")).fetchone()
        if edition_of(row) != "community":
            return 0
        await become_owner(connection)
        return await _compress(connection, targets)
    except psycopg.Error as error:
        raise database.translate(error) from error
    finally:
        await connection.close()


async def _compress(connection: AsyncConnection, targets: Sequence[Target]) -> int:
    chunks: dict[str, None] = {}
    for target in targets:
        asked = target.asked
        candles = "candles_1m" if asked.timeframe == "1m" else "candles_coarse"
        parameters = {
            "table_name": candles if asked.channel == "candles" else asked.channel,
            "from_time": time_text(asked.from_ns),
            "to_time": time_text(asked.to_ns),
        }
        rows = await (await connection.execute(query("chunks_to_compress"), parameters)).fetchall()
        chunks.update(dict.fromkeys(chunk for (chunk,) in rows))
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
