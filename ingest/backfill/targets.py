"""Orders held against the venues and the database: which instruments, which range of each, and what is refused."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from ingest import venues
from ingest.backfill.orders import Order
from ingest.clock import SECOND
from ingest.collect.selection import Settings, Subscription, select
from ingest.config.model import Config
from ingest.errors import ConfigError
from ingest.exchanges import adapter_of
from ingest.exchanges.adapter import Adapter
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import Rest
from ingest.records import Instrument, Stream
from ingest.repair.fold import folds
from ingest.repair.timeframes import offered
from ingest.store.backfill import Backfills, Kept, moment_ns
from ingest.store.callers import Callers
from ingest.store.policies import shown
from ingest.store.registry import Registry
from ingest.store.window import Range, opening, place

_CLOSED = timedelta(minutes=2)
"""What is younger is the stream's: the venue's history may not have it yet."""
_REACH_MARGIN = 10  # candles that close while the work goes on
_SLACK = timedelta(hours=1)
"""`30 days` of what is kept for 30 days: the clocks of two machines, and the time it takes, refuse nothing."""


class Target(Struct, frozen=True):
    """One instrument's range. `refused` says why nothing of it is fetched, `clipped` why what was before it is not."""

    exchange: str
    symbol: str
    asked: Range
    refused: str | None = None
    clipped: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all that was ordered is asked for."""
        return self.refused is None and self.clipped is None

    @property
    def name(self) -> str:
        what = f"candles {self.asked.timeframe}" if self.asked.channel == "candles" else self.asked.channel
        return f"{self.exchange} {self.symbol} {what}"


class Venue(Struct, frozen=True):
    """What is needed to ask one venue. `callers` are those who share its limit.

    `instruments` by id, and for the adapter ids by its own names of them.
    """

    adapter: Adapter
    rest: Rest
    callers: Callers
    instruments: dict[int, Instrument]
    ids: dict[str, int]


@asynccontextmanager
async def opened(config: Config, exchanges: Sequence[str], url: str) -> AsyncIterator[dict[str, Venue]]:
    """The venues by name, each with one limiter for all of its workers. Raises Retryable where no database answers."""
    async with AsyncExitStack() as stack:
        found = {}
        for exchange in dict.fromkeys(exchanges):
            adapter_of(exchange)  # refuses what nobody knows
            ids: dict[str, int] = {}
            adapter = venues.adapters(config, exchange)(ids)
            callers = await stack.enter_async_context(Callers(url, exchange, "backfill"))
            limiter = Limiter(adapter.limits.weight_per_minute, adapter.limits.burst, share=await callers.share())
            call = venues.lines(config, exchange).get("call", Rest)
            rest = await stack.enter_async_context(
                call(exchange, limiter, proxy=venues.settings_of(config, exchange, ()).proxy)
            )
            found[exchange] = Venue(adapter, rest, callers, {}, ids)
        yield found


async def targets(
    config: Config,
    orders: Sequence[Order],
    opened_venues: dict[str, Venue],
    database: Backfills,
    registry: Registry | None,
) -> list[Target]:
    """Every instrument of every order, in their order.

    With `registry` what is new is registered, as the daemon does; without one nothing is changed, and an instrument
    that the database does not know has a negative id, of which nothing is stored. Raises ConfigError for a symbol that
    is not listed.
    """
    found: list[Target] = []
    listings: dict[str, list[Instrument]] = {}
    for order in orders:
        venue = opened_venues[order.exchange]
        if order.exchange not in listings:
            listings[order.exchange] = await venues.listing(config, order.exchange)()
        chosen = _chosen(order, listings[order.exchange], venue)
        if registry is None:
            known = await database.known(order.exchange)
        else:
            known = await registry.register_instruments(order.exchange, chosen)
        kept = await database.kept(_table(order))
        admitted = set() if registry is None else await _admitted(registry, order, chosen, known, venue)
        for instrument in chosen:
            number = known.get(instrument.symbol, -1 - len(found))
            venue.instruments[number] = instrument
            venue.ids[venue.adapter.key(instrument)] = number
            asked = _range(order, number, kept, venue.adapter)
            refused = _refused(order, asked, kept, venue.adapter)
            if registry is not None and number not in admitted:
                refused = "the database holds trades whose ids count something else: trade_stream was another"
            clipped = None if refused is not None else _clipped(order, asked, kept, venue.adapter)
            found.append(Target(order.exchange, instrument.symbol, asked, refused, clipped))
    return found


def _chosen(order: Order, listed: Sequence[Instrument], venue: Venue) -> list[Instrument]:
    for pattern in order.symbols:
        settings = Settings(order.exchange, (Subscription((pattern,), (order.channel,)),))
        if not select(settings, listed, venue.adapter.channels):
            raise ConfigError(f"{order.exchange} lists no {order.channel} of {pattern}")
    settings = Settings(order.exchange, (Subscription(order.symbols, (order.channel,), where_offered=True),))
    return [instrument for instrument, _ in select(settings, listed, venue.adapter.channels)]


async def _admitted(
    registry: Registry, order: Order, chosen: Sequence[Instrument], known: dict[str, int], venue: Venue
) -> set[int]:
    """Those whose stored rows, if any, are of the same kind."""
    streams = [Stream(known[instrument.symbol], instrument, order.channel) for instrument in chosen]
    spaces = {order.channel: venue.adapter.id_space(order.channel)}
    found = await registry.register_streams(streams, spaces, venue.adapter.promises, starting=False)
    return {stream.instrument_id for stream in found}


def _table(order: Order) -> str:
    if order.channel == "trades":
        return "trades"
    return "candles_1m" if order.timeframe == "1m" else "candles_coarse"


def _range(order: Order, number: int, kept: Kept, adapter: Adapter) -> Range:
    over_ns = moment_ns(kept.now - _CLOSED)
    if order.channel == "candles":
        over_ns = opening(place(over_ns, order.timeframe), order.timeframe)  # what opened last is still open
    until_ns = min(moment_ns(order.until), over_ns)
    since = order.since if kept.since is None or order.since >= kept.since else _first_kept(kept)
    from_ns = max(moment_ns(since), _reach_ns(order, kept, adapter) or 0)
    return Range(number, order.channel, from_ns, until_ns, order.timeframe)


def _first_kept(kept: Kept) -> datetime:
    """The minute that follows the edge: what stands on the edge is past it when it comes."""
    assert kept.since is not None  # noqa: S101 - what is kept for ever has no edge
    return kept.since.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _reach_ns(order: Order, kept: Kept, adapter: Adapter) -> int | None:
    """The open of the first candle that a venue which shows the latest alone shows still; None where it has all."""
    latest = adapter.limits.candles_kept
    if order.channel != "candles" or latest is None or (order.timeframe == "1m" and folds(adapter)):
        return None
    return opening(place(moment_ns(kept.now), order.timeframe) - latest + _REACH_MARGIN, order.timeframe)


def _clipped(order: Order, asked: Range, kept: Kept, adapter: Adapter) -> str | None:
    """What of a range is too old to be stored, or to be had, though the rest is not."""
    reach_ns = _reach_ns(order, kept, adapter)
    if reach_ns is not None and moment_ns(order.since) < reach_ns == asked.from_ns:
        why = _reach(order, reach_ns, adapter)
    elif kept.since is not None and order.since < kept.since - _SLACK:
        why = _figure(kept)
    else:
        return None
    return f"{order.since:%Y-%m-%d %H:%M} to {_at(asked.from_ns):%Y-%m-%d %H:%M} is not fetched: {why}"


def _refused(order: Order, asked: Range, kept: Kept, adapter: Adapter) -> str | None:
    """Why nothing of a range can be had, with the figure that stands in the way and what to do."""
    if kept.since is not None and order.until <= _first_kept(kept):
        return f"it ends {order.until:%Y-%m-%d %H:%M}, and {_figure(kept)}"
    if order.timeframe not in offered(order.exchange):
        return f"{order.exchange} has no candles of {order.timeframe}; it has {', '.join(offered(order.exchange))}"
    reach_ns = _reach_ns(order, kept, adapter)
    if reach_ns is not None and moment_ns(order.until) <= reach_ns:
        return f"it ends {order.until:%Y-%m-%d %H:%M}, and {_reach(order, reach_ns, adapter)}"
    if asked.from_ns >= asked.to_ns:
        return "it is not over yet, or not two minutes ago"
    if order.channel == "trades" and adapter.history.by == "recent":
        return f"{order.exchange}'s REST has its latest trades alone; its daily files have the others: `ingest import`"
    return None


def _reach(order: Order, reach_ns: int, adapter: Adapter) -> str:
    longer = "; a longer --timeframe reaches further back" if order.timeframe != offered(order.exchange)[-1] else ""
    return (
        f"{order.exchange}'s REST has the latest {adapter.limits.candles_kept:,} candles alone: nothing before "
        f"{_at(reach_ns):%Y-%m-%d %H:%M}{longer}"
    )


def _at(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // SECOND, UTC)


def _figure(kept: Kept) -> str:
    """The figure that stands in the way, and what to do."""
    longer = ", or take a longer --timeframe, which is kept apart" if kept.table == "candles_1m" else ""
    return (
        f"nothing before {_first_kept(kept):%Y-%m-%d %H:%M} is stored (retention.{kept.table} = {shown(kept.figure)}). "
        f"Raise it and `ingest migrate`{longer}"
    )
