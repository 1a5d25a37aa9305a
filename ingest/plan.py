"""What a configuration leads to at one venue: the streams by channel, and the connections they need.

Symbols are matched by the collector's own `select`. Without the venue's listing a symbol that is named in full is
taken to exist, and a glob stays a glob.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from msgspec import Struct, structs

from ingest.collect.selection import Settings, Subscription, select
from ingest.exchanges.adapter import Limits
from ingest.records import CHANNELS, Channel, Instrument

_GLOB = frozenset("*?[")


class Glob(Struct, frozen=True):
    """A pattern, and the symbols that it matches; None where the listing was not asked."""

    pattern: str
    symbols: tuple[str, ...] | None


class Selection(Struct, frozen=True):
    """What is collected of one channel: symbols that are named in full, and globs. They may overlap."""

    channel: Channel
    symbols: tuple[str, ...]
    globs: tuple[Glob, ...]

    def all_symbols(self) -> tuple[str, ...]:
        """Each symbol that is known to be meant, once."""
        matched = (symbol for glob in self.globs for symbol in glob.symbols or ())
        return tuple(dict.fromkeys((*self.symbols, *matched)))


class Plan(Struct, frozen=True):
    """One venue's part. `streams` and `connections` count what is known: at least so many unless `expanded`.

    `unknown` names the configured symbols and globs for which the venue lists nothing that trades.
    """

    exchange: str
    selections: tuple[Selection, ...]
    streams: int
    expanded: bool
    connections: int
    streams_per_connection: int
    unknown: tuple[str, ...]

    def each_stream(self) -> Iterator[tuple[Channel, str]]:
        """Channel and symbol of every stream that is known."""
        for selection in self.selections:
            for symbol in selection.all_symbols():
                yield selection.channel, symbol


def plan(settings: Settings, limits: Limits, listed: Sequence[Instrument] | None) -> Plan:
    """The plan of one venue, with the globs expanded where its listing is given.

    What the venue does not list is also logged, by `select`, with the nearest symbol that it does.
    """
    named: dict[Channel, dict[str, None]] = {}
    globs: dict[Channel, dict[str, Glob]] = {}
    unknown: dict[str, None] = {}
    for subscription in settings.subscriptions:
        for pattern in subscription.symbols:
            found = None if listed is None else _matches(settings, pattern, listed)
            if found == ():
                unknown[pattern] = None
            for channel in subscription.channels:
                if not _GLOB.isdisjoint(pattern):
                    globs.setdefault(channel, {})[pattern] = Glob(pattern, found)
                elif found != ():
                    named.setdefault(channel, {})[pattern] = None
    selections = tuple(
        Selection(channel, tuple(named.get(channel, ())), tuple(globs.get(channel, {}).values()))
        for channel in CHANNELS
        if channel in named or channel in globs
    )
    streams = sum(len(selection.all_symbols()) for selection in selections)
    expanded = listed is not None or not globs
    return Plan(
        settings.exchange,
        selections,
        streams=streams,
        expanded=expanded,
        connections=max(ceil(streams / limits.streams_per_connection), 0 if expanded else 1),
        streams_per_connection=limits.streams_per_connection,
        unknown=tuple(unknown),
    )


def _matches(settings: Settings, pattern: str, listed: Sequence[Instrument]) -> tuple[str, ...]:
    one = structs.replace(settings, subscriptions=(Subscription((pattern,), ("trades",)),))  # of any one channel
    return tuple(instrument.symbol for instrument, _ in select(one, listed))
