"""What a configuration leads to at one venue: the streams by channel, and the connections they need.

Symbols are matched by the collector's own `select`. Without the venue's listing a symbol that is named in full is
taken to exist, and a glob stays a glob.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from msgspec import Struct, structs

from ingest.collect.poll import KEPT_FOR_OTHERS
from ingest.collect.selection import Settings, Subscription, is_name, select
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Adapter, Limits, Options, Request
from ingest.exchanges.limiter import SHARE
from ingest.records import CHANNELS, Channel, Instrument, Stream

_SHARE_FOR_POLLS = SHARE * (1 - KEPT_FOR_OTHERS)
"""Of the venue's limit."""

_SISTERS = {"binance": "binanceusdm", "binanceusdm": "binance"}
"""Names under which one company's other instruments are."""


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


class Poll(Struct, frozen=True):
    """A channel that no websocket brings: REST is asked for each of its streams, so many seconds apart."""

    channel: Channel
    seconds: float


class Lacking(Struct, frozen=True):
    """A channel that a venue does not offer of symbols that are named in full, though it may offer others of them.

    Where they are configured, `origin` and `key` say, once they are known.
    """

    channel: Channel
    symbols: tuple[str, ...]
    offered: tuple[Channel, ...]
    remedy: str
    origin: str = ""
    key: str = ""


class Plan(Struct, frozen=True):
    """One venue's part. `streams` and `connections` count what is known: at least so many unless `expanded`.

    `unknown` names the configured symbols and globs for which the venue lists nothing that trades, `lacking` what it
    does not offer of those that are named in full; neither is among the streams. What is not `polled` comes by
    websocket.
    """

    exchange: str
    selections: tuple[Selection, ...]
    streams: int
    expanded: bool
    connections: int
    streams_per_connection: int
    unknown: tuple[str, ...]
    polled: tuple[Poll, ...] = ()
    lacking: tuple[Lacking, ...] = ()

    def each_stream(self) -> Iterator[tuple[Channel, str]]:
        """Channel and symbol of every stream that is known."""
        for selection in self.selections:
            for symbol in selection.all_symbols():
                yield selection.channel, symbol


def plan(
    settings: Settings, limits: Limits, listed: Sequence[Instrument] | None, adapter: Adapter | None = None
) -> Plan:
    """The plan of one venue, with the globs expanded where its listing is given; its `adapter` tells of polls.

    What the venue does not list is also logged, by `select`, with the nearest symbol that it does.
    """
    named: dict[Channel, dict[str, None]] = {}
    globs: dict[Channel, dict[str, Glob]] = {}
    unknown: dict[str, None] = {}
    offered = listed if listed is None or adapter is None else [one for one in listed if adapter.channels(one)]
    for subscription in settings.subscriptions:
        for pattern in subscription.symbols:
            among = listed if is_name(pattern) else offered
            found = None if among is None else _matches(settings, pattern, among)
            if found == ():
                unknown[pattern] = None
            for channel in subscription.channels:
                if not is_name(pattern):
                    globs.setdefault(channel, {})[pattern] = Glob(pattern, found)
                elif found != ():
                    named.setdefault(channel, {})[pattern] = None
    selections = tuple(
        Selection(channel, tuple(named.get(channel, ())), tuple(globs.get(channel, {}).values()))
        for channel in CHANNELS
        if channel in named or channel in globs
    )
    expanded = listed is not None or not globs
    lacking: tuple[Lacking, ...] = ()
    polled: tuple[Poll, ...] = ()
    if adapter is None:
        streams = sum(len(selection.all_symbols()) for selection in selections)
        streamed = Counter({"": streams} if streams or not expanded else {})
    else:
        known = {instrument.symbol: instrument for instrument in listed or ()}
        selections, lacking = _offered(settings.exchange, adapter, selections, known)
        streams = sum(len(selection.all_symbols()) for selection in selections)
        polls, streamed = _ways(settings.exchange, adapter, selections, known)
        polled = _cadences(adapter, polls)
    size = limits.streams_per_connection
    return Plan(
        settings.exchange,
        selections,
        streams=streams,
        expanded=expanded,
        connections=sum(max(1, ceil(count / size)) for count in streamed.values()),
        streams_per_connection=size,
        unknown=tuple(unknown),
        polled=polled,
        lacking=lacking,
    )


def _offered(
    exchange: str, adapter: Adapter, selections: Sequence[Selection], known: Mapping[str, Instrument]
) -> tuple[tuple[Selection, ...], tuple[Lacking, ...]]:
    """The selections without what the venue does not offer, and what that is: one for each channel and remedy."""
    kept = []
    lacking: dict[tuple[Channel, tuple[Channel, ...], str], Lacking] = {}
    for selection in selections:
        channel = selection.channel
        meant = {symbol: known.get(symbol) or _supposed(exchange, symbol) for symbol in selection.all_symbols()}
        offered = {symbol: tuple(adapter.channels(instrument)) for symbol, instrument in meant.items()}
        there = {symbol for symbol, channels in offered.items() if channel in channels}
        for symbol in selection.symbols:
            if symbol not in there:
                alike = channel, offered[symbol], _remedy(adapter, channel, meant[symbol], offered[symbol])
                before = lacking[alike].symbols if alike in lacking else ()
                lacking[alike] = Lacking(channel, (*before, symbol), *alike[1:])
        names = tuple(symbol for symbol in selection.symbols if symbol in there)
        globs = tuple(
            glob if glob.symbols is None else Glob(glob.pattern, tuple(filter(there.__contains__, glob.symbols)))
            for glob in selection.globs
        )
        if names or globs:
            kept.append(Selection(channel, names, globs))
    return tuple(kept), tuple(lacking.values())


def _remedy(adapter: Adapter, channel: Channel, instrument: Instrument, offered: Sequence[Channel]) -> str:
    if offered:
        return f"remove {channel} from its channels, or give the symbol a block of its own"
    sister = _SISTERS.get(instrument.exchange, "")
    linear = instrument.settle in (None, instrument.quote)
    if sister and linear and channel in ADAPTERS[sister]({}, Options()).channels(instrument):
        return f'it is at {sister}: write exchange = "{sister}"'
    if instrument.kind not in adapter.kinds:
        return (
            f"remove it: of {instrument.exchange} {' and '.join(adapter.kinds)} can be collected, not {instrument.kind}"
        )
    return "remove it: docs/reference/venues.md says which contracts can be collected"


def _ways(
    exchange: str, adapter: Adapter, selections: Sequence[Selection], known: Mapping[str, Instrument]
) -> tuple[list[Stream], Counter[str]]:
    """Which streams are polled, those of globs that wait counted once; and how many of each group come by websocket,
    those of globs that wait not counted.
    """
    polls: list[Stream] = []
    streamed: Counter[str] = Counter()
    for selection in selections:
        unexpanded = [glob.pattern for glob in selection.globs if glob.symbols is None]
        for symbol in (*selection.all_symbols(), *unexpanded):
            instrument = known.get(symbol) or _supposed(exchange, symbol)
            stream = Stream(0, instrument, selection.channel)
            if stream.channel not in adapter.channels(instrument):
                continue  # a glob of what is not translated
            if stream.channel in adapter.polled(instrument):
                polls.append(stream)
            else:
                streamed[adapter.group(stream)] += symbol not in unexpanded
    return polls, streamed


def _cadences(adapter: Adapter, polls: Sequence[Stream]) -> tuple[Poll, ...]:
    """How often each channel is polled: as often as the adapter wants, or as the venue's limit allows for them all."""
    wanted = [(stream, adapter.polled(stream.instrument)[stream.channel]) for stream in polls]
    needed = sum(_request(adapter, stream).weight / seconds for stream, seconds in wanted)
    stretch = max(1.0, needed / (adapter.limits.weight_per_minute / 60 * _SHARE_FOR_POLLS))
    slowest: dict[Channel, float] = {}
    for stream, seconds in wanted:
        slowest[stream.channel] = max(slowest.get(stream.channel, 0.0), round(seconds * stretch, 1))
    return tuple(Poll(channel, seconds) for channel, seconds in slowest.items())


def _supposed(exchange: str, symbol: str) -> Instrument:
    """What a unified symbol says of itself: behind a colon what settles it, then its end, then a strike and a side."""
    pair, _, contract = symbol.partition(":")
    base, _, quote = pair.partition("/")
    settle, *terms = contract.split("-")
    kind = "spot" if not settle else ("swap", "future", "option")[min(len(terms), 2)]
    return Instrument(exchange, symbol, symbol, kind, base, quote, settle or None)


def _request(adapter: Adapter, stream: Stream) -> Request:
    if stream.channel == "candles":
        return adapter.candles_request(stream.instrument, start_ns=None, limit=2)
    return adapter.poll_request(stream)


def _matches(settings: Settings, pattern: str, listed: Sequence[Instrument]) -> tuple[str, ...]:
    one = structs.replace(settings, subscriptions=(Subscription((pattern,), ("trades",)),))  # of any one channel
    return tuple(instrument.symbol for instrument, _ in select(one, listed))
