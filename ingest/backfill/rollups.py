"""What follows when rows have come: rollups made anew, finest first, and chunks compressed again."""

import asyncio
from collections.abc import Sequence

from ingest.backfill.targets import Target
from ingest.errors import IngestError
from ingest.maintain import Forbidden, Maintenance
from ingest.store import recompress
from ingest.store.backfill import Backfills
from ingest.store.recompress import Place
from ingest.store.window import Range

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
    """Compress again what was written to; return the number of chunks. Raises Retryable while the database is away."""
    return await recompress.compress(
        url, [Place(_table(each.asked), each.asked.from_ns, each.asked.to_ns) for each in targets]
    )


def _table(asked: Range) -> str:
    if asked.channel == "candles":
        return "candles_1m" if asked.timeframe == "1m" else "candles_coarse"
    return asked.channel
