"""What a backfill will ask for, before it does: requests, rows, time."""

from msgspec import Struct

from ingest.backfill.cuts import cut_of, size
from ingest.backfill.targets import Target, Venue
from ingest.clock import SECOND
from ingest.exchanges.limiter import SHARE
from ingest.repair.locate import find
from ingest.store.backfill import Backfills
from ingest.store.window import Window

_LOOKED_AT = 10
"""So many parts of trades are looked up at the venue; for the others their share of time stands."""


class Estimate(Struct, frozen=True):
    """`rows` is None where the venue does not tell before it is asked for them."""

    windows: int
    requests: int
    rows: int | None
    seconds: float


async def estimate(target: Target, venue: Venue, store: Backfills) -> Estimate:
    """Of one target, with a few calls where trades are asked by id."""
    adapter, asked = venue.adapter, target.asked
    is_candles = asked.channel == "candles"
    page = adapter.limits.candles_page if is_candles else adapter.limits.trades_page
    by_id = not is_candles and adapter.history.by == "id"
    windows, rows, looked = 0, 0, 0
    seconds_seen = seconds_left = 0
    async for some in store.missing(asked, cut_of(asked, page, by_id=by_id), page=page, by_id=by_id):
        windows += len(some)
        for window in some:
            if is_candles:
                rows += size(window)
            elif by_id and looked < _LOOKED_AT:
                looked, seconds_seen = looked + 1, seconds_seen + _seconds(window)
                rows += await _count(target, venue, window)
            elif by_id:
                seconds_left += _seconds(window)
    if by_id and seconds_seen:
        rows += rows * seconds_left // seconds_seen
    known = is_candles or by_id
    requests = windows if is_candles or not by_id else -(-rows // page) + 4 * windows
    return Estimate(windows, requests, rows if known else None, requests * _seconds_a_call(target, venue))


async def _count(target: Target, venue: Venue, window: Window) -> int:
    instrument = venue.instruments.get(target.asked.instrument_id)
    if instrument is None:
        return 0
    found, _ = await find(venue.rest.fetch, venue.adapter, instrument, window)
    return max(0, found.last - found.first + 1)


def _seconds(window: Window) -> int:
    return max(1, (window.last - window.first) // SECOND)


def _seconds_a_call(target: Target, venue: Venue) -> float:
    instrument = next(iter(venue.instruments.values()), None)
    weight = 1
    if instrument is not None:
        adapter = venue.adapter
        if target.asked.channel == "candles":
            weight = adapter.candles_request(instrument, start_ns=target.asked.from_ns, limit=1_000).weight
        else:
            weight = adapter.trades_request(instrument, start=1, end=1_000, limit=1_000).weight
    return weight * 60 / (venue.adapter.limits.weight_per_minute * SHARE * venue.rest.limiter.share)
